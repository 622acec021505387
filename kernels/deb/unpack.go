// SPDX-License-Identifier: Apache-2.0

package deb

import (
	"context"

	"github.com/mews-farm/mews/kernels/internal/unpack"
)

// Unpack writes the data archive of the .deb at file below dir, which must exist: nothing is written outside it.
// Entries for which filter (may be nil) returns false are left out; it is asked with cleaned names, such as usr/bin/sh.
// Several packages may be unpacked into one dir, with dpkg's rules: a directory and a link to one are the same thing,
// and a file replaces a file. Links are followed as if dir were the root of the file system.
// Owners are not set and set-user-ID bits are dropped, so root is neither needed nor of any use.
func Unpack(ctx context.Context, file, dir string, lim Limits, filter func(name string) bool) error {
	return unpack.Below(file, dir, filter, func(visit unpack.Visit) error { return Walk(ctx, file, lim, visit) })
}
