// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inNamespace starts a process that waits, the first of a pid namespace, and says when it was forked. It ends with the test, or
// by the function that comes with it.
func inNamespace(t *testing.T) (pid int, start time.Duration, end func()) {
	t.Helper()
	cmd := exec.Command(self(t), deedWord, "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWPID}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	end = func() {
		if !ended {
			ended = true
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(end)
	stat, err := os.ReadFile(procPath(cmd.Process.Pid, "stat"))
	if err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, time.Duration(statWord(string(stat), 22)) * clockTick, end
}

func TestNamespaceStart(t *testing.T) {
	pid, start, end := inNamespace(t)
	known := firsts{}
	if got := known.start(pid); got != start || start == 0 {
		t.Errorf("the namespace began at %s, want %s", got, start)
	}
	if got := known.start(pid); got != start || len(known) != 1 {
		t.Errorf("asked again, it began at %s, and %d namespaces are known", got, len(known))
	}
	// The number of a namespace that is no more may be another's now: what was known of it does not count.
	other, later, _ := inNamespace(t)
	space, err := os.Readlink(procPath(other, "ns", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	known[space] = pid
	if got := known.start(other); got != later || known[space] != other {
		t.Errorf("with another's first process known, it began at %s by process %d, want %s by %d", got, known[space], later, other)
	}
	end()
	if got := known.start(pid); got != 0 {
		t.Errorf("of a process that is gone, the namespace began at %s", got)
	}
	space, err = os.Readlink(procPath(os.Getpid(), "ns", "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := firstOf(space, os.Getpid()); ok {
		t.Error("this process, which has a parent in its namespace, is taken for the first")
	}
}
