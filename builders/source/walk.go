// SPDX-License-Identifier: Apache-2.0

package source

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/tarball"
	"github.com/mews-farm/mews/results/cause"
)

// packedLimits bound what a package or tarball may unpack to while a driver is looked for in it.
var packedLimits = tarball.Limits{Bytes: 4 << 30, Files: maxEntries}

// debMagic begins an ar archive, which every .deb is.
const debMagic = "!<arch>\n"

// packed walks a .deb or a tarball, told apart by their first bytes.
func packed(file string) walker {
	return func(ctx context.Context, fn visit) error {
		each := tarball.Walk
		if head, err := firstBytes(file, len(debMagic)); err != nil {
			return unusable(file, "%w", err)
		} else if head == debMagic {
			each = deb.Walk
		}
		err := each(ctx, file, packedLimits, func(h *tar.Header, r io.Reader) error {
			if h.Typeflag == tar.TypeLink {
				return unusable(file, "%q is a hard link", h.Name)
			}
			return fn(h.Name, h.FileInfo().Mode(), h.Linkname, func() (io.ReadCloser, error) { return io.NopCloser(r), nil })
		})
		// A package that is damaged or not safe was named by whoever runs mews: it is their source that is at fault.
		var e *cause.Err
		if errors.As(err, &e) && e.Cause == cause.PackageCorrupt {
			return unusable(file, "%w", err)
		}
		return err
	}
}

func firstBytes(file string, n int) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	head := make([]byte, n)
	got, err := io.ReadFull(f, head)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // too short to be anything: whoever unpacks it says so
	}
	return string(head[:got]), err
}

func fileDigest(file string) (archive.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return archive.Digest(hex.EncodeToString(h.Sum(nil))), nil
}

// dirTree walks a directory. No link is followed, and nothing outside is opened, whatever changes meanwhile.
func dirTree(dir string) walker {
	return func(ctx context.Context, fn visit) error {
		in, err := os.OpenRoot(dir)
		if err != nil {
			return unusable(dir, "%w", err)
		}
		defer in.Close()
		return fs.WalkDir(in.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return unusable(dir, "%w", err)
			}
			if ctx.Err() != nil {
				return cause.Errorf(cause.Cancelled, cause.FaultInfra, "reading %s: %w", dir, context.Cause(ctx))
			}
			if d.IsDir() && strings.HasPrefix(d.Name(), ".git") && name != "." {
				return fs.SkipDir
			}
			if d.IsDir() && !utf8.ValidString(name) {
				return unusable(dir, "the name %s is not UTF-8", strconv.Quote(name)) // io/fs cannot read it
			}
			link := ""
			if d.Type() == fs.ModeSymlink {
				if link, err = in.Readlink(name); err != nil {
					return unusable(dir, "%w", err)
				}
			}
			fi, err := d.Info()
			if err != nil {
				return unusable(dir, "%w", err)
			}
			return fn(name, fi.Mode(), link, func() (io.ReadCloser, error) { return in.Open(name) })
		})
	}
}
