// SPDX-License-Identifier: Apache-2.0

package source

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mews-farm/mews/kernels/tarball"
	"github.com/mews-farm/mews/results/cause"
)

// The bounds of a tree. Falco's driver has 1.6 MB in 120 files as a DKMS tree, and 13 MB in 420 as a checkout, nearly all
// of which are the vmlinux.h of five architectures.
const (
	maxBytes   = 128 << 20 // of all files that are kept
	maxFiles   = 20_000    // that are kept
	maxEntries = 200_000   // that are looked at: a whole checkout has 2,000
)

// entry is one file, or link, of a tree. Directories are what files lie in.
type entry struct {
	mode int64  // 0644 or 0755
	link string // target, of a symbolic link
	data []byte
}

// visit is called for each entry of what a source is made from, with its slash-separated name, not cleaned. open
// reads a regular file's content.
type visit func(name string, mode fs.FileMode, link string, open func() (io.ReadCloser, error)) error

// walker calls fn for every entry; it may be called more than once.
type walker func(ctx context.Context, fn visit) error

// markers are the files by which the layouts are known, from the tree's top.
var markers = map[Layout]string{DKMS: "dkms.conf", Libs: "driver/CMakeLists.txt"}

// tops are where the tree may begin below what was named, in the order in which they are tried; a * is any one directory.
var tops = []string{"", "*", "usr/src/*"}

// tree is what is kept.
type tree struct {
	files map[string]entry
	bytes int64
}

