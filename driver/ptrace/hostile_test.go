// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// pages is memory that holds some bytes from an address on, and nothing else.
type pages struct {
	at    uint64
	bytes []byte
}

func (p pages) read(address uint64, b []byte) int {
	if address < p.at || address-p.at >= uint64(len(p.bytes)) {
		return 0
	}
	return copy(b, p.bytes[address-p.at:])
}

// FuzzArguments: whatever a process has in its memory and registers, reading it ends, and what is read is bounded.
func FuzzArguments(f *testing.F) {
	f.Add([]byte("/etc/shadow\x00"), uint64(4096), uint64(24), uint8(3))
	f.Add([]byte(strings.Repeat("x", 5000)), ^uint64(0)-20, uint64(1)<<63, uint8(7))
	f.Add([]byte("\x02\x00\x10\x92\x7f\x00\x00\x01"), uint64(8190), ^uint64(0), uint8(8))
	f.Fuzz(func(t *testing.T, b []byte, at, other uint64, which uint8) {
		w := &table[int(which)%len(table)]
		a := arguments{arg: [6]uint64{at, at, other, at, other, at}, mem: pages{at, b}}
		var ev, again modern.Event
		a.read(w, &ev)
		a.read(w, &again)
		for _, s := range []string{ev.Name, ev.Name2, ev.Extra} {
			if len(s) > pathMax+len("/dev/fd/-2147483648/") || (w.kind == modern.Call && strings.Contains(s, "\x00")) {
				t.Errorf("%s: a string of %d bytes: %.100q", w.name, len(s), s)
			}
		}
		if ev.Name != again.Name || ev.Flags != again.Flags {
			t.Errorf("%s: read twice, and not the same: %+v, %+v", w.name, ev, again)
		}
	})
}

// FuzzProc: nor does what /proc shows of a process with a hostile name, mount or root make a reader of it fail.
func FuzzProc(f *testing.F) {
	f.Add("Name:\ta\\nb\nTgid:\t7\nUid:\t1\t2\t3\t4\nNStgid:\t7\t1\nCapEff:\t00ff\n", `36 35 98:0 / /mnt\040x rw - overlay o rw,upperdir=/a\134\054b`)
	f.Add("Tgid:\t\nNStgid:\tx\n", "1 - - - - - - - ")
	f.Fuzz(func(t *testing.T, text, mount string) {
		s, err := parseStatus(text, 1)
		if err == nil && (s.pid == 0 || s.vpid == 0) {
			t.Errorf("a process without an id: %+v", s)
		}
		terminal(text)
		modern.CgroupOf(text)
		if m, ok := mountWithID(mount, 36); ok && m.id != 36 {
			t.Errorf("mount %+v", m)
		}
		if len(unescape(mount)) > len(mount) {
			t.Errorf("%q became longer", mount)
		}
	})
}

func TestParse(t *testing.T) {
	s, err := parseStatus("Name:\ta\\nb\\\\c\nTgid:\t7\nPPid:\t3\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNStgid:\t7\t1\nCapInh:\t01\nCapPrm:\t03\nCapEff:\t02\n", 9)
	want := status{comm: "a\nb\\c", pid: 7, tid: 9, ppid: 3, vpid: 1, uid: 2, gid: 6, fsuid: 4, fsgid: 8, caps: modern.Caps{Effective: 2, Permitted: 3, Inheritable: 1}}
	if err != nil || s != want {
		t.Errorf("got %+v, %v", s, err)
	}
	if got := terminal("7 (a) b) S 3 7 7 34816 7"); got != 34816 {
		t.Errorf("terminal %d", got)
	}
	m, ok := parseMount(`36 35 98:0 /sub /mnt\040x rw,noatime master:1 - overlay over\134lay rw,lowerdir=/l,upperdir=/a\054b,xino` + "\n")
	if !ok || m.id != 36 || m.root != "/sub" || m.point != "/mnt x" || m.fstype != "overlay" || m.super["upperdir"] != "/a,b" {
		t.Errorf("got %+v, %v", m, ok)
	}
	for root, want := range map[string]string{"/": "/jail/bin/sh", "/jail": "/bin/sh", "/jai": "/jail/bin/sh", "/jail/bin/sh": "/"} {
		if got := below(root, "/jail/bin/sh"); got != want {
			t.Errorf("below %s: %s", root, got)
		}
	}
	if returned(-512) != -int64(unix.EINTR) || returned(-516) != -int64(unix.EINTR) || returned(-511) != -511 || returned(5) != 5 {
		t.Error("what a call returned")
	}
}

// TestFilter runs the filter on calls, as the kernel does.
func TestFilter(t *testing.T) {
	prog := filter(table)
	if len(prog) > 4096 {
		t.Fatalf("%d instructions; the kernel takes 4096", len(prog))
	}
	run := func(nr, architecture, second uint32) uint32 {
		data := map[uint32]uint32{offsetNr: nr, offsetArch: architecture, offsetSecond: second}
		var a uint32
		for pc := 0; ; pc++ {
			in := prog[pc]
			switch in.Code {
			case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
				a = data[in.K]
			case unix.BPF_RET | unix.BPF_K:
				return in.K
			case unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, unix.BPF_JMP | unix.BPF_K | unix.BPF_JSET:
				taken := a == in.K
				if in.Code&unix.BPF_JSET != 0 {
					taken = a&in.K != 0
				}
				if taken {
					pc += int(in.Jt)
				} else {
					pc += int(in.Jf)
				}
			default:
				t.Fatalf("instruction %d: %+v", pc, in)
			}
		}
	}
	const trace = unix.SECCOMP_RET_TRACE
	for name, c := range map[string]struct{ nr, arch, second, want uint32 }{
		"openat":        {unix.SYS_OPENAT, arch, 0, trace | nativeCall},
		"setresgid":     {unix.SYS_SETRESGID, arch, 0, trace | nativeCall},
		"read":          {unix.SYS_READ, arch, 0, unix.SECCOMP_RET_ALLOW},
		"fcntl F_DUPFD": {unix.SYS_FCNTL, arch, unix.F_DUPFD, trace | nativeCall},
		"fcntl cloexec": {unix.SYS_FCNTL, arch, unix.F_DUPFD_CLOEXEC, trace | nativeCall},
		"fcntl F_GETFL": {unix.SYS_FCNTL, arch, unix.F_GETFL, unix.SECCOMP_RET_ALLOW},
		"32-bit":        {3, unix.AUDIT_ARCH_I386, 0, trace | foreignCall},
		"x32":           {foreignBit | unix.SYS_READ, arch, 0, trace | foreignCall},
	} {
		if name == "x32" && foreignBit == 0 {
			continue
		}
		if got := run(c.nr, c.arch, c.second); got != c.want {
			t.Errorf("%s: %#x, want %#x", name, got, c.want)
		}
	}
}
