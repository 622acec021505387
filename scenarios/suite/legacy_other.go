// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package suite

import "golang.org/x/sys/unix"

// Architectures younger than the *at calls never had the old ones.

func legacyOpen(string, int, uint32) (int, error) { return -1, unix.ENOSYS }
func legacySymlink(string, string) error          { return unix.ENOSYS }
func legacyLink(string, string) error             { return unix.ENOSYS }
func legacyDup2(int, int) (int, error)            { return -1, unix.ENOSYS }
