// SPDX-License-Identifier: Apache-2.0

// Package tarball knows how to unpack a tar archive that nobody vouches for, such as Google's kernel-headers.tgz for COS.
package tarball

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

// Limits bound what an archive may unpack to. The zero value of a field means its default.
type Limits = unpack.Limits

// Walk calls fn for every entry of the archive at file, in its order, whatever its compression. Names are cleaned and
// relative; the directory itself is ".". r yields the content of regular files. Device nodes, absolute names and names
// with .. are errors. fn may return [fs.SkipAll] to end early; other errors of fn are returned as they are.
func Walk(ctx context.Context, file string, lim Limits, fn func(h *tar.Header, r io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "open archive: %w", err)
	}
	defer f.Close()
	lim = lim.OrDefault()
	in := bufio.NewReaderSize(f, 64<<10)
	head, err := in.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return unpack.Corrupt(file, err)
	}
	suffix, ok := compression(head)
	if !ok {
		return unpack.Corrupt(file, fmt.Errorf("not a tar archive: begins with %q", head[:min(8, len(head))]))
	}
	z, err := decompress.NewReader(in, suffix, lim.Bytes)
	if err != nil {
		return unpack.Corrupt(file, err)
	}
	defer z.Close()
	err = unpack.Tar(ctx, file, z, lim, fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// compression tells by its first bytes how an archive is packed; ok is false for what is none.
func compression(head []byte) (suffix string, ok bool) {
	for _, c := range []struct {
		at            int
		magic, suffix string
	}{
		{0, "\x1f\x8b", ".gz"}, {0, "\xfd7zXZ\x00", ".xz"}, {0, "\x28\xb5\x2f\xfd", ".zst"}, {0, "BZh", ".bz2"},
		{257, "ustar", ""}, // tar(5), of both POSIX and GNU
	} {
		if len(head) > c.at && bytes.HasPrefix(head[c.at:], []byte(c.magic)) {
			return c.suffix, true
		}
	}
	return "", false
}

// Unpack writes what the archive at file holds below dir, which must exist: nothing is written outside it.
// Entries for which filter (may be nil) returns false are left out; it is asked with cleaned names, such as usr/bin/sh.
// Links are followed as if dir were the root of the file system. Owners are not set and set-user-ID bits are dropped,
// so root is neither needed nor of any use.
func Unpack(ctx context.Context, file, dir string, lim Limits, filter func(name string) bool) error {
	return unpack.Below(file, dir, filter, func(visit unpack.Visit) error { return Walk(ctx, file, lim, visit) })
}
