// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// execveatChild is the name by which the test binary is started to execute itself once more, by execveat.
const execveatChild = "execveat-child"

// siblingMaker is the name by which it makes a process whose parent is its own, and tells which.
const siblingMaker = "sibling-maker"

func makeSibling() {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.CLONE_PARENT|unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno == 0 && pid == 0 { // nothing of Go's runtime may run here
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	fmt.Print(pid)
	os.Exit(int(errno))
}

func TestMain(m *testing.M) {
	if os.Args[0] == siblingMaker {
		makeSibling()
	}
	if os.Args[0] != execveatChild {
		os.Exit(m.Run())
	}
	path := []byte("/proc/self/exe\x00")
	argv := []*byte{&[]byte("again\x00")[0], &[]byte("-test.run=^$\x00")[0], nil}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, 0, uintptr(unsafe.Pointer(&path[0])), uintptr(unsafe.Pointer(&argv[0])), 0, 0, 0)
	os.Exit(int(errno))
}

// TestLive runs the probe in the kernel of the machine that runs the tests.
func TestLive(t *testing.T) {
	d, reports, err := Load(Options{RingSize: 1 << 22})
	skipWithoutRights(t, err)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Cleanup(func() { d.Close() })
	for _, r := range reports {
		if !r.Loaded {
			t.Errorf("program %s: %v\n%s", r.Name, r.Err, r.Log)
		}
	}
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret"), nil, 0o640); err != nil {
		t.Fatal(err)
	}
	dirfd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(dirfd)
	how := &unix.OpenHow{Flags: unix.O_RDWR, Resolve: unix.RESOLVE_BENEATH}
	fd, err := unix.Openat2(dirfd, "./secret", how)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Openat(dirfd, "none", unix.O_WRONLY, 0); !errors.Is(err, unix.ENOENT) {
		t.Fatalf("opened a file that is not there: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.Command(self, "-test.run=^$", "two words")
	child.Args[0] = "argv0"
	child.Env = []string{"MEWS_ID=live"}
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	at := exec.Command(self)
	at.Args[0] = execveatChild
	if err := at.Run(); err != nil {
		t.Fatal(err)
	}
	maker := exec.Command(self)
	maker.Args[0] = siblingMaker
	out, err := maker.Output()
	if err != nil {
		t.Fatal(err)
	}
	sibling, err := strconv.Atoi(string(out))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Wait4(sibling, nil, 0, nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Detach(); err != nil {
		t.Fatal(err)
	}

	forks := map[int][]Event{}
	var opened, refused, execs, exits []Event
	var ways []string // in which at.Process became what it is
	for {
		ev, err := d.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case ev.Kind == Fork:
			forks[ev.PID] = append(forks[ev.PID], ev)
		case ev.PID == os.Getpid() && ev.Name == "./secret":
			opened = append(opened, ev)
		case ev.PID == os.Getpid() && ev.Name == "none":
			refused = append(refused, ev)
		case ev.PID == child.Process.Pid && ev.Kind == Exec:
			execs = append(execs, ev)
		case ev.PID == at.Process.Pid && ev.Kind == Exec:
			ways = append(ways, ev.Syscall)
		case ev.PID == child.Process.Pid && ev.Kind == Exit:
			exits = append(exits, ev)
		}
	}
	if len(opened) != 1 || len(refused) != 1 || len(execs) != 1 || len(exits) != 1 {
		t.Fatalf("saw %d opens, %d refused, %d execs, %d exits, want one of each", len(opened), len(refused), len(execs), len(exits))
	}
	if e := opened[0]; e.Syscall != "openat2" || e.Ret != int64(fd) || e.Path != filepath.Join(dir, "secret") || e.Dir != dir ||
		e.Resolve != how.Resolve || e.Flags != unix.O_RDWR || e.Mode != unix.S_IFREG|0o640 || e.DirFD != dirfd || e.Truncated {
		t.Errorf("openat2 looks like %+v", e)
	}
	if e := refused[0]; e.Syscall != "openat" || e.Ret != -int64(unix.ENOENT) || e.Path != "" || e.Mode != 0 {
		t.Errorf("the refused openat looks like %+v", e)
	}
	var st unix.Stat_t
	if err := unix.Stat(self, &st); err != nil {
		t.Fatal(err)
	}
	if e, want := execs[0], (Inode{st.Ino, st.Ctim.Nano(), st.Mtim.Nano()}); e.Exe.Inode != want || e.PIDNSStart == 0 || e.PIDNSStart >= e.Time {
		t.Errorf("the executable is %+v, want %+v, and its pid namespace began at %s, before %s", e.Exe.Inode, want, e.PIDNSStart, e.Time)
	}
	if e := execs[0]; e.Syscall != "execve" || e.Path != self || e.Name != self || e.PPID != os.Getpid() || e.Exe.UpperLayer || e.Exe.Memfd ||
		!slices.Equal(e.Args, child.Args) || !slices.Equal(e.Env, child.Env) || e.CgroupPath == "" {
		t.Errorf("execve looks like %+v", e)
	}
	for pid, origin := range map[int]int{child.Process.Pid: os.Getpid(), maker.Process.Pid: os.Getpid(), sibling: maker.Process.Pid} {
		if f := forks[pid]; len(f) != 1 || f[0].Origin != origin || f[0].PPID != os.Getpid() {
			t.Errorf("process %d, which %d forked: %+v", pid, origin, f)
		}
	}
	if want := []string{"execve", "execve"}; !slices.Equal(ways, want) {
		t.Errorf("a process was started by %q, want %q", ways, want)
	}
	stats, err := d.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if stats.Events == 0 {
		t.Error("the probe counts no event")
	}
}