// gather finds the one driver tree in what walk shows, and reads it.
func gather(ctx context.Context, from string, walk walker) (*tree, error) {
	found := map[string]Layout{} // by the directory that the tree begins at
	n := 0
	err := walk(ctx, func(name string, mode fs.FileMode, _ string, _ func() (io.ReadCloser, error)) error {
		if n++; n > maxEntries {
			return unusable(from, "more than %d files", maxEntries)
		}
		if !mode.IsRegular() {
			return nil
		}
		for layout, marker := range markers {
			if top, ok := strings.CutSuffix("/"+path.Clean(name), "/"+marker); ok && isTop(strings.TrimPrefix(top, "/")) {
				found[strings.TrimPrefix(top, "/")] = layout
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	top, err := choose(from, found)
	if err != nil {
		return nil, err
	}
	t := &tree{files: map[string]entry{}}
	err = walk(ctx, func(name string, mode fs.FileMode, link string, open func() (io.ReadCloser, error)) error {
		return t.add(from, top, found[top], name, mode, link, open)
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

func isTop(dir string) bool {
	return slices.ContainsFunc(tops, func(pattern string) bool {
		ok, err := path.Match(pattern, dir)
		return ok && err == nil
	})
}

// choose takes the tree that begins nearest to what was named: a checkout of libs may carry DKMS trees in its tests.
func choose(from string, found map[string]Layout) (string, error) {
	all := slices.SortedFunc(maps.Keys(found), func(a, b string) int {
		if d := depth(a) - depth(b); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	if len(all) == 0 {
		e := unusable(from, "holds no driver")
		for _, l := range []Layout{DKMS, Libs} {
			for _, top := range tops {
				e.With(cause.Text("looked for " + path.Join(top, markers[l]))...)
			}
		}
		return "", e
	}
	if len(all) > 1 && depth(all[1]) == depth(all[0]) {
		e := unusable(from, "holds more than one driver")
		for _, top := range all {
			e.With(cause.Evidence{File: path.Join(top, markers[found[top]]), Text: "a " + string(found[top]) + " tree begins here"})
		}
		return "", e.Advise("name one of them")
	}
	return all[0], nil
}

func depth(dir string) int {
	if dir == "" {
		return 0
	}
	return 1 + strings.Count(dir, "/")
}

// ofDriver tells the files of a tree that decide what a driver becomes. A checkout is 24 MB, half of it not the driver's.
func ofDriver(l Layout, name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if part == ".git" || part == ".svn" || part == ".hg" {
			return false
		}
	}
	return l == DKMS || strings.HasPrefix(name, "driver/") || strings.HasPrefix(name, "cmake/")
}

// add takes one entry into the tree if it belongs there.
func (t *tree) add(from, top string, l Layout, name string, mode fs.FileMode, link string, open func() (io.ReadCloser, error)) error {
	clean := path.Clean(name)
	if top != "" {
		rest, ok := strings.CutPrefix(clean, top+"/")
		if !ok {
			return nil
		}
		clean = rest
	}
	if mode.IsDir() || !ofDriver(l, clean) {
		return nil
	}
	if err := checkName(name, clean); err != nil {
		return unusable(from, "%w", err)
	}
	if len(t.files) == maxFiles {
		return unusable(from, "its driver has more than %d files", maxFiles)
	}
	e := entry{mode: 0o644}
	switch {
	case mode.IsRegular():
		if mode.Perm()&0o111 != 0 {
			e.mode = 0o755
		}
		var err error
		if e.data, err = t.content(from, clean, open); err != nil {
			return err
		}
	case mode.Type() == fs.ModeSymlink:
		if !linkStays(clean, link) {
			return unusable(from, "%q is a link to %q, outside of the tree", clean, link)
		}
		e.link, e.mode = link, 0o777
	default:
		return unusable(from, "%q is neither a file nor a directory nor a link", clean)
	}
	t.files[clean] = e
	return nil
}

func (t *tree) content(from, name string, open func() (io.ReadCloser, error)) ([]byte, error) {
	r, err := open()
	if err != nil {
		return nil, unusable(from, "%q: %w", name, err)
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxBytes-t.bytes+1))
	if err != nil {
		return nil, unusable(from, "%q: %w", name, err)
	}
	if t.bytes += int64(len(data)); t.bytes > maxBytes {
		return nil, unusable(from, "its driver is larger than %d MiB, at %q", maxBytes>>20, name)
	}
	return data, nil
}

// checkName refuses what make, a shell or a record could not name.
func checkName(name, clean string) error {
	switch {
	case !utf8.ValidString(name):
		return fmt.Errorf("the name %s is not UTF-8", strconv.Quote(name))
	case strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("the name %s holds a control character", strconv.Quote(name))
	case !filepath.IsLocal(clean):
		return fmt.Errorf("the name %q leads outside", name)
	}
	return nil
}

// linkStays reports whether a link's target lies in the tree.
func linkStays(name, target string) bool {
	return target != "" && !path.IsAbs(target) && utf8.ValidString(target) && !strings.ContainsFunc(target, unicode.IsControl) &&
		filepath.IsLocal(path.Join(path.Dir(name), target))
}

// write makes the tar archive that stands for the tree: sorted, of nobody, without times. The same tree gives the same
// bytes, and their digest is the tree's.
func (t *tree) write(w io.Writer) error {
	tw := tar.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(t.files)) {
		e := t.files[name]
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: e.mode, Size: int64(len(e.data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if e.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.link
		}
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		if _, err := tw.Write(e.data); err != nil {
			return err
		}
	}
	return tw.Close()
}

// headsOf reads the names of an archived tree, and the content of the small files that describe it.
func headsOf(ctx context.Context, file string) (map[string]string, error) {
	small := []string{"dkms.conf", "driver_config.h", "driver/API_VERSION", "driver/SCHEMA_VERSION"}
	heads := map[string]string{}
	err := tarball.Walk(ctx, file, tarball.Limits{}, func(h *tar.Header, r io.Reader) error {
		heads[h.Name] = ""
		if h.Typeflag != tar.TypeReg || !slices.Contains(small, h.Name) {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(r, maxHead+1))
		heads[h.Name] = string(text)
		return err
	})
	var known *cause.Err
	if err != nil && !errors.As(err, &known) {
		err = cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "archived driver source: %w", err)
	}
	return heads, err
}
