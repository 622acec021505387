// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// watched is a system call that is traced. To add one is to add its line to the table.
type watched struct {
	name string
	nr   int
	kind modern.Kind
	// decode reads the arguments into the event. It is called at the call's entry and, but for a program that was
	// started, again at its end: what it reads differently then was changed meanwhile.
	decode func(*arguments, *modern.Event)
}

// arguments are a system call's, of a thread that is stopped in it.
type arguments struct {
	tid int
	arg [6]uint64
	mem memory
}

// name reads argument i as the name of a file.
func (a *arguments) name(i int, ev *modern.Event) string {
	s, whole := text(a.mem, a.arg[i])
	if !whole {
		ev.Truncated = true
	}
	return s
}

// table is what is traced on every machine; legacy is what only old ones have beside it.
var table = append([]watched{
	{"execve", unix.SYS_EXECVE, modern.Exec, func(a *arguments, ev *modern.Event) {
		ev.Name = a.name(0, ev)
	}},
	{"execveat", unix.SYS_EXECVEAT, modern.Exec, func(a *arguments, ev *modern.Event) {
		ev.Name = execName(int(int32(a.arg[0])), a.name(1, ev))
	}},
	{"openat", unix.SYS_OPENAT, modern.Open, func(a *arguments, ev *modern.Event) {
		a.open(ev, int(int32(a.arg[0])), 1, a.arg[2], a.arg[3])
	}},
	{"openat2", unix.SYS_OPENAT2, modern.Open, func(a *arguments, ev *modern.Event) {
		how, _ := openHow(a.mem, a.arg[2], a.arg[3]) // what cannot be read the kernel refuses, and is zero here
		a.open(ev, int(int32(a.arg[0])), 1, how.Flags, how.Mode)
		ev.Resolve = how.Resolve
	}},
}, legacy...)

// byNumber finds what is traced.
var byNumber = func() map[int]*watched {
	m := map[int]*watched{}
	for i := range table {
		m[table[i].nr] = &table[i]
	}
	return m
}()

// numbers are those of all that is traced.
func numbers() []int {
	var out []int
	for _, c := range table {
		out = append(out, c.nr)
	}
	return out
}

// open reads the arguments of a call that opens a file, whose name is argument i.
func (a *arguments) open(ev *modern.Event, dirfd, i int, flags, mode uint64) {
	ev.Name = a.name(i, ev)
	ev.DirFD = dirfd
	ev.Flags = int(uint32(flags))
	ev.Perm = fs.FileMode(mode) & fs.ModePerm
	if !path.IsAbs(ev.Name) {
		ev.Dir = a.directory(dirfd)
	}
}

// directory is where a relative name starts.
func (a *arguments) directory(dirfd int) string {
	if dirfd == unix.AT_FDCWD {
		return linkOf(a.tid, "cwd")
	}
	return linkOf(a.tid, "fd", strconv.Itoa(dirfd))
}

// opened tells which file a call that succeeded has opened. That is the kernel's word, whatever the name was.
func opened(tid int, ev *modern.Event) {
	if ev.Ret < 0 {
		return
	}
	fd := strconv.FormatInt(ev.Ret, 10)
	ev.Path = linkOf(tid, "fd", fd)
	var st unix.Stat_t
	if unix.Stat(procPath(tid, "fd", fd), &st) == nil {
		ev.Mode = st.Mode
	}
}

// execName is what the kernel calls the file of an execveat(2), in fs/exec.c.
func execName(dirfd int, name string) string {
	if dirfd == unix.AT_FDCWD || strings.HasPrefix(name, "/") {
		return name
	}
	return strings.TrimSuffix("/dev/fd/"+strconv.Itoa(dirfd)+"/"+name, "/")
}
