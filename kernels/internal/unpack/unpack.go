// SPDX-License-Identifier: Apache-2.0

// Package unpack knows how to write what an archive that nobody vouches for holds, without leaving the directory it is for.
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// What a package can be refused for, all under PACKAGE_CORRUPT; anything else is damage.
var (
	ErrLimit   = decompress.ErrLimit                                  // unpacks to more than Limits allow
	ErrUnsafe  = errors.New("leaves the directory it is unpacked to") // absolute names, .. and the like
	ErrSpecial = errors.New("is a device node or another special file")
	ErrClash   = errors.New("is in the way") // it contradicts itself, or what was unpacked before it
)

// Visit is called for each entry of an archive. r yields the content of regular files.
type Visit = func(h *tar.Header, r io.Reader) error

// Limits bound what a package may unpack to. The zero value of a field means its default.
type Limits struct {
	Bytes int64 // decompressed; default 8 GiB: the largest package of a kernel, -dbg, has less
	Files int   // default 1,000,000
}

// OrDefault fills in the defaults.
func (l Limits) OrDefault() Limits {
	if l.Bytes == 0 {
		l.Bytes = 8 << 30
	}
	if l.Files == 0 {
		l.Files = 1_000_000
	}
	return l
}

// Tar calls fn for every entry of the tar archive in r, which is of the package at file, in its order. Names are cleaned
// and relative; the directory itself is ".". Device nodes, absolute names and names with .. are errors under
// PACKAGE_CORRUPT; errors of fn are returned as they are.
func Tar(ctx context.Context, file string, r io.Reader, lim Limits, fn Visit) error {
	lim = lim.OrDefault()
	tr, left := tar.NewReader(r), lim.Bytes
	for n := 0; ; n++ {
		if err := disk.Ctx(ctx, "unpack "+filepath.Base(file)); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Corrupt(file, err)
		}
		if n == lim.Files {
			return Corrupt(file, fmt.Errorf("%w: more than %d files", ErrLimit, lim.Files))
		}
		// A sparse file may be larger than all of the archive.
		if left -= h.Size; left < 0 {
			return Corrupt(file, fmt.Errorf("%q %w", h.Name, ErrLimit))
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue // not a file: git-archive writes the commit into one
		case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
		default:
			return Corrupt(file, fmt.Errorf("%q %w", h.Name, ErrSpecial))
		}
		if h.Name, err = Local(h.Name); err != nil {
			return Corrupt(file, err)
		}
		if h.Typeflag == tar.TypeLink {
			if h.Linkname, err = Local(h.Linkname); err != nil {
				return Corrupt(file, err)
			}
		}
		if err := fn(h, tr); err != nil {
			return err
		}
	}
	// What follows the tar archive holds the compression's check sum.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return Corrupt(file, err)
	}
	return nil
}

// Local cleans a name of an archive, which must be relative and without "..".
func Local(name string) (string, error) {
	if path.IsAbs(name) || strings.ContainsRune(name, 0) || name == "" {
		return "", fmt.Errorf("%q %w", name, ErrUnsafe)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("%q %w", name, ErrUnsafe)
		}
	}
	return path.Clean(name), nil
}

// Corrupt says that the package at file is not to be used. An error with a cause keeps it.
func Corrupt(file string, err error) error {
	var c *cause.Err
	if errors.As(err, &c) {
		return err
	}
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "package %s: %w", filepath.Base(file), err)
}
