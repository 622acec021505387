// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"io/fs"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

func procTree() fstest.MapFS {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s)} }
	return fstest.MapFS{
		"version":     file("Linux"),
		"1/status":    file("Name:\tinit\nPPid:\t0\nUid:\t0\t0\t0\t0\nNSpid:\t1\n"),
		"1/cgroup":    file("0::/\n"),
		"40/status":   file("Name:\tsh (x)\nPPid:\t1\nUid:\t7\t8\t7\t7\nGid:\t6\t9\t6\t6\nNSpid:\t40\t2\nCapInh:\t0000000000000001\nCapPrm:\t0000000000000030\nCapEff:\t0000000000000010\n"),
		"40/stat":     file("40 (sh (x) 1) S 1 40 40 34816 40 4194304 0 0 0 0 0 0 0 0 20 0 1 0 250 0 0"),
		"40/loginuid": file("1000"),
		"40/cwd":      {Data: []byte("/home/u"), Mode: fs.ModeSymlink},
		"40/cmdline":  file("-sh\x00-c\x00x y\x00"),
		"40/environ":  file("MEWS_ID=q\x00"),
		"40/cgroup":   file("12:devices:/v1\n0::/docker/abc\n"),
		"40/exe":      {Data: []byte("/bin/sh (deleted)"), Mode: fs.ModeSymlink},
		"50/status":   file("Name:\tloop\nPPid:\t51\n"),
		"51/status":   file("Name:\tloop2\nPPid:\t50\n"),
		"notapid/foo": file(""),
	}
}

func TestProcessesFromProc(t *testing.T) {
	tab := NewProcesses(procTree())
	if err := tab.Seed(); err != nil {
		t.Fatal(err)
	}
	p := tab.Get(40)
	if p == nil || p.Comm != "sh (x)" || p.PPID != 1 || p.VPID != 2 || p.UID != 8 || p.GID != 9 || p.Caps != (Caps{0x10, 0x30, 1}) || p.Login != 1000 || p.TTY != 34816 || p.Start != 2500*time.Millisecond || p.CWD != "/home/u" || p.CgroupPath != "/docker/abc" || p.ExePath != "/bin/sh" {
		t.Errorf("process 40 is %+v", p)
	}
	if !slices.Equal(p.Args, []string{"-sh", "-c", "x y"}) || !slices.Equal(p.Env, []string{"MEWS_ID=q"}) {
		t.Errorf("its arguments are %q, its environment %q", p.Args, p.Env)
	}
	if p.Exe != nil {
		t.Error("/proc cannot tell the layer of an executable, yet it is known")
	}
	if tab.Get(41) != nil {
		t.Error("process 41 exists")
	}
	if a := tab.Ancestor(p, 1); a == nil || a.Comm != "init" {
		t.Errorf("the parent is %+v", a)
	}
	if a := tab.Ancestor(p, 2); a != nil {
		t.Errorf("init has the parent %+v", a)
	}
	if tab.Ancestor(tab.Get(50), 9) == nil {
		t.Error("a loop of parents ended")
	}
}

// Of a process that was there before anybody watched /proc tells the file, though its name may be another file's by now.
func TestInodeFromProc(t *testing.T) {
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		t.Fatal(err)
	}
	p := NewProcesses(os.DirFS("/proc")).Get(os.Getpid())
	if want := (Inode{st.Ino, st.Ctim.Nano(), st.Mtim.Nano()}); p == nil || p.Inode != want || p.Spawned != 0 || p.PIDNSStart != 0 {
		t.Errorf("this process is %+v, want the inode %+v and nothing of its exec", p, want)
	}
}

// What is told at an exec stays so in the children, but for their pid namespace, which may be another one.
func TestForkKeepsTheExec(t *testing.T) {
	tab := NewProcesses(procTree())
	tab.Apply(&Event{Kind: Fork, Time: 9 * time.Second, PID: 60, PPID: 40, Origin: 40})
	inode := Inode{1, 2, 3}
	p := tab.Apply(&Event{Kind: Exec, Time: 10 * time.Second, PID: 60, PPID: 40, Exe: Exe{Inode: inode}, PIDNSStart: 2 * time.Second})
	if p.Inode != inode || p.Spawned != 9*time.Second || p.PIDNSStart != 2*time.Second {
		t.Errorf("after its exec it is %+v", p)
	}
	child := tab.Apply(&Event{Kind: Fork, Time: 11 * time.Second, PID: 61, PPID: 60, Origin: 60})
	if child.Inode != inode || child.Start != 11*time.Second || child.Spawned != 9*time.Second || child.PIDNSStart != 0 {
		t.Errorf("its child is %+v", child)
	}
}

