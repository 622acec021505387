// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Bounds of a tree that comes as an archive; rockylinux:8 with a compiler has 0.6 GB in 20,000 files.
const (
	maxImported      = 8 << 30
	maxImportedFiles = 500_000
)

// Import makes the build root of a file tree that is not made of packages: the container image whose digest key is.
// open gives it as a tar archive, and is not asked when the root is there. An archive that leads out of itself, or is
// larger than such a thing can be, is PACKAGE_CORRUPT.
func (c *Cache) Import(ctx context.Context, key string, open func(ctx context.Context) (io.ReadCloser, error)) (*Root, error) {
	if key == "" || strings.ContainsAny(key, "/\x00") || strings.HasPrefix(key, ".") {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q is not the key of a build root", key)
	}
	dir, err := c.once(ctx, key, func(tmp string) error {
		in, err := open(ctx)
		if err != nil {
			return err
		}
		defer in.Close()
		return diskErr("make a build root of "+key, unpackArchive(ctx, in, tmp, c.progress("build root "+key)))
	})
	if err != nil {
		return nil, err
	}
	return &Root{Dir: dir, Key: key}, nil
}

func unpackArchive(ctx context.Context, from io.Reader, dir string, progress func(done, total int64)) error {
	corrupt := func(format string, args ...any) error {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "the image's archive: "+format, args...)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	in, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	var bytes int64
	var files int
	for t := tar.NewReader(from); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return corrupt("%w", err)
		}
		if err := context.Cause(ctx); err != nil {
			return cause.Errorf(cause.Cancelled, cause.FaultInfra, "make a build root: %w", err)
		}
		if files++; files > maxImportedFiles || h.Size > maxImported-bytes {
			return corrupt("more than %d files or %d bytes", maxImportedFiles, int64(maxImported))
		}
		h.Name = path.Clean(h.Name)
		if path.IsAbs(h.Name) || h.Name == ".." || strings.HasPrefix(h.Name, "../") {
			return corrupt("%q leads out of it", h.Name)
		}
		// Devices are the sandbox's business, and documentation nobody's.
		if h.Name == "." || isBallast(h.Name, nil) || !slices.Contains([]byte{tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink}, h.Typeflag) {
			continue
		}
		if h.Typeflag == tar.TypeLink {
			h.Linkname = strings.TrimPrefix(path.Clean(h.Linkname), "/")
			if isBallast(h.Linkname, nil) {
				return corrupt("%s is a link to %s, which is left out", h.Name, h.Linkname)
			}
		}
		n, err := writeEntry(in, h, t)
		if err != nil {
			return fmt.Errorf("%s: %w", h.Name, err)
		}
		if bytes += n; n > 0 {
			progress(bytes, -1)
		}
	}
	for _, d := range mountPoints {
		if err := in.MkdirAll(d, 0o755); err != nil {
			return corrupt("%s: %w", d, err)
		}
	}
	progress(bytes, bytes)
	return nil
}
