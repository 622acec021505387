// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// The watch that [Agent.CheckEvents] looks at, and the word in the arguments of the process it starts.
const (
	checkName = "mews-check"
	checkWord = "mews-check-events"
)

// checkFields are what is compared, in the order of the report.
var checkFields = []string{"evt.type", "proc.pid", "proc.ppid", "proc.name", "proc.exe", "proc.exepath", "proc.args", "proc.env", "fd.name", "fd.num", "user.uid"}

// checkWatch sees the known deed of [Agent.CheckEvents], and nothing else.
func (a *Agent) checkWatch() consumer.Watch {
	return consumer.Watch{
		Name: checkName,
		Condition: "(evt.type in (execve, execveat) and proc.args contains " + checkWord + ") or " +
			"(evt.type=openat and fd.name startswith " + a.checkDir() + "/)",
		Fields: checkFields,
	}
}

func (a *Agent) checkDir() string { return filepath.Join(a.State, "check") }

// checked is what the process of [Check] says that it did.
type checked struct {
	PID int `json:"pid"`
	FD  int `json:"fd"`
}

// Check is `mews-agent check WORD PATH`: it opens a file and says so.
func Check(path string, stdout io.Writer) error {
	fd, err := unix.Openat(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("openat %s: %w", path, err)
	}
	return json.NewEncoder(stdout).Encode(checked{PID: os.Getpid(), FD: fd})
}

// CheckEvents lets a process do a known exec and a known openat, and puts what the consumer said of them
// beside the truth.
func (a *Agent) CheckEvents(ctx context.Context, _ *wire.Empty) (*wire.CheckEventsReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
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

	s.begin()
	cmd := exec.CommandContext(ctx, selfPath, "check", checkWord, path)
	env := scenarios.EnvID + "=" + id
	cmd.Env = []string{"PATH=/usr/bin:/bin", env}
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
		"proc.exe": selfPath, "proc.exepath": selfPath, "proc.args": "check " + checkWord + " " + path, "proc.env": env, "user.uid": "0",
	}
	reply := &wire.CheckEventsReply{}
	reply.Fields = append(reply.Fields, compare("exec", find(matches, id, "execve"), process, map[string]string{"evt.type": "execve"})...)
	reply.Fields = append(reply.Fields, compare("open", find(matches, id, "openat"), process,
		map[string]string{"evt.type": "openat", "fd.name": path, "fd.num": strconv.Itoa(did.FD)})...)
	return reply, nil
}

// find is the last of the matches that is of the known deed and of the system call: a consumer may report a
// call both when it begins and when it ends, and only then knows all of it.
func find(matches []consumer.Match, id, syscall string) map[string]string {
	var found map[string]string
	for _, m := range matches {
		if m.Watch == checkName && m.Fields["evt.type"] == syscall && strings.Contains(m.Fields["proc.args"], id) {
			found = m.Fields
		}
	}
	return found
}

// compare puts what was seen beside the truth, in the order of the watch's fields. The environment may hold more
// than what it was given, so of it only that part is looked at.
func compare(event string, seen map[string]string, truths ...map[string]string) []*wire.EventField {
	var out []*wire.EventField
	for _, field := range checkFields {
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
