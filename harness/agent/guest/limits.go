// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of one deed, many times what the largest of the shipped ones needs. What it may write is bounded by the sizes of
// the file systems that it can reach.
const (
	maxProcesses = 256
	maxDeedBytes = 256 << 20 // of memory, with what it writes to a tmpfs
	deedShare    = 0.6       // of the call's time; the rest is the fence's and the answer's
	lastOutput   = time.Second
)

// deedGroup begins the name of the cgroup of what a deed does on the host.
const deedGroup = "/mews-deed-"

// shorter ends a share of ctx's time before ctx.
func shorter(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(float64(time.Until(end))*deedShare))
}

// group is a cgroup that bounds processes, and ends all of them. The zero group bounds nothing: the guest has no cgroups of
// version 2.
type group struct{ dir string }

// unified reports whether the guest has cgroups of version 2.
func unified() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// newGroup makes the cgroup of a deed, or finds that none can be made here.
func newGroup(deed string) (group, error) {
	if !unified() {
		return group{}, nil
	}
	g := group{cgroupRoot + deedGroup + deed}
	if err := os.Mkdir(g.dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return group{}, ours("make the cgroup of a deed", err)
	}
	for file, limit := range map[string]int{"pids.max": maxProcesses, "memory.max": maxDeedBytes} {
		err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.Itoa(limit)), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel may be without that controller
			return g, ours("bound a deed", err)
		}
	}
	return g, nil
}

// take moves a process into the group, with all that it starts from then on.
func (g group) take(pid int) error {
	if g.dir == "" {
		return nil
	}
	if err := os.WriteFile(filepath.Join(g.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil && !errors.Is(err, unix.ESRCH) {
		return ours("bound a deed", err)
	}
	return nil
}

// exceeded says which bound stopped something in the cgroup at dir, or "".
func exceeded(dir string) string {
	for _, l := range []struct{ file, key, what string }{
		{"pids.events", "max", fmt.Sprintf("the bound of %d processes", maxProcesses)},
		{"memory.events", "oom_kill", fmt.Sprintf("the bound of %d MiB", maxDeedBytes>>20)},
	} {
		text, err := os.ReadFile(filepath.Join(dir, l.file))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if key, n, _ := strings.Cut(strings.TrimSpace(line), " "); key == l.key && n != "0" {
				return l.what + ", " + n + " times"
			}
		}
	}
	return ""
}

// end kills what is left in the group and removes it. What a fork bomb starts meanwhile is killed too: by the kernel at once
// where it can (cgroup.kill, 5.14), else until nothing is left.
func (g group) end(ctx context.Context) error {
	if g.dir == "" {
		return nil
	}
	for {
		if err := os.WriteFile(filepath.Join(g.dir, "cgroup.kill"), []byte("1"), 0o644); err != nil {
			pids, err := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
			if err != nil {
				return nil // it is gone
			}
			for pid := range strings.FieldsSeq(string(pids)) {
				if n, err := strconv.Atoi(pid); err == nil {
					_ = unix.Kill(n, unix.SIGKILL) // it may have ended
				}
			}
		}
		err := os.Remove(g.dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		// EBUSY until the last of them was reaped, by PID 1; nothing tells of that.
		select {
		case <-ctx.Done():
			return ours("end what a deed left running", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
