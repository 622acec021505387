// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Root is an unpacked build root. It must not be written to.
type Root struct {
	Dir      string
	Key      string           // names its content: equal keys, equal trees
	Packages []archive.Digest // sorted
}

// KeyOf is the Key of the root that [Cache.Tree] makes of pkgs, told without making it.
func KeyOf(pkgs []kernels.Package) string {
	return key("tree", slices.DeleteFunc(slices.Clone(pkgs), func(p kernels.Package) bool { return !needed(p) }))
}

// Tree makes the build root of pkgs, the closure of [Tools]; packages that no build uses are left out.
func (c *Cache) Tree(ctx context.Context, pkgs []kernels.Package) (*Root, error) {
	return c.tree(ctx, KeyOf(pkgs), slices.DeleteFunc(slices.Clone(pkgs), func(p kernels.Package) bool { return !needed(p) }))
}

// WholeKeyOf is the Key of the root that [Cache.Whole] makes of pkgs, told without making it.
func WholeKeyOf(pkgs []kernels.Package) string { return key("tree", pkgs) }

// Whole makes a root of pkgs for programs besides compilers and make, of which nothing is known that they do not use:
// cmake is linked against libssl, bpftool against libcap2.
func (c *Cache) Whole(ctx context.Context, pkgs []kernels.Package) (*Root, error) {
	return c.tree(ctx, WholeKeyOf(pkgs), pkgs)
}

func (c *Cache) tree(ctx context.Context, k string, pkgs []kernels.Package) (*Root, error) {
	dir, err := c.once(ctx, k, func(tmp string) error {
		debs, err := c.fetch(ctx, pkgs)
		if err != nil {
			return err
		}
		return diskErr("make a build root", unpackTree(ctx, debs, tmp, c.progress("build root "+k[:8])))
	})
	if err != nil {
		return nil, err
	}
	return &Root{Dir: dir, Key: k, Packages: digests(pkgs)}, nil
}

// Has reports whether the root holds an executable of that name.
func (r *Root) Has(program string) bool {
	_, err := os.Lstat(filepath.Join(r.Dir, "usr/bin", program))
	return err == nil
}

// compiler is what is called one: gcc-12, clang-19, aarch64-linux-gnu-gcc-12.
var compiler = regexp.MustCompile(`^(?:aarch64-linux-gnu-)?gcc-[0-9]+$|^clang-[0-9]+$`)

// Compilers names the versioned compilers in the root, such as gcc-12, sorted.
func (r *Root) Compilers() []string {
	entries, err := os.ReadDir(filepath.Join(r.Dir, "usr/bin"))
	if err != nil {
		return nil // no directory, no compilers
	}
	var found []string
	for _, e := range entries {
		if compiler.MatchString(e.Name()) {
			found = append(found, e.Name())
		}
	}
	return found
}

func (c *Cache) progress(item string) func(done, total int64) {
	return func(done, total int64) {
		if c.Progress != nil {
			c.Progress(kernels.Event{Kind: kernels.EventUnpack, Item: item, Done: done, Total: total})
		}
	}
}

func unpackTree(ctx context.Context, debs []string, dir string, progress func(done, total int64)) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// Nothing can be written outside of an os.Root, whatever links the packages hold.
	in, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	for _, d := range mountPoints {
		if err := in.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	for _, d := range merged {
		if err := errors.Join(in.MkdirAll("usr/"+d, 0o755), in.Symlink("usr/"+d, d)); err != nil {
			return err
		}
	}
	var bytes int64
	skip := func(name string) bool { return isBallast(name, buildBallast) }
	err = entries(ctx, debs, skip, func(h *tar.Header, r io.Reader) error {
		n, err := writeEntry(in, h, r)
		if bytes += n; err == nil && n > 0 {
			progress(bytes, -1)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range fixups {
		if err := f.apply(in); err != nil {
			return fmt.Errorf("link %s (%s): %w", f.link, f.reason, err)
		}
	}
	if err := in.WriteFile("etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n"), 0o644); err != nil {
		return err
	}
	progress(bytes, bytes)
	return nil
}

func (f fixup) apply(in *os.Root) error {
	if _, err := in.Lstat(f.needs); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := in.Lstat(f.link); err == nil {
		return nil
	}
	return in.Symlink(f.target, f.link)
}

// writeEntry writes one entry and returns the bytes of its content. A later package replaces files of an earlier one.
// Set-user-ID bits are not kept: the tree lies on the host.
func writeEntry(in *os.Root, h *tar.Header, r io.Reader) (int64, error) {
	bad := func(err error) error {
		if err == nil {
			return nil
		}
		if strings.Contains(err.Error(), "escapes") {
			return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: a link of the packages leads out of the root: %w", h.Name, err)
		}
		return err
	}
	if h.Typeflag == tar.TypeDir {
		return 0, bad(in.MkdirAll(h.Name, 0o755))
	}
	if err := in.MkdirAll(path.Dir(h.Name), 0o755); err != nil {
		return 0, bad(err)
	}
	if err := in.Remove(h.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, bad(err)
	}
	switch h.Typeflag {
	case tar.TypeSymlink:
		return 0, bad(in.Symlink(h.Linkname, h.Name))
	case tar.TypeLink:
		return 0, bad(in.Link(h.Linkname, h.Name))
	}
	f, err := in.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, h.FileInfo().Mode().Perm()&0o755|0o400)
	if err != nil {
		return 0, bad(err)
	}
	n, err := io.Copy(f, r)
	return n, errors.Join(err, f.Close())
}
