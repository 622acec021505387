// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// deedCalls makes a system call of each shape in the directory args[0], and prints the descriptors it got.
func deedCalls(args []string) error {
	runtime.LockOSThread()
	var failed error
	must := func(err error) {
		if err != nil && failed == nil {
			failed = err
		}
	}
	must(unix.Chdir(args[0]))
	must(unix.Mkdirat(unix.AT_FDCWD, "d", 0o755))
	must(unix.Symlinkat("/nowhere", unix.AT_FDCWD, "link"))
	must(unix.Renameat(unix.AT_FDCWD, "link", unix.AT_FDCWD, "d/moved"))
	must(unix.Unlinkat(unix.AT_FDCWD, args[0]+"/d/moved", 0))
	memfd, err := unix.MemfdCreate("mews", unix.MFD_CLOEXEC)
	must(err)
	must(unix.Fchmod(memfd, 0o600))
	server, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Bind(server, &unix.SockaddrUnix{Name: "s"}))
	must(unix.Listen(server, 1))
	client, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Connect(client, &unix.SockaddrUnix{Name: "s"}))
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(err)
	must(unix.Connect(udp, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 4242}))
	must(unix.Mount("none", args[0]+"/missing", "tmpfs", 0, ""))
	if failed != unix.ENOENT {
		return fmt.Errorf("%v, and not only the mount has failed", failed)
	}
	_, err = unix.FcntlInt(uintptr(memfd), unix.F_DUPFD_CLOEXEC, 100) // makes no standard stream
	if err != nil {
		return err
	}
	if err := unix.Dup3(memfd, 0, 0); err != nil {
		return err
	}
	fmt.Println(memfd, server, client, udp)
	return unix.Setuid(65534)
}

// TestCalls compares what is told of a call of each shape with what was done.
func TestCalls(t *testing.T) {
	d := startDriver(t)
	dir := t.TempDir()
	cmd := exec.Command(self(t), deedWord, "calls", dir)
	got, out := watch(t, d, cmd)
	proven(t, d, len(got))
	var memfd, server, client, udp int
	if _, err := fmt.Sscan(out, &memfd, &server, &client, &udp); err != nil {
		t.Fatal(err, out)
	}
	unixSocket := func(path string) *modern.Socket {
		end := modern.Endpoint{Family: unix.AF_UNIX, Path: path}
		return &modern.Socket{Type: unix.SOCK_STREAM, Local: end, Remote: end}
	}
	peer := netip.MustParseAddrPort("127.0.0.1:4242")
	for _, w := range []modern.Event{
		{Syscall: "chdir", Dir: dir},
		{Syscall: "mkdirat", Name: "d", Dir: dir},
		{Syscall: "symlinkat", Name: "/nowhere", Name2: "link", Dir2: dir},
		{Syscall: "renameat", Name: "link", Dir: dir, Name2: "d/moved", Dir2: dir},
		{Syscall: "unlinkat", Name: dir + "/d/moved"},
		{Syscall: "memfd_create", Name: "mews", Ret: int64(memfd)},
		{Syscall: "fchmod", Path: "/memfd:mews", Mode: unix.S_IFREG | 0o600},
		{Syscall: "bind", Addr: &modern.Endpoint{Family: unix.AF_UNIX, Path: "s"}, Sock: unixSocket("s"), Mode: unix.S_IFSOCK | 0o777},
		{Syscall: "mount", Name: "none", Name2: dir + "/missing", Extra: "tmpfs", Ret: -int64(unix.ENOENT)},
		{Syscall: "dup3", Path: "/memfd:mews", Mode: unix.S_IFREG | 0o600},
	} {
		all := find(got, func(ev modern.Event) bool { return ev.Kind == modern.Call && ev.Syscall == w.Syscall })
		if len(all) != 1 {
			t.Errorf("%s: %d events", w.Syscall, len(all))
			continue
		}
		same(t, all[0], w)
	}
	connects := find(got, func(ev modern.Event) bool { return ev.Syscall == "connect" && ev.Ret == 0 })
	if len(connects) != 2 {
		t.Fatalf("%d connects", len(connects))
	}
	same(t, connects[0], modern.Event{Syscall: "connect", Addr: &modern.Endpoint{Family: unix.AF_UNIX, Path: "s"}, Sock: unixSocket("s"), Mode: unix.S_IFSOCK | 0o777})
	same(t, connects[1], modern.Event{
		Syscall: "connect", Mode: unix.S_IFSOCK | 0o777, Addr: &modern.Endpoint{Family: unix.AF_INET, IP: peer},
		Sock: &modern.Socket{
			Type: unix.SOCK_DGRAM, Protocol: unix.IPPROTO_UDP, Local: connects[1].Sock.Local, Remote: modern.Endpoint{Family: unix.AF_INET, IP: peer},
		},
	})
	if local := connects[1].Sock.Local.IP; local.Addr() != peer.Addr() || local.Port() == 0 {
		t.Errorf("the local end is %v", local)
	}
	setuid := find(got, func(ev modern.Event) bool { return ev.Syscall == "setuid" && ev.TID == ev.PID })
	if len(setuid) != 1 || setuid[0].UID != 65534 || setuid[0].Raw[0] != 65534 || setuid[0].Caps.Effective != 0 {
		t.Errorf("setuid: %+v", setuid)
	}
	if fcntl := find(got, func(ev modern.Event) bool { return ev.Syscall == "fcntl" }); len(fcntl) != 0 {
		t.Errorf("an fcntl that made no standard stream: %+v", fcntl)
	}
}

