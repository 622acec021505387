// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels/deb"
)

// merged are the directories that are links into /usr. Up to bookworm packages still ship files below both, and the
// links were made at installation; from trixie on base-files ships the links. Every root made here has them.
var merged = []string{"bin", "lib", "lib32", "lib64", "libx32", "sbin"}

// inUsr maps a name inside a package to where it lies in a merged root.
func inUsr(name string) string {
	first, _, _ := strings.Cut(name, "/")
	if slices.Contains(merged, first) {
		return "usr/" + name
	}
	return name
}

// mergeLink maps the target of a symbolic link, of which only the link's own place before the merge tells the meaning:
// lib/a/b -> ../../usr/lib/c would lead elsewhere from usr/lib/a/b.
func mergeLink(name, target string) string {
	abs := path.Join("/", path.Dir(name), target)
	if path.IsAbs(target) {
		abs = path.Clean(target)
	}
	to := "/" + inUsr(abs[1:])
	if to == abs && inUsr(name) == name {
		return target
	}
	return to
}

// entries calls fn for what the packages hold, package by package, with names and links as they are in a merged root.
func entries(ctx context.Context, debs []string, skip func(name string) bool, fn func(h *tar.Header, r io.Reader) error) error {
	for _, file := range debs {
		err := deb.Walk(ctx, file, deb.Limits{}, func(h *tar.Header, r io.Reader) error {
			name := inUsr(h.Name)
			if h.Name == "." || skip(name) {
				return nil
			}
			switch h.Typeflag {
			case tar.TypeSymlink:
				if slices.Contains(merged, h.Name) {
					return nil // base-files' own link; it is made for all
				}
				h.Linkname = mergeLink(h.Name, h.Linkname)
				if h.Linkname == "/"+name {
					return nil // a link from one side of the merge to the other
				}
			case tar.TypeLink:
				h.Linkname = inUsr(h.Linkname)
			}
			h.Name = name
			return fn(h, r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
