// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/results/cause"
)

// parts are the sections of a record.
type parts struct{ name, path, base, args, env, cgroup, name2, base2, sock, extra string }

// record writes a record as the probe does.
func record(t testing.TB, h bpf.ProbeEvent, p parts) []byte {
	t.Helper()
	if h.Schema == 0 {
		h.Schema = schema
	}
	h.Len.Name, h.Len.Path, h.Len.Base = uint16(len(p.name)), uint16(len(p.path)), uint16(len(p.base))
	h.Len.Args, h.Len.Env, h.Len.Cgroup = uint16(len(p.args)), uint16(len(p.env)), uint16(len(p.cgroup))
	h.Len.Name2, h.Len.Base2, h.Len.Extra, h.Len.Sock = uint16(len(p.name2)), uint16(len(p.base2)), uint16(len(p.extra)), uint16(len(p.sock))
	b, err := binary.Append(nil, binary.NativeEndian, &h)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, 0, 0, 0, 0)
	return append(b, p.name+p.path+p.base+p.args+p.env+p.cgroup+p.name2+p.base2+p.sock+p.extra...)
}

// inet4 is a struct endpoints: a connection from 10.0.0.2:258 to 10.0.0.1:22.
var inet4 = "\x02\x00\x01\x00\x06\x00\x02\x01\x16\x00\x00\x00" + "\x0a\x00\x00\x02" + strings.Repeat("\x00", 12) + "\x0a\x00\x00\x01" + strings.Repeat("\x00", 12+108)

func comm(s string) (c [16]uint8) {
	copy(c[:], s)
	return c
}

func TestDecode(t *testing.T) {
	exec := bpf.ProbeEvent{
		Time: 5e9, CgroupId: 35, Ino: 11, Args: [5]uint64{12e9, 13e9, 4e9}, Tgid: 82, Tid: 83, Ppid: 75, Vpid: 1, Uid: 1000, Gid: 100,
		Flags: bpf.ProbeEventFlagEVENT_EXE_UPPER_LAYER | bpf.ProbeEventFlagEVENT_EXE_WRITABLE,
		Kind:  bpf.ProbeEventKindEVENT_EXEC, Comm: comm("dropped"),
	}
	open := bpf.ProbeEvent{
		Resolve: unix.RESOLVE_NO_SYMLINKS, Ret: 34, Oflags: unix.O_CLOEXEC, Omode: 0o600, Fmode: unix.S_IFREG | 0o640,
		Dirfd: unix.AT_FDCWD, Tgid: 1, Nr: unix.SYS_OPENAT2, Kind: bpf.ProbeEventKindEVENT_OPEN,
	}
	lost := open
	lost.Flags = bpf.ProbeEventFlagEVENT_TRUNCATED
	for _, tt := range []struct {
		name string
		h    bpf.ProbeEvent
		p    parts
		want Event
	}{
		{"exec", exec, parts{name: "./dropped\x00", path: "dropped\x00bin\x00\x00", args: "a\x00b c\x00\x00", env: "MEWS_ID=x\x00A=\x00", cgroup: "0123\x00docker\x00\x00"},
			Event{Kind: Exec, Time: 5 * time.Second, Syscall: "execve", PID: 82, TID: 83, PPID: 75, VPID: 1, UID: 1000, GID: 100, Comm: "dropped", Cgroup: 35,
				Name: "./dropped", Path: "/bin/dropped", Exe: Exe{Inode: Inode{11, 12e9, 13e9}, Writable: true, UpperLayer: true}, PIDNSStart: 4 * time.Second,
				Args: []string{"a", "b c", ""}, Env: []string{"MEWS_ID=x", "A="}, CgroupPath: "/docker/0123"}},
		{"a cgroup of version 1", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_EXEC, Flags: bpf.ProbeEventFlagEVENT_CGROUP_V1}, parts{cgroup: "0123\x00docker\x00\x00"},
			Event{Kind: Exec, Syscall: "execve", CgroupPath: "/docker/0123", CgroupV1: true, PIDNSStart: 1}},
		{"a memfd lies in no directory", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_EXEC, Flags: bpf.ProbeEventFlagEVENT_EXE_FROM_MEMFD},
			parts{path: "memfd:evil\x00", cgroup: "\x00"},
			Event{Kind: Exec, Syscall: "execve", Path: "/memfd:evil", Exe: Exe{Memfd: true}, CgroupPath: "/", PIDNSStart: 1}},
		{"open", open, parts{name: "../etc/shadow\x00", path: "shadow\x00etc\x00\x00", base: "\x00"},
			Event{Kind: Open, Syscall: "openat2", Ret: 34, PID: 1, Name: "../etc/shadow", Path: "/etc/shadow", Dir: "/", DirFD: unix.AT_FDCWD,
				Flags: unix.O_CLOEXEC, Perm: 0o600, Resolve: unix.RESOLVE_NO_SYMLINKS, Mode: unix.S_IFREG | 0o640}},
		{"cut off", lost, parts{name: "nam", path: "shadow\x00etc\x00"},
			Event{Kind: Open, Syscall: "openat2", Ret: 34, PID: 1, Truncated: true, Name: "nam", Path: "etc/shadow", DirFD: unix.AT_FDCWD,
				Flags: unix.O_CLOEXEC, Perm: 0o600, Resolve: unix.RESOLVE_NO_SYMLINKS, Mode: unix.S_IFREG | 0o640}},
		{"rename", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_RENAMEAT2, Args: [5]uint64{1, 2, 3, 4, 5}, Loginuid: 1<<32 - 1, Tty: 34816, Caps: [3]uint64{1, 2, 4}},
			parts{name: "a\x00", base: "x\x00\x00", name2: "b\x00", base2: "y\x00\x00"},
			Event{Kind: Call, Syscall: "renameat2", Raw: [5]uint64{1, 2, 3, 4, 5}, Login: -1, TTY: 34816, Caps: Caps{1, 2, 4}, Name: "a", Dir: "/x", Name2: "b", Dir2: "/y"}},
		{"connect", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_CONNECT, Fmode: unix.S_IFSOCK},
			parts{sock: inet4, extra: "\x02\x00\x00\x16\x0a\x00\x00\x01________"},
			Event{Kind: Call, Syscall: "connect", Mode: unix.S_IFSOCK, Addr: &Endpoint{Family: unix.AF_INET, IP: netip.MustParseAddrPort("10.0.0.1:22")},
				Sock: &Socket{Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Local: Endpoint{Family: unix.AF_INET, IP: netip.MustParseAddrPort("10.0.0.2:258")},
					Remote: Endpoint{Family: unix.AF_INET, IP: netip.MustParseAddrPort("10.0.0.1:22")}}}},
		{"an abstract unix socket", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_BIND}, parts{extra: "\x01\x00\x00name"},
			Event{Kind: Call, Syscall: "bind", Addr: &Endpoint{Family: unix.AF_UNIX, Path: "@name"}}},
		{"half an address", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_BIND}, parts{extra: "\x02\x00\x00"}, Event{Kind: Call, Syscall: "bind"}},
		{"fork", bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_FORK, Tgid: 9, Origin: 7, Ppid: 1}, parts{}, Event{Kind: Fork, PID: 9, Origin: 7, PPID: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Decode(record(t, tt.h, tt.p))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole := record(t, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_OPEN}, parts{name: "/etc/shadow\x00"})
	for _, tt := range []struct {
		name, want string
		record     []byte
	}{
		{"nothing", "0 bytes", nil},
		{"half a head", "shorter than its head", whole[:headSize-1]},
		{"no room for its sections", "sections are longer", whole[:len(whole)-1]},
		{"a call of nobody's", "system call 9999", record(t, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: 9999}, parts{})},
		{"half a socket", "a socket of 151 bytes", record(t, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_CONNECT}, parts{sock: inet4[:151]})},
		{"a name longer than there is", "of 108 bytes", record(t, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_CONNECT}, parts{sock: inet4[:10] + "\x6d" + inet4[11:]})},
		{"no kind", "unknown kind 0", record(t, bpf.ProbeEvent{}, parts{})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Decode(tt.record)
			if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want ErrRecord with %q", err, tt.want)
			}
		})
	}
}