// A process that was moved, and forks before it does anything else, as runc's does: the child is where it was moved to.
func TestForkAfterAMove(t *testing.T) {
	proc := procTree()
	tab := NewProcesses(proc)
	tab.Apply(&Event{Kind: Exec, PID: 60, PPID: 40, Path: "/usr/sbin/runc", CgroupPath: "/", Cgroup: 5})
	proc["61/status"] = proc["40/status"]
	proc["61/cgroup"] = &fstest.MapFile{Data: []byte("0::/docker/new\n")}
	if p := tab.Apply(&Event{Kind: Fork, PID: 61, PPID: 60, Origin: 60, Cgroup: 6}); p.CgroupPath != "/docker/new" {
		t.Errorf("the child is in %s", p.CgroupPath)
	}
	if p := tab.Apply(&Event{Kind: Fork, PID: 62, PPID: 60, Origin: 60, Cgroup: 5}); p.CgroupPath != "/" {
		t.Errorf("another child is in %s", p.CgroupPath)
	}
}

func TestProcessesFollowEvents(t *testing.T) {
	proc := procTree()
	tab := NewProcesses(proc)

	child := tab.Apply(&Event{Kind: Fork, Time: 9 * time.Second, PID: 60, VPID: 3, PPID: 40, Origin: 40, Comm: "sh (x)", Cgroup: 5})
	if child.Start != 9*time.Second || child.ExePath != "/bin/sh" || child.CgroupPath != "/docker/abc" || child.PPID != 40 {
		t.Errorf("the child is not like its origin: %+v", child)
	}
	tab.Apply(&Event{Kind: Exec, PID: 60, PPID: 40, Comm: "cp", Path: "/bin/cp", Exe: Exe{UpperLayer: true}, Args: []string{"cp"}, CgroupPath: "/docker/abc", Cgroup: 5})
	open := &Event{Kind: Open, Time: 12 * time.Second, PID: 60, PPID: 1, Comm: "renamed", Cgroup: 5}
	p := tab.Apply(open)
	if p.Start != 9*time.Second || p.ExePath != "/bin/cp" || p.Exe == nil || !p.Exe.UpperLayer || p.Comm != "renamed" || p.PPID != 1 {
		t.Errorf("after exec and open the process is %+v", p)
	}
	if q := tab.Get(40); q.ExePath != "/bin/sh" {
		t.Errorf("the exec of the child changed its origin: %+v", q)
	}

	proc["60/status"] = proc["40/status"]
	proc["60/cgroup"] = &fstest.MapFile{Data: []byte("0::/moved\n")}
	open.Cgroup = 6
	if p := tab.Apply(open); p.CgroupPath != "/moved" {
		t.Errorf("it was moved to another cgroup and is still in %s", p.CgroupPath)
	}
	delete(proc, "60/status")
	delete(proc, "60/cgroup")
	open.Cgroup = 7
	if p := tab.Apply(open); p.CgroupPath != "/moved" {
		t.Errorf("its cgroup was forgotten: %q", p.CgroupPath)
	}

	if p := tab.Apply(&Event{Kind: Exit, PID: 60, Comm: "renamed"}); p.ExePath != "/bin/cp" {
		t.Errorf("at its exit it is %+v", p)
	}
	if tab.Get(60) != nil {
		t.Error("it is still there after its exit")
	}
	if p := tab.Apply(&Event{Kind: Open, PID: 99, Comm: "gone"}); p == nil || p.Comm != "gone" || p.PID != 99 {
		t.Errorf("a process that nobody knows is %+v", p)
	}
}

func TestCgroupOf(t *testing.T) {
	for _, c := range []struct {
		text, path string
		v1         bool
	}{
		{"0::/docker/abc\n", "/docker/abc", false},
		{"0::/\n", "/", false},
		{"12:pids:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n", "/docker/abc", true},
		{"0::/system.slice/docker.service\n3:cpu,pids:/docker/abc\n", "/docker/abc", true},
		{"4:pids:/\n0::/user.slice\n", "/", true}, // of the host, wherever the other hierarchy has it
		{"5:devices:/docker/abc\n0::/a:b\n", "/a:b", false},
		{"4:mypids:/x\n", "", false},
		{"garbage\n0:\n", "", false},
		{"", "", false},
	} {
		if path, v1 := CgroupOf(c.text); path != c.path || v1 != c.v1 {
			t.Errorf("%q: %q, %v; want %q, %v", c.text, path, v1, c.path, c.v1)
		}
	}
}
