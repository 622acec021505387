// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// deedMemfd executes a program of a memfd by its descriptor, and prints what it is called where.
func deedMemfd([]string) error {
	fd, err := unix.MemfdCreate("in memory", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		return err
	}
	if _, err := unix.Write(fd, program); err != nil {
		return err
	}
	fmt.Println(fd)
	return unix.Exec("/proc/self/fd/"+strconv.Itoa(fd), []string{"true", "of memory"}, nil)
}

// TestMemfd: the path of such an executable is what the kernel calls it, without the mark of a deleted file, and that it
// is a memfd is known by more than that name.
func TestMemfd(t *testing.T) {
	d := startDriver(t)
	got, out := watch(t, d, exec.Command(self(t), deedWord, "memfd"))
	proven(t, d, len(got))
	var fd int
	if _, err := fmt.Sscan(out, &fd); err != nil {
		t.Fatal(err, out)
	}
	execs := ofKind(got, modern.Exec)
	if len(execs) != 2 {
		t.Fatalf("execs %+v", execs)
	}
	e := execs[1]
	if e.Path != "/memfd:in memory" || !e.Exe.Memfd || e.Exe.UpperLayer || e.Name != "/proc/self/fd/"+strconv.Itoa(fd) || e.Comm != strconv.Itoa(fd) ||
		!slices.Equal(e.Args, []string{"true", "of memory"}) {
		t.Errorf("exec %+v", e)
	}
	if execs[0].Exe.Memfd {
		t.Errorf("no memfd, but %+v", execs[0])
	}
	made := find(got, func(ev modern.Event) bool { return ev.Syscall == "memfd_create" })
	if len(made) != 1 || made[0].Name != "in memory" || made[0].Ret != int64(fd) {
		t.Errorf("made %+v", made)
	}
}

// deedVfork makes children by clone(CLONE_VFORK | CLONE_VM), as the Go runtime does: one becomes a program, and one ends
// as it is, because there is none.
func deedVfork([]string) error {
	pid, err := syscall.ForkExec("/bin/true", []string{"/bin/true"}, nil)
	if err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, 0, nil); err != nil {
		return err
	}
	if _, err := syscall.ForkExec("/nowhere", []string{"/nowhere"}, nil); err == nil {
		return errors.New("what does not exist was started")
	}
	return nil
}

// TestVfork: the parent waits in the kernel while its child is traced, and goes on. dash calls vfork(2) itself.
func TestVfork(t *testing.T) {
	for name, cmd := range map[string]*exec.Cmd{
		"clone": exec.Command(self(t), deedWord, "vfork"),
		"vfork": exec.Command("/bin/dash", "-c", "/bin/true; /nowhere; true"),
	} {
		t.Run(name, func(t *testing.T) {
			d := startDriver(t)
			got, _ := watch(t, d, cmd)
			proven(t, d, len(got))
			parent := cmd.Process.Pid
			forks := find(got, func(ev modern.Event) bool { return ev.Kind == modern.Fork })
			calls := find(got, func(ev modern.Event) bool {
				return ev.Kind == modern.Call && ev.PID == parent && ev.Syscall == name && (name == "vfork" || ev.Raw[0]&unix.CLONE_VFORK != 0)
			})
			if len(forks) != 2 || len(calls) != 2 {
				t.Fatalf("forks %+v, calls %+v", forks, calls)
			}
			for i, fork := range forks {
				child := find(got, func(ev modern.Event) bool { return ev.PID == fork.PID })
				execs, exits := ofKind(child, modern.Exec), ofKind(child, modern.Exit)
				if fork.Origin != parent || calls[i].Ret != int64(fork.PID) || len(exits) != 1 || exits[0].PPID != parent {
					t.Errorf("child %d: fork %+v, call %+v, exits %+v", i, fork, calls[i], exits)
				}
				if i == 0 && (len(execs) != 1 || !slices.Equal(execs[0].Args, []string{"/bin/true"})) || i == 1 && len(execs) != 0 {
					t.Errorf("child %d: execs %+v", i, execs)
				}
			}
		})
	}
}