// It is not one record that cannot be read: no other can.
func TestAnotherSchemaIsNoBadRecord(t *testing.T) {
	for _, other := range []uint16{schema - 1, schema + 1} {
		_, err := Decode(record(t, bpf.ProbeEvent{Schema: other, Kind: bpf.ProbeEventKindEVENT_OPEN}, parts{name: "/etc/shadow\x00"}))
		f := cause.Of(err)
		if !errors.Is(err, ErrSchema) || errors.Is(err, ErrRecord) || f.State != cause.Fail || f.Cause != cause.APISchemaMismatch || !strings.Contains(err.Error(), fmt.Sprintf("of schema %d", other)) {
			t.Errorf("schema %d: %v", other, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(record(f, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_EXEC}, parts{name: "n\x00", path: "p\x00\x00", args: "a\x00", env: "e=\x00", cgroup: "\x00"}))
	f.Add(record(f, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_OPEN}, parts{name: "n", base: "b"}))
	f.Add(record(f, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_CONNECT}, parts{sock: inet4, extra: "\x0a\x00\x00\x16"}))
	f.Add(record(f, bpf.ProbeEvent{Kind: bpf.ProbeEventKindEVENT_CALL, Nr: unix.SYS_MOUNT}, parts{name: "n\x00", name2: "m\x00", extra: "t\x00"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		ev, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrRecord) && !errors.Is(err, ErrSchema) {
				t.Errorf("error %v is neither an ErrRecord nor an ErrSchema", err)
			}
			return
		}
		size := len(ev.Name) + len(ev.Path) + len(ev.Dir) + len(ev.CgroupPath) + len(ev.Name2) + len(ev.Dir2) + len(ev.Extra)
		for _, s := range append(ev.Args, ev.Env...) {
			size += len(s)
			if strings.Contains(s, "\x00") {
				t.Errorf("a string holds a NUL: %q", s)
			}
		}
		if size > len(b) {
			t.Errorf("%d bytes of strings from a record of %d", size, len(b))
		}
	})
}
