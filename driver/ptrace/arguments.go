// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/binary"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// arguments are a system call's, of a thread that is stopped in it.
type arguments struct {
	tid int
	arg [6]uint64
	mem memory
}

// sockaddrMax bounds an address: struct sockaddr_storage has this size.
const sockaddrMax = 128

// read reads what the arguments are and point to. It may be called twice, to see whether it reads the same: all of it is
// registers, which stay as they are, and memory, which need not.
func (a *arguments) read(w *watched, ev *modern.Event) {
	ev.Name = a.text(w.where.name, ev)
	ev.Name2 = a.text(w.where.name2, ev)
	ev.Extra = a.text(w.where.extra, ev)
	if i := w.where.address; i >= 0 {
		b := make([]byte, min(uint64(uint32(a.arg[i+1])), sockaddrMax))
		ev.Addr = modern.ParseAddress(b[:a.mem.read(a.arg[i], b)])
	}
	if w.kind == modern.Call {
		ev.Raw = [5]uint64(a.arg[:5])
	}
	if w.more != nil {
		w.more(a, ev)
	}
}

// text reads argument i as a string; of no argument, or NULL, it is "".
func (a *arguments) text(i int, ev *modern.Event) string {
	if i < 0 || a.arg[i] == 0 {
		return ""
	}
	s, whole := text(a.mem, a.arg[i])
	if !whole {
		ev.Truncated = true
	}
	return s
}

// locate finds the directories that relative names start from. It is done at the entry: the call itself may move them.
func (a *arguments) locate(w *watched, ev *modern.Event) {
	if w.where.name >= 0 && !path.IsAbs(ev.Name) {
		ev.Dir = a.directory(w.where.base)
	}
	if w.where.name2 >= 0 && !path.IsAbs(ev.Name2) {
		ev.Dir2 = a.directory(w.where.base2)
	}
}

func (a *arguments) directory(base int) string {
	switch {
	case base == nowhere:
		return ""
	case base == working || int32(a.arg[base]) == unix.AT_FDCWD:
		return linkOf(a.tid, "cwd")
	}
	return linkOf(a.tid, "fd", strconv.Itoa(int(int32(a.arg[base]))))
}

// execAt makes the name what the kernel calls the file of an execveat(2), in fs/exec.c.
func execAt(a *arguments, ev *modern.Event) {
	dirfd := int(int32(a.arg[0]))
	if dirfd != unix.AT_FDCWD && !path.IsAbs(ev.Name) {
		ev.Name = strings.TrimSuffix("/dev/fd/"+strconv.Itoa(dirfd)+"/"+ev.Name, "/")
	}
}

// opening sets what a call that opens a file was asked for.
func opening(ev *modern.Event, dirfd int32, flags, mode uint64) {
	ev.DirFD = int(dirfd)
	ev.Flags = int(uint32(flags))
	ev.Perm = fs.FileMode(mode) & fs.ModePerm
}

func openAt(a *arguments, ev *modern.Event) { opening(ev, int32(a.arg[0]), a.arg[2], a.arg[3]) }

func openAt2(a *arguments, ev *modern.Event) {
	how, _ := openHow(a.mem, a.arg[2], a.arg[3]) // what cannot be read the kernel refuses, and is zero here
	opening(ev, int32(a.arg[0]), how.Flags, how.Mode)
	ev.Resolve = how.Resolve
}

// cloneFlags puts the flags of clone3(2), the first member of what it is given, where the probe has them.
func cloneFlags(a *arguments, ev *modern.Event) {
	b := make([]byte, 8)
	if a.mem.read(a.arg[0], b) < len(b) {
		ev.Truncated = true
	}
	ev.Raw[0] = binary.NativeEndian.Uint64(b)
}
