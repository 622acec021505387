// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/agent/meter"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// Strain makes events at a rate for a while, in a process of its own, and tells what the consumer and the kernel's eBPF
// programs took meanwhile.
func (a *Agent) Strain(ctx context.Context, r *wire.StrainRequest) (*wire.StrainReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	load, err := json.Marshal(meter.Load{Rate: int(r.GetRate()), Millis: int(r.GetMillis())})
	if err != nil {
		return nil, ours("write the load", err)
	}
	// Kernels before 5.8 cannot be asked: there is nothing to tell of their programs then.
	if stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME); err == nil {
		defer stats.Close()
	}
	runs := programRuns()
	cmd := exec.CommandContext(ctx, selfPath, meter.StrainWord, a.State+"/meter")
	cmd.Dir = "/"
	var out, words bounded
	out.limit, words.limit = maxResult, maxWords
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(load), &out, &words
	before, _ := consumerUse(0)
	if err = a.launch(ctx, cmd); err != nil {
		return nil, ours("start the process that makes events", err)
	}
	err = cmd.Wait()
	after, memory := consumerUse(cmd.Process.Pid)
	var got meter.Strained
	if err == nil {
		err = json.Unmarshal(out.buf.Bytes(), &got)
	}
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the process that makes events failed: %w", err).With(cause.Text(words.String())...)
	}
	reply := &wire.StrainReply{Opens: int64(got.Opens), Seconds: got.Seconds, CpuSeconds: max(0, after-before), MemoryBytes: memory}
	for id, now := range programRuns() {
		if n := now.runs - runs[id].runs; n > 0 && now.runs > runs[id].runs {
			reply.Programs = append(reply.Programs, &wire.ProgramRuns{Name: wire.Text(now.name), Runs: n, Seconds: (now.time - runs[id].time).Seconds()})
		}
	}
	return reply, nil
}

type programRun struct {
	name string
	runs uint64
	time time.Duration
}

// programRuns is how often each eBPF program of the kernel ran, and how long; empty where the kernel does not count.
func programRuns() map[ebpf.ProgramID]programRun {
	out := map[ebpf.ProgramID]programRun{}
	for id, err := ebpf.ProgramGetNextID(0); err == nil; id, err = ebpf.ProgramGetNextID(id) {
		p, err := ebpf.NewProgramFromID(id)
		if err != nil {
			continue // gone meanwhile
		}
		info, err := p.Info()
		stats, statsErr := p.Stats()
		p.Close()
		if err == nil && statsErr == nil {
			out[id] = programRun{info.Name, stats.RunCount, stats.Runtime}
		}
	}
	return out
}

// consumerUse is the processor time in seconds of this process and its children but one, and the memory of the largest of
// the children, or of this process where there is none: consumers are children, but for the one that the agent itself is.
func consumerUse(but int) (seconds float64, memory uint64) {
	const tick = 100 // USER_HZ, of every Linux
	self := os.Getpid()
	var own uint64
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		s, ok := parseStat(string(data))
		if !ok || pid == but || pid != self && s.parent != self {
			continue
		}
		seconds += float64(s.ticks) / tick
		if pid == self {
			own = s.pages
		} else {
			memory = max(memory, s.pages)
		}
	}
	if memory == 0 {
		memory = own
	}
	return seconds, memory * uint64(os.Getpagesize())
}

// processStat is what a line of /proc/<pid>/stat says of a process.
type processStat struct {
	parent int
	ticks  uint64 // of user and system time
	pages  uint64 // resident
}

func parseStat(line string) (s processStat, ok bool) {
	// The name is in brackets, and may hold any of the rest.
	_, rest, ok := cutLast(line, ") ")
	f := strings.Fields(rest)
	if !ok || len(f) < 22 {
		return s, false
	}
	parent, err1 := strconv.Atoi(f[1])
	user, err2 := strconv.ParseUint(f[11], 10, 64)
	system, err3 := strconv.ParseUint(f[12], 10, 64)
	pages, err4 := strconv.ParseUint(f[21], 10, 64)
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil {
		return s, false
	}
	return processStat{parent, user + system, pages}, true
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
