// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"
)

// memory is what a traced thread has at its addresses. Nothing in it is trusted: another thread may change it while
// it is read.
type memory interface {
	// read fills b from address on as far as there is memory, and returns how much that is.
	read(address uint64, b []byte) int
}

// of is the memory of a thread.
type of int

func (tid of) read(address uint64, b []byte) int {
	if len(b) == 0 {
		return 0
	}
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	n, err := unix.ProcessVMReadv(int(tid), local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(b)}}, 0)
	if err != nil {
		return 0
	}
	return n
}

// pathMax is PATH_MAX: the kernel takes no name that is longer, its NUL included.
const pathMax = 4096

// text reads a string that ends in a NUL. whole is false where the memory or PATH_MAX ends before it does.
func text(m memory, address uint64) (s string, whole bool) {
	var out []byte
	page := uint64(os.Getpagesize())
	for len(out) < pathMax {
		// Up to the end of the page: what lies behind it may not be there.
		chunk := make([]byte, min(page-address%page, uint64(pathMax-len(out))))
		n := m.read(address, chunk)
		if i := bytes.IndexByte(chunk[:n], 0); i >= 0 {
			return string(append(out, chunk[:i]...)), true
		}
		out = append(out, chunk[:n]...)
		if n < len(chunk) || address+uint64(n) < address {
			break
		}
		address += uint64(n)
	}
	return string(out), false
}

// openHow reads the struct open_how of openat2(2). Of a longer one, of a kernel of the future, the members that are
// known are read; a shorter one than that of 5.6 the kernel refuses.
func openHow(m memory, address, size uint64) (how unix.OpenHow, ok bool) {
	b := make([]byte, unix.SizeofOpenHow)
	if size < unix.SizeofOpenHow || m.read(address, b) < len(b) {
		return how, false
	}
	return unix.OpenHow{
		Flags: binary.NativeEndian.Uint64(b), Mode: binary.NativeEndian.Uint64(b[8:]), Resolve: binary.NativeEndian.Uint64(b[16:]),
	}, true
}