// same compares what a call is about.
func same(t *testing.T, got, want modern.Event) {
	t.Helper()
	line := func(ev modern.Event) string {
		ends := ""
		if ev.Addr != nil {
			ends += fmt.Sprintf(" addr %+v", *ev.Addr)
		}
		if ev.Sock != nil {
			ends += fmt.Sprintf(" sock %+v", *ev.Sock)
		}
		return fmt.Sprintf("%s(%q in %q, %q in %q, %q) = %d path %q mode %o%s",
			ev.Syscall, ev.Name, ev.Dir, ev.Name2, ev.Dir2, ev.Extra, ev.Ret, ev.Path, ev.Mode, ends)
	}
	if line(got) != line(want) {
		t.Errorf("got  %s\nwant %s", line(got), line(want))
	}
}

// TestTableIsTheProbes: both drivers see the same calls, but for those that the table leaves out.
func TestTableIsTheProbes(t *testing.T) {
	left := map[string]bool{"write": true, "writev": true, "pwrite": true, "pwritev": true}
	mine := map[string]bool{}
	for _, w := range table {
		if mine[w.name] || byNumber[w.nr].name != w.name {
			t.Errorf("%s stands in the table twice, or has the number of another", w.name)
		}
		mine[w.name] = true
	}
	for _, name := range modern.Syscalls() {
		if mine[name] == left[name] {
			t.Errorf("%s is watched by the probe; it is traced: %t", name, mine[name])
		}
		delete(mine, name)
	}
	delete(mine, "execve")
	delete(mine, "execveat")
	if len(mine) != 0 {
		t.Errorf("the probe does not watch %v", mine)
	}
}

// TestUpperLayer: what was changed in an overlay lies in its upper layer, what was not does not.
func TestUpperLayer(t *testing.T) {
	base := t.TempDir()
	if err := unix.Mount("mews", base, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(base, unix.MNT_DETACH) })
	for _, dir := range []string{"lower/bin", "up,per", "work", "merged"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	merged := filepath.Join(base, "merged")
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(base + "/lower/bin/image")
	write(base + "/lower/bin/changed")
	options := "lowerdir=" + base + "/lower,upperdir=" + base + `/up\,per,workdir=` + base + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(merged, unix.MNT_DETACH) })
	write(merged + "/bin/dropped")
	if err := os.Chmod(merged+"/bin/changed", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"image": false, "changed": true, "dropped": true} {
		d := startDriver(t)
		got, _ := watch(t, d, exec.Command(filepath.Join(merged, "bin", name)))
		proven(t, d, len(got))
		execs := ofKind(got, modern.Exec)
		if len(execs) != 1 || execs[0].Exe.UpperLayer != want || execs[0].Path != filepath.Join(merged, "bin", name) {
			t.Errorf("%s: %+v", name, execs)
		}
	}
	// Deleted while it is being started nobody can tell: see exeOf.
	fd, err := unix.Open(merged+"/bin/dropped", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := os.Remove(merged + "/bin/dropped"); err != nil {
		t.Fatal(err)
	}
	d := startDriver(t)
	watch(t, d, exec.Command(fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd)))
	if s, err := d.Stats(); err != nil || s.DropsBy[lostLayer] != 1 {
		t.Errorf("a deleted program of an overlay: %+v, %v", s, err)
	}
}

// TestEvents: the names that do not depend on the machine are those of a machine that has the old calls.
func TestEvents(t *testing.T) {
	if runtime.GOARCH == "amd64" {
		var names []string
		for _, w := range legacy {
			names = append(names, w.name)
		}
		if !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(older))) {
			t.Errorf("the old calls are %q, not %q", names, older)
		}
	}
	events := Events()
	for _, name := range []string{"execve", "openat2", "open", "procexit"} {
		if !slices.Contains(events, name) {
			t.Errorf("%s is not told", name)
		}
	}
	if slices.Contains(events, "write") {
		t.Error("write is told, which no filter stops")
	}
}
