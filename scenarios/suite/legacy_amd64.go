// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The old calls by their own numbers: golang.org/x/sys makes the newer ones of them, and a rule may look at evt.type.

func legacyOpen(path string, flags int, mode uint32) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	n, _, errno := unix.Syscall(unix.SYS_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), uintptr(mode))
	return result(n, errno)
}

func legacySymlink(target, link string) error { return two(unix.SYS_SYMLINK, target, link) }
func legacyLink(from, to string) error        { return two(unix.SYS_LINK, from, to) }

func legacyDup2(from, to int) (int, error) {
	n, _, errno := unix.Syscall(unix.SYS_DUP2, uintptr(from), uintptr(to), 0)
	return result(n, errno)
}

func two(number uintptr, a, b string) error {
	pa, err := unix.BytePtrFromString(a)
	if err != nil {
		return err
	}
	pb, err := unix.BytePtrFromString(b)
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall(number, uintptr(unsafe.Pointer(pa)), uintptr(unsafe.Pointer(pb)), 0)
	_, err = result(0, errno)
	return err
}

func result(n uintptr, errno unix.Errno) (int, error) {
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}
