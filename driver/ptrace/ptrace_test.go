// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

func init() { runtime.LockOSThread() }

// deedWord makes the test binary do one of deeds.
const deedWord = "ptrace-deed"

func TestMain(m *testing.M) {
	var err error
	switch args := os.Args[1:]; {
	case len(args) == 1 && args[0] == TraceWord:
		err = Trace()
	case len(args) > 1 && args[0] == ExecWord:
		err = Exec(args[1:])
	case len(args) > 1 && args[0] == deedWord:
		err = deeds[args[1]](args[2:])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// limit ends a test that hangs; nothing is measured by it.
const limit = time.Minute

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func startDriver(t *testing.T) *Driver {
	t.Helper()
	d, err := Start(self(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// watch runs cmd under the tracer and returns what it and its children did, and what it printed.
func watch(t *testing.T, d *Driver, cmd *exec.Cmd) ([]modern.Event, string) {
	t.Helper()
	if err := d.Attach(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	timer := time.AfterFunc(limit, func() { cmd.Process.Kill() })
	defer timer.Stop()
	if err := d.Launch(cmd, nil); err != nil {
		t.Fatal(err)
	}
	// Read beside it: a tracer whose events nobody takes lets the traced wait.
	read := make(chan []modern.Event)
	go func() { read <- events(t, d) }()
	err := cmd.Wait()
	if detachErr := d.Detach(); detachErr != nil {
		t.Fatal(detachErr)
	}
	got := <-read
	if err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	return got, out.String()
}

// events reads until the end.
func events(t *testing.T, d *Driver) []modern.Event {
	var got []modern.Event
	for {
		ev, err := d.Read()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Error(err)
			return got
		}
		got = append(got, ev)
	}
}

// proven fails the test unless everything was told.
func proven(t *testing.T, d *Driver, want int) {
	t.Helper()
	s, err := d.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if len(s.DropsBy) != 0 || s.Events != uint64(want) {
		t.Errorf("%d events were counted and %d read; lost: %v", s.Events, want, s.DropsBy)
	}
}

func find(events []modern.Event, is func(modern.Event) bool) []modern.Event {
	return slices.DeleteFunc(slices.Clone(events), func(ev modern.Event) bool { return !is(ev) })
}

func opensOf(events []modern.Event, name string) []modern.Event {
	return find(events, func(ev modern.Event) bool { return ev.Kind == modern.Open && ev.Name == name })
}

func ofKind(events []modern.Event, kind modern.Kind) []modern.Event {
	return find(events, func(ev modern.Event) bool { return ev.Kind == kind })
}

// deeds are what the test binary does traced.
var deeds = map[string]func(args []string) error{
	"open":        deedOpen,
	"thread-exec": deedThreadExec,
	"nested":      deedNested,
	"threads":     deedThreads,
	"calls":       deedCalls,
	"signals":     deedSignals,
	"race":        deedRace,
	"memfd":       deedMemfd,
	"vfork":       deedVfork,
	"wait":        func([]string) error { _, err := io.Copy(io.Discard, os.Stdin); return err },
}

// deedOpen opens the file args[0] in its directory in each way, and prints the descriptors.
func deedOpen(args []string) error {
	dir, base := filepath.Split(args[0])
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	dirfd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	a, err1 := unix.Openat(unix.AT_FDCWD, base, unix.O_RDWR|unix.O_CLOEXEC, 0)
	b, err2 := unix.Openat2(dirfd, base, &unix.OpenHow{Flags: unix.O_WRONLY | unix.O_CREAT, Mode: 0o640, Resolve: unix.RESOLVE_NO_SYMLINKS})
	_, err3 := unix.Openat(dirfd, "missing", unix.O_RDONLY, 0)
	fmt.Println(os.Getpid(), os.Getppid(), dirfd, a, b)
	if !errors.Is(err3, unix.ENOENT) {
		return fmt.Errorf("missing: %v", err3)
	}
	return errors.Join(err1, err2)
}

func TestOpen(t *testing.T) {
	d := startDriver(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "fi\nle\xff")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self(t), deedWord, "open", file)
	cmd.Env = []string{"MEWS_ID=q7", "EMPTY="}
	got, out := watch(t, d, cmd)
	proven(t, d, len(got))
	var pid, ppid, dirfd, a, b int
	if _, err := fmt.Sscan(out, &pid, &ppid, &dirfd, &a, &b); err != nil {
		t.Fatal(err, out)
	}
	if pid != cmd.Process.Pid || ppid != os.Getpid() {
		t.Errorf("the traced process is %d, child of %d, not %d, child of %d", pid, ppid, cmd.Process.Pid, os.Getpid())
	}
	execs := ofKind(got, modern.Exec)
	if len(execs) != 1 {
		t.Fatalf("%d execs: %+v", len(execs), execs)
	}
	var st unix.Stat_t
	if err := unix.Stat(self(t), &st); err != nil {
		t.Fatal(err)
	}
	comm := filepath.Base(self(t))
	comm = comm[:min(len(comm), 15)]
	e := execs[0]
	own, err := readStatus(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	want := modern.Event{
		Kind: modern.Exec, Syscall: "execve", PID: pid, TID: pid, PPID: ppid, VPID: e.VPID, Comm: comm, Name: self(t), Path: self(t),
		Exe: modern.Exe{Inode: modern.Inode{Ino: st.Ino, CTime: st.Ctim.Nano(), MTime: st.Mtim.Nano()}, Writable: true}, PIDNSStart: e.PIDNSStart, Args: cmd.Args[len(cmd.Args)-4:], Env: cmd.Env,
		Login: own.login, TTY: own.tty, Caps: own.caps, Dir: wd, Time: e.Time, Cgroup: e.Cgroup,
	}
	want.CgroupPath, want.CgroupV1 = cgroupOf(os.Getpid())
	want.Args = []string{self(t), deedWord, "open", file}
	if fmt.Sprintf("%+v", e) != fmt.Sprintf("%+v", want) {
		t.Errorf("exec:\n got %+v\nwant %+v", e, want)
	}
	if e.VPID == 0 || e.Time == 0 {
		t.Errorf("exec lacks a time or the process's own id: %+v", e)
	}
	base := filepath.Base(file)
	for _, w := range []modern.Event{
		{Syscall: "openat", Ret: int64(a), Name: base, Dir: dir, DirFD: unix.AT_FDCWD, Flags: unix.O_RDWR | unix.O_CLOEXEC, Path: file, Mode: unix.S_IFREG | 0o600},
		{Syscall: "openat2", Ret: int64(b), Name: base, Dir: dir, DirFD: dirfd, Flags: unix.O_WRONLY | unix.O_CREAT, Perm: 0o640, Resolve: unix.RESOLVE_NO_SYMLINKS, Path: file, Mode: unix.S_IFREG | 0o600},
		{Syscall: "openat", Ret: -int64(unix.ENOENT), Name: "missing", Dir: dir, DirFD: dirfd},
	} {
		all := find(got, func(ev modern.Event) bool { return ev.Name == w.Name && ev.Syscall == w.Syscall })
		if len(all) != 1 {
			t.Errorf("%s of %q: %d events", w.Syscall, w.Name, len(all))
			continue
		}
		g := all[0]
		w.Kind, w.Time, w.PID, w.TID, w.PPID, w.VPID, w.Comm, w.Cgroup, w.CgroupPath, w.CgroupV1, w.Login, w.TTY = modern.Open, g.Time, pid, g.TID, ppid, e.VPID, comm, e.Cgroup, want.CgroupPath, want.CgroupV1, own.login, own.tty
		if fmt.Sprintf("%+v", g) != fmt.Sprintf("%+v", w) {
			t.Errorf("got  %+v\nwant %+v", g, w)
		}
	}
}

// deedThreadExec executes a program from a thread that is not the first.
func deedThreadExec([]string) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			done <- errors.New("this is the first thread")
		}
		done <- unix.Exec("/bin/true", []string{"true", "from a thread"}, nil)
	}()
	return <-done
}

func TestExecFromThread(t *testing.T) {
	d := startDriver(t)
	cmd := exec.Command(self(t), deedWord, "thread-exec")
	got, _ := watch(t, d, cmd)
	proven(t, d, len(got))
	execs := ofKind(got, modern.Exec)
	if len(execs) != 2 || execs[1].PID != cmd.Process.Pid || execs[1].Name != "/bin/true" || !slices.Equal(execs[1].Args, []string{"true", "from a thread"}) {
		t.Errorf("got %+v", execs)
	}
	if exits := ofKind(got, modern.Exit); len(exits) != 1 || exits[0].PID != cmd.Process.Pid || exits[0].Comm != "true" {
		t.Errorf("exits: %+v", exits)
	}
}

// TestTree follows what a shell starts, in the background, in a pipe, and by a child of a child.
func TestTree(t *testing.T) {
	d := startDriver(t)
	file := filepath.Join(t.TempDir(), "f")
	got, out := watch(t, d, exec.Command("/bin/sh", "-c", `(true | /bin/sh -c 'echo x >"$1"; echo $$' sh "$1") & wait; exec true`, "sh", file))
	proven(t, d, len(got))
	var pid int
	if _, err := fmt.Sscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	opens := opensOf(got, file)
	if len(opens) != 1 || opens[0].PID != pid || opens[0].Flags&unix.O_ACCMODE != unix.O_WRONLY {
		t.Errorf("opens of %s by %d: %+v", file, pid, opens)
	}
	forks, exits := ofKind(got, modern.Fork), ofKind(got, modern.Exit)
	if len(exits) != len(forks)+1 {
		t.Errorf("%d forks, %d exits", len(forks), len(exits))
	}
	// Everybody was announced before he did something.
	known := map[int]bool{}
	for i, ev := range got {
		switch {
		case i == 0:
			if ev.Kind != modern.Exec || ev.Path == "" {
				t.Errorf("first event %+v", ev)
			}
		case ev.Kind == modern.Fork:
			if !known[ev.Origin] || known[ev.PID] {
				t.Errorf("fork of an unknown process, or one that was there: %+v", ev)
			}
		case !known[ev.PID]:
			t.Errorf("event of a process that was not announced: %+v", ev)
		}
		known[ev.PID] = true
	}
}

// deedThreads opens as many files as there are in many threads at once.
func deedThreads(args []string) error {
	const threads, files = 8, 50
	done := make(chan error)
	for i := range threads {
		go func() {
			runtime.LockOSThread()
			for j := range files {
				fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
				if err != nil {
					done <- fmt.Errorf("thread %d, open %d: %w", i, j, err)
					return
				}
				unix.Close(fd)
			}
			done <- nil
		}()
	}
	for range threads {
		if err := <-done; err != nil {
			return err
		}
	}
	return nil
}

func TestThreads(t *testing.T) {
	d := startDriver(t)
	cmd := exec.Command(self(t), deedWord, "threads", "/etc/passwd")
	got, _ := watch(t, d, cmd)
	proven(t, d, len(got))
	opens := opensOf(got, "/etc/passwd")
	tids := map[int]bool{}
	for _, ev := range opens {
		tids[ev.TID] = true
		if ev.PID != cmd.Process.Pid || ev.Path != "/etc/passwd" {
			t.Errorf("got %+v", ev)
		}
	}
	if len(opens) != 400 || len(tids) != 8 {
		t.Errorf("%d opens by %d threads; there were 400 by 8", len(opens), len(tids))
	}
	if forks := ofKind(got, modern.Fork); len(forks) != 0 {
		t.Errorf("threads are told as processes: %+v", forks)
	}
}

// deedNested tries to trace a child, as a debugger does.
func deedNested([]string) error {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	runtime.LockOSThread()
	if err := cmd.Start(); !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("PTRACE_TRACEME of a process that is traced: %v", err)
	}
	return nil
}

func TestNestedPtrace(t *testing.T) {
	d := startDriver(t)
	got, _ := watch(t, d, exec.Command(self(t), deedWord, "nested"))
	proven(t, d, len(got))
}
