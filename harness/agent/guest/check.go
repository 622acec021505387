// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

// The watch that [Agent.CheckEvents] looks at, and the word in the arguments of the process it starts.
const (
	checkName = "mews-check"
	checkWord = "mews-check-events"
)

// checkFields are what is compared, in the order of the report.
var checkFields = []string{"evt.type", "evt.rawres", "evt.arg.ret", "proc.pid", "proc.ppid", "proc.name", "proc.exe", "proc.exepath", "proc.args", "proc.env", "fd.name", "fd.num",
	"proc.exe_ino", "proc.exe_ino.ctime", "proc.exe_ino.mtime", "user.uid", "user.loginuid", "group.gid", "thread.cap_effective", "thread.cap_permitted", "thread.cap_inheritable"}

// checkWatch sees the known deed of [Agent.CheckEvents], and nothing else, in the fields that a consumer of that kind and
// version has.
func (a *Agent) checkWatch(kind, version string) consumer.Watch {
	if a.probe != nil { // ours tells of every call that it is made for
		return consumer.Watch{Name: checkName, Condition: "proc.args contains " + checkWord, Fields: slices.Concat(checkFields, callFields)}
	}
	w := consumer.Watch{
		Name: checkName,
		Condition: "(evt.type in (execve, execveat, clone, procexit) and proc.args contains " + checkWord + ") or " +
			"(evt.type=openat and fd.name startswith " + a.checkDir() + "/)",
		Fields: checkFields,
	}
	if kind == agent.Sysdig {
		words := rules.SysdigDialect(version)
		w.Fields = slices.DeleteFunc(slices.Clone(w.Fields), func(f string) bool {
			_, has := words.Fields.Field(f)
			// 0.29.3 prints a group with the 32 bits that follow it in memory: 12884905910 for 4022.
			return !has || f == "group.gid" && words.Name == rules.Sysdig029.Name
		})
	}
	return w
}

func (a *Agent) checkDir() string { return filepath.Join(a.State, "check") }

// checked is what the process of [Check] says that it did.
type checked struct {
	PID   int               `json:"pid"`
	FD    int               `json:"fd"`
	Is    map[string]string `json:"is"`
	Calls []call            `json:"calls"`
}

// envCalls tells the process of [Check] to make the calls of [doCalls] too, below the directory that it names.
const envCalls = "MEWS_CHECK_CALLS"

// Check is `mews-agent check WORD PATH`: it opens a file, makes a child, and says so.
func Check(path string, stdout io.Writer) error {
	if os.Getenv(envBecome) != "" {
		return become(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, envBecome+"=") }))
	}
	fd, err := unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("openat %s: %w", path, err)
	}
	did := checked{PID: os.Getpid(), FD: fd}
	if did.Is, err = identity(); err != nil {
		return err
	}
	if did.Calls, err = fork(); err != nil {
		return err
	}
	if dir := os.Getenv(envCalls); dir != "" {
		did.Calls = append(did.Calls, doCalls(dir)...)
	}
	return json.NewEncoder(stdout).Encode(did)
}

// CheckEvents lets a process do a known exec, openat and fork, and puts what the consumer said of them
// beside the truth. Programs of an eBPF driver that the kernel skipped meanwhile, or while several threads opened files at
// once, are told of too.
func (a *Agent) CheckEvents(ctx context.Context, _ *wire.Empty) (*wire.CheckEventsReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
	}
	if len(s.checked) == 0 {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the consumer was started without the watch that the check needs")
	}
	id := fence.NewToken()
	path := filepath.Join(a.checkDir(), id)
	if err := mkdirs(a.checkDir()); err != nil {
		return nil, ours("make a directory", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return nil, ours("make a file to open", err)
	}
	defer os.Remove(path)

	before, err := s.programs.Read()
	if err != nil {
		return nil, err
	}
	s.begin()
	cmd := exec.CommandContext(ctx, selfPath, "check", checkWord, path)
	env := scenarios.EnvID + "=" + id
	cmd.Env = []string{"PATH=/usr/bin:/bin", env, envBecome + "=1"}
	if a.probe != nil {
		cmd.Env = append(cmd.Env, envCalls+"="+filepath.Join(callsDir, id))
	}
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	err = a.launch(ctx, cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the process that makes known events: %w", err).With(cause.Text(words.String())...)
	}
	var did checked
	if err := json.Unmarshal(out.Bytes(), &did); err != nil {
		return nil, ours("read what the process that makes known events did", err)
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	matches, _ := s.end()
	process := map[string]string{
		"proc.pid": strconv.Itoa(did.PID), "proc.ppid": strconv.Itoa(os.Getpid()), "proc.name": filepath.Base(selfPath),
		"proc.exe": selfPath, "proc.exepath": selfPath, "proc.args": "check " + checkWord + " " + path, "proc.env": env,
	}
	maps.Copy(process, did.Is)
	if err := a.crowd(ctx, s.programs); err != nil {
		return nil, err
	}
	after, err := s.programs.Read()
	if err != nil {
		return nil, err
	}
	lost, err := a.lost() // last: while maps are read, the kernel runs no program at a tracepoint on this CPU
	if err != nil {
		return nil, err
	}
	reply := &wire.CheckEventsReply{Drops: lost, Skipped: wireSkipped(after.Since(before))}
	reply.Fields = append(reply.Fields, compare("exec", s.checked, closest(matches, id, call{Type: "execve", Fields: process}), process, map[string]string{"evt.type": "execve"})...)
	open := call{Type: "openat", Fields: map[string]string{"evt.type": "openat", "fd.name": path, "fd.num": strconv.Itoa(did.FD)}}
	reply.Fields = append(reply.Fields, compare("open", s.checked, closest(matches, id, open), process, open.Fields)...)
	for _, c := range did.Calls {
		seen := closest(matches, id, c)
		for _, field := range slices.Sorted(maps.Keys(c.Fields)) {
			got, present := seen[field]
			if !slices.Contains(s.checked, field) {
				continue
			}
			reply.Fields = append(reply.Fields, &wire.EventField{Event: c.Type, Field: field, Truth: c.Fields[field], Seen: wire.Text(got), Present: present})
		}
	}
	return reply, nil
}

// callsDir is below a prefix that the probe watches the writes of (modern.DefaultWrites).
const callsDir = "/dev/shm"

// closest is the match of the known deed that has most of the call's fields right: the runtime of the process makes calls of
// its own, and a consumer may report a call both when it begins and when it ends, and only then know all of it.
func closest(matches []consumer.Match, id string, c call) map[string]string {
	var best map[string]string
	most := -1
	for _, m := range matches {
		if m.Watch != checkName || m.Fields["evt.type"] != c.Type || !strings.Contains(m.Fields["proc.args"], id) {
			continue
		}
		right := 0
		for field, want := range c.Fields {
			if m.Fields[field] == want {
				right++
			}
		}
		if right > most {
			best, most = m.Fields, right
		}
	}
	return best
}

// compare puts what was seen beside the truth, in the order of the watch's fields, which are those that the consumer has. The environment may hold more
// than what it was given, so of it only that part is looked at.
func compare(event string, fields []string, seen map[string]string, truths ...map[string]string) []*wire.EventField {
	var out []*wire.EventField
	for _, field := range fields {
		for _, truth := range truths {
			want, ok := truth[field]
			if !ok {
				continue
			}
			got, present := seen[field]
			if field == "proc.env" && strings.Contains(got, want) {
				got = want
			}
			out = append(out, &wire.EventField{Event: event, Field: field, Truth: want, Seen: wire.Text(got), Present: present})
		}
	}
	return out
}
