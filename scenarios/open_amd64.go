// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysOpen is open(2) itself: unix.Open uses openat on every architecture.
func sysOpen(path string, flags int, mode uint32) (int, error) {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return -1, err
	}
	fd, _, errno := unix.Syscall(unix.SYS_OPEN, uintptr(unsafe.Pointer(p)), uintptr(flags), uintptr(mode))
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// sysLink is symlink(2) or link(2) itself: the functions of unix use symlinkat and linkat on some architectures.
func sysLink(call, from, to string) error {
	f, err := unix.BytePtrFromString(from)
	if err != nil {
		return err
	}
	t, err := unix.BytePtrFromString(to)
	if err != nil {
		return err
	}
	nr := uintptr(unix.SYS_SYMLINK)
	if call == "link" {
		nr = unix.SYS_LINK
	}
	if _, _, errno := unix.Syscall(nr, uintptr(unsafe.Pointer(f)), uintptr(unsafe.Pointer(t)), 0); errno != 0 {
		return errno
	}
	return nil
}

// sysRename is rename(2) itself: unix.Rename uses renameat on some architectures.
func sysRename(from, to string) error {
	f, err := unix.BytePtrFromString(from)
	if err != nil {
		return err
	}
	t, err := unix.BytePtrFromString(to)
	if err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_RENAME, uintptr(unsafe.Pointer(f)), uintptr(unsafe.Pointer(t)), 0); errno != 0 {
		return errno
	}
	return nil
}

// sysDup2 is dup2(2) itself.
func sysDup2(from, to int) error { return unix.Dup2(from, to) }
