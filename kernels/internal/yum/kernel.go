// SPDX-License-Identifier: Apache-2.0

package yum

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/repodata"
)

// shelf is the packages of a group that may belong to a kernel, by name.
type shelf map[string][]repodata.Package

// entries finds the kernels on the shelf, by release. A release that two lines find is the first line's: since UEK 7
// kernel-uek holds nothing beside kernel-uek-core. Of two packages that claim one release the newer counts.
func (sh shelf) entries(source string, g Group) []kernels.Entry {
	found := map[string]kernels.Entry{}
	for _, l := range g.Lines {
		images := slices.Clone(sh[l.Image])
		slices.SortStableFunc(images, func(a, b repodata.Package) int { return b.EVR.Compare(a.EVR) })
		for _, image := range images {
			release := uname(image)
			if _, twice := found[release]; twice || image.Arch != g.Arch {
				continue
			}
			found[release] = sh.entry(source, g, l, image, release)
		}
	}
	out := make([]kernels.Entry, 0, len(found))
	for _, e := range found {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b kernels.Entry) int { return strings.Compare(a.Release, b.Release) })
	return out
}

func (sh shelf) entry(source string, g Group, l Line, image repodata.Package, release string) kernels.Entry {
	e := kernels.Entry{
		Kernel: kernels.Kernel{Distro: g.Distro, Release: release, Version: cmp.Or(l.Version, "1"), Arch: g.Arch},
		Source: source, Repo: g.Name, Flavour: l.Flavour, PackageVersion: image.EVR.String(),
		Image: []kernels.Package{image.Package()}, Availability: kernels.Available,
	}
	for _, name := range l.With {
		if p, ok := sh.same(name, image); ok {
			e.Image = append(e.Image, p.Package())
		}
	}
	if p, ok := sh.same(headersOf(l.Image), image); ok {
		e.Headers = []kernels.Package{p.Package()}
	}
	return e
}

// same finds the package of a name that was built with image.
func (sh shelf) same(name string, image repodata.Package) (repodata.Package, bool) {
	i := slices.IndexFunc(sh[name], func(p repodata.Package) bool { return p.Arch == image.Arch && p.EVR == image.EVR })
	if i < 0 {
		return repodata.Package{}, false
	}
	return sh[name][i], true
}

// uname is the release of the kernel in a package: what it provides as kernel-uname-r, or kernel-rt-core-uname-r and
// the like, and without that what all of them but the unusual have.
func uname(p repodata.Package) string {
	for _, d := range p.Provides {
		if d.Op == "=" && strings.HasSuffix(d.Name, "-uname-r") {
			return d.Version
		}
	}
	return p.EVR.Version + "-" + p.EVR.Release + "." + p.Arch
}

// names are those of the packages that lines need.
func names(lines []Line) []string {
	var out []string
	for _, l := range lines {
		out = append(append(out, l.Image, headersOf(l.Image)), l.With...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// merge adds what later has and first has not. One kernel is often in several repositories, such as the releases of Amazon
// Linux 2023, each of which is a whole: it belongs to the first, which later ones do not change.
func merge(lists [][]kernels.Entry) []kernels.Entry {
	var out []kernels.Entry
	seen := map[kernels.Kernel]bool{}
	for _, list := range lists {
		for _, e := range list {
			if !seen[e.Kernel] {
				seen[e.Kernel] = true
				out = append(out, e)
			}
		}
	}
	return out
}
