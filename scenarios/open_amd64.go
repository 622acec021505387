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
