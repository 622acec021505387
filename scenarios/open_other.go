// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package scenarios

import "golang.org/x/sys/unix"

// sysOpen says what the kernel would: the architectures younger than x86 have openat instead, and so on.
func sysOpen(string, int, uint32) (int, error) { return -1, unix.ENOSYS }

func sysLink(call, from, to string) error { return unix.ENOSYS }

func sysRename(from, to string) error { return unix.ENOSYS }

func sysDup2(from, to int) error { return unix.ENOSYS }
