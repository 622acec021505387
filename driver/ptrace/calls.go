// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// watched is a system call that is traced. To add one is to add its line to a table. What is told of it is what the probe
// tells (driver/modern, forms), but for write(2) and its like: to stop every one of them would be too slow, and which
// file it is for a filter cannot know.
type watched struct {
	name  string
	nr    int
	kind  modern.Kind
	where places
	more  func(*arguments, *modern.Event) // what else of the arguments belongs into the event; may be nil
	// second are the values of the second argument that matter; nil: all. The filter looks at them.
	second []uint32
	// standard: it matters only where it made one of the standard streams.
	standard bool
	// copy is the argument that says which descriptor it makes, and so at its entry whether it matters; 0: none does.
	copy int
}

// lastStandard is the last of the standard streams.
const lastStandard = 2

// places say at which argument, from 0, something is. The zero value is made by nothing below.
type places struct{ name, base, name2, base2, extra, address, fd int }

// Where something is that is at no argument.
const (
	nowhere = -1
	working = -2 // base: the working directory
	result  = -3 // fd: what the call returned
)

var plain = places{nowhere, nowhere, nowhere, nowhere, nowhere, nowhere, nowhere}

func named(name, base int) places {
	p := plain
	p.name, p.base = name, base
	return p
}

func twoNamed(name, base, name2, base2 int) places {
	p := named(name, base)
	p.name2, p.base2 = name2, base2
	return p
}

func (p places) withExtra(i int) places { p.extra = i; return p }

func descriptor(fd int) places {
	p := plain
	p.fd = fd
	return p
}

// address is of a call that is given the address at argument i, its length behind it, for the socket at argument 0.
func address(i int) places {
	p := descriptor(0)
	p.address = i
	return p
}

// table is what is traced on every machine; legacy is what only old ones have beside it.
var table = append([]watched{
	{name: "execve", nr: unix.SYS_EXECVE, kind: modern.Exec, where: named(0, nowhere)},
	{name: "execveat", nr: unix.SYS_EXECVEAT, kind: modern.Exec, where: named(1, nowhere), more: execAt},
	{name: "openat", nr: unix.SYS_OPENAT, kind: modern.Open, where: named(1, 0), more: openAt},
	{name: "openat2", nr: unix.SYS_OPENAT2, kind: modern.Open, where: named(1, 0), more: openAt2},

	{name: "clone", nr: unix.SYS_CLONE, kind: modern.Call, where: plain},
	{name: "clone3", nr: unix.SYS_CLONE3, kind: modern.Call, where: plain, more: cloneFlags},

	{name: "socket", nr: unix.SYS_SOCKET, kind: modern.Call, where: descriptor(result)},
	{name: "connect", nr: unix.SYS_CONNECT, kind: modern.Call, where: address(1)},
	{name: "bind", nr: unix.SYS_BIND, kind: modern.Call, where: address(1)},
	{name: "accept", nr: unix.SYS_ACCEPT, kind: modern.Call, where: descriptor(result)},
	{name: "accept4", nr: unix.SYS_ACCEPT4, kind: modern.Call, where: descriptor(result)},

	{name: "dup", nr: unix.SYS_DUP, kind: modern.Call, where: descriptor(result), standard: true},
	{name: "dup3", nr: unix.SYS_DUP3, kind: modern.Call, where: descriptor(result), standard: true, copy: 1},
	{name: "fcntl", nr: unix.SYS_FCNTL, kind: modern.Call, where: descriptor(result), standard: true,
		second: []uint32{unix.F_DUPFD, unix.F_DUPFD_CLOEXEC}},

	{name: "unlinkat", nr: unix.SYS_UNLINKAT, kind: modern.Call, where: named(1, 0)},
	{name: "mkdirat", nr: unix.SYS_MKDIRAT, kind: modern.Call, where: named(1, 0)},
	{name: "fchmodat", nr: unix.SYS_FCHMODAT, kind: modern.Call, where: named(1, 0)},
	{name: "fchmodat2", nr: unix.SYS_FCHMODAT2, kind: modern.Call, where: named(1, 0)},
	{name: "fchmod", nr: unix.SYS_FCHMOD, kind: modern.Call, where: descriptor(0)},
	{name: "renameat", nr: unix.SYS_RENAMEAT, kind: modern.Call, where: twoNamed(1, 0, 3, 2)},
	{name: "renameat2", nr: unix.SYS_RENAMEAT2, kind: modern.Call, where: twoNamed(1, 0, 3, 2)},
	{name: "linkat", nr: unix.SYS_LINKAT, kind: modern.Call, where: twoNamed(1, 0, 3, 2)},
	{name: "symlinkat", nr: unix.SYS_SYMLINKAT, kind: modern.Call, where: twoNamed(0, nowhere, 2, 1)},
	{name: "chdir", nr: unix.SYS_CHDIR, kind: modern.Call, where: plain},
	{name: "fchdir", nr: unix.SYS_FCHDIR, kind: modern.Call, where: plain},

	{name: "mount", nr: unix.SYS_MOUNT, kind: modern.Call, where: twoNamed(0, nowhere, 1, working).withExtra(2)},
	{name: "umount2", nr: unix.SYS_UMOUNT2, kind: modern.Call, where: named(0, working)},
	{name: "unshare", nr: unix.SYS_UNSHARE, kind: modern.Call, where: plain},
	{name: "setns", nr: unix.SYS_SETNS, kind: modern.Call, where: descriptor(0)},
	{name: "init_module", nr: unix.SYS_INIT_MODULE, kind: modern.Call, where: plain.withExtra(2)},
	{name: "finit_module", nr: unix.SYS_FINIT_MODULE, kind: modern.Call, where: descriptor(0)},
	{name: "delete_module", nr: unix.SYS_DELETE_MODULE, kind: modern.Call, where: named(0, nowhere)},
	{name: "memfd_create", nr: unix.SYS_MEMFD_CREATE, kind: modern.Call, where: named(0, nowhere)},
	{name: "bpf", nr: unix.SYS_BPF, kind: modern.Call, where: plain},
	{name: "ptrace", nr: unix.SYS_PTRACE, kind: modern.Call, where: plain},

	{name: "setuid", nr: unix.SYS_SETUID, kind: modern.Call, where: plain},
	{name: "setgid", nr: unix.SYS_SETGID, kind: modern.Call, where: plain},
	{name: "setreuid", nr: unix.SYS_SETREUID, kind: modern.Call, where: plain},
	{name: "setregid", nr: unix.SYS_SETREGID, kind: modern.Call, where: plain},
	{name: "setresuid", nr: unix.SYS_SETRESUID, kind: modern.Call, where: plain},
	{name: "setresgid", nr: unix.SYS_SETRESGID, kind: modern.Call, where: plain},
}, legacy...)

// older are what legacy holds where there are such calls. On a machine without them nobody can make them.
var older = []string{
	"open", "creat", "fork", "vfork", "dup2", "unlink", "rmdir", "mkdir", "chmod", "rename", "link", "symlink",
}

// Events lists the types of events that the tracer tells of, on whatever machine, as rules name them. There is no event
// of any other, so that a rule which needs one would never fire.
func Events() []string {
	events := append([]string{"procexit"}, older...)
	for _, w := range table {
		events = append(events, w.name)
	}
	slices.Sort(events)
	return slices.Compact(events)
}

// byNumber finds what is traced.
var byNumber = func() map[int]*watched {
	m := map[int]*watched{}
	for i := range table {
		m[table[i].nr] = &table[i]
	}
	return m
}()
