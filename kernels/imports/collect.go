// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/cos"
)

// collector puts the files of a kernel together, in whatever order they come.
type collector struct {
	repo    string
	kernels map[kernels.Kernel]*found
	shared  []placed
	read    int
	skipped []Remark
	notes   []Remark
}

// found is a kernel and the files of it.
type found struct {
	kernels.Kernel
	flavour string
	access  string
	// unbootable is why what was found of it does not boot, where it has an image.
	unbootable string
	files      []Artifact
}

type placed struct {
	where string
	Artifact
}

func newCollector(repo string) *collector {
	return &collector{repo: repo, kernels: map[kernels.Kernel]*found{}}
}

func (c *collector) skip(where, what string, why error) {
	c.skipped = append(c.skipped, Remark{Where: where, What: cut(what), Why: why.Error()})
}

func (c *collector) note(where, what, why string) {
	c.notes = append(c.notes, Remark{Where: where, What: cut(what), Why: why})
}

// add takes a file. Those that several kernels share wait for the kernels.
func (c *collector) add(where string, a Artifact) {
	if a.Shared {
		c.shared = append(c.shared, placed{where, a})
		return
	}
	f := c.kernel(a.Kernel)
	f.flavour = cmp.Or(f.flavour, a.Flavour)
	f.add(a)
}

// kernel returns what was found of k.
func (c *collector) kernel(k kernels.Kernel) *found {
	f := c.kernels[k]
	if f == nil {
		f = &found{Kernel: k}
		c.kernels[k] = f
	}
	return f
}

// add takes a file once: archives list one package in several of their components.
func (f *found) add(a Artifact) {
	f.access = cmp.Or(f.access, a.Access)
	if !slices.ContainsFunc(f.files, func(b Artifact) bool {
		return b.Package.Name == a.Package.Name && b.Package.Version == a.Package.Version && b.Package.Arch == a.Package.Arch
	}) {
		f.files = append(f.files, a)
	}
}

// spread gives every kernel the files that it shares with others of its version.
func (c *collector) spread() {
	type version struct{ distro, version string }
	by := map[version][]*found{}
	for _, f := range c.kernels {
		seen := map[version]bool{}
		for _, a := range f.files {
			v := version{f.Distro, a.Package.Version}
			if !seen[v] {
				by[v] = append(by[v], f)
				seen[v] = true
			}
		}
	}
	for _, s := range c.shared {
		taken := false
		for _, f := range by[version{s.Distro, s.Package.Version}] {
			if s.Arch == "" || s.Arch == f.Arch {
				f.add(s.Artifact)
				taken = true
			}
		}
		if !taken {
			c.read--
			c.skip(s.where, s.Package.Name, fmt.Errorf("belongs to the kernels of version %s, of which there is none here", s.Package.Version))
		}
	}
	c.shared = nil
}

// result makes the entries.
func (c *collector) result() *Result {
	c.spread()
	r := &Result{Read: c.read, Skipped: c.skipped, Notes: c.notes}
	for _, f := range c.kernels {
		r.Entries = append(r.Entries, f.entry(c.repo))
	}
	slices.SortFunc(r.Entries, func(a, b kernels.Entry) int {
		return cmp.Or(strings.Compare(a.Distro, b.Distro), strings.Compare(a.Release, b.Release), strings.Compare(a.Version, b.Version),
			strings.Compare(a.Arch, b.Arch), cos.CompareBuilds(a.BuildID, b.BuildID))
	})
	return r
}

// order puts the package that has the image first, as [kernels.Resolved] wants it.
var order = []Part{Image, Modules, Headers, Devel}

func (f *found) entry(repo string) kernels.Entry {
	e := kernels.Entry{Kernel: f.Kernel, Source: SourceName, Repo: repo, Flavour: f.flavour, Availability: kernels.Available}
	if f.access != "" {
		e.Availability, e.Access = kernels.Entitled, f.access
	}
	slices.SortFunc(f.files, func(a, b Artifact) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Part), slices.Index(order, b.Part)), strings.Compare(a.Package.Name, b.Package.Name))
	})
	image := false
	for _, a := range f.files {
		switch a.Part {
		case Image, Modules:
			e.Image = append(e.Image, a.Package)
			image = image || a.Part == Image
		case Headers, Devel:
			e.Headers = append(e.Headers, a.Package)
		case Vmlinux:
			if f.Distro == cos.Name {
				e.Image = append(e.Image, a.Package)
			}
		}
		if !a.Shared {
			e.PackageVersion = cmp.Or(e.PackageVersion, a.Package.Version)
		}
	}
	switch {
	case f.Distro == cos.Name:
		cos.Describe(&e)
	case image:
		e.Unbootable = f.unbootable
	default:
		e.Unbootable = "no image of it is known: " + repo + " has nothing but its headers"
	}
	return e
}
