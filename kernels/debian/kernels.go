// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/results/cause"
)

// Candidate is a kernel image that an index lists.
type Candidate struct {
	Release string // uname -r
	Name    string // Release, with -unsigned for an image without the archive's signature
	Suite   string
	Version string // of the image package
	image   *apt.Record
}

// Kernels lists the bootable kernels of suites, the newest first. Debug packages and the packages that only
// point to the newest kernel of a flavour are not among them. What two suites hold is listed once, at its newest version.
func (s *Source) Kernels(ctx context.Context, suites ...string) ([]Candidate, error) {
	u, err := s.Universe(ctx, suites)
	if err != nil {
		return nil, err
	}
	return candidates(u), nil
}

const imagePrefix = "linux-image-"

// candidates lists the kernels of u, each at its newest version; of equals the first suite's counts.
func candidates(u apt.Universe) []Candidate {
	newest := map[string]Candidate{}
	for _, x := range u {
		for r := range x.Beginning(imagePrefix) {
			name, ok := strings.CutPrefix(r.Name, imagePrefix)
			if !ok || name == "" || name[0] < '0' || name[0] > '9' || strings.HasSuffix(name, "-dbg") || pointsToImage(r) {
				continue
			}
			if old, ok := newest[name]; !ok || apt.Compare(r.Version, old.Version) > 0 {
				newest[name] = Candidate{strings.TrimSuffix(name, "-unsigned"), name, x.Suite, r.Version, r}
			}
		}
	}
	out := make([]Candidate, 0, len(newest))
	for _, c := range newest {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		return cmp.Or(apt.Compare(b.Version, a.Version), apt.Compare(b.Release, a.Release), strings.Compare(a.Name, b.Name))
	})
	return out
}

// pointsToImage tells a package such as linux-image-6.1-cloud-amd64, which holds nothing and depends on
// the newest linux-image-6.1.0-NN-cloud-amd64, from an image.
func pointsToImage(r *apt.Record) bool {
	for _, group := range apt.ParseRelations(r.Depends) {
		if strings.HasPrefix(group[0].Name, imagePrefix) {
			return true
		}
	}
	return false
}

// matches holds c against a release or a glob of path.Match. Unsigned images and real-time kernels are for those who name them.
func (c Candidate) matches(pattern string) bool {
	if ok, err := path.Match(pattern, c.Name); err != nil || !ok {
		return false
	}
	for _, special := range []string{"unsigned", "rt"} {
		if slices.Contains(strings.Split(c.Name, "-"), special) && !slices.Contains(strings.Split(pattern, "-"), special) {
			return false
		}
	}
	return true
}

// Resolve finds kernels whose release matches pattern (exact, or a glob of [path.Match]) in the union of suites, the
// newest first. With latest > 0 it returns that many, or as many as there are, and of a glob only those
// whose headers are there too; an older kernel that can be built for is of more use than a newer that cannot.
// No kernel at all is PACKAGE_MISSING; kernels, but none with headers, is HEADERS_MISSING.
func (s *Source) Resolve(ctx context.Context, suites []string, pattern string, latest int) ([]*kernels.Resolved, error) {
	if _, err := path.Match(pattern, ""); err != nil {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultHarness, "kernel pattern %q: %w", pattern, err)
	}
	u, err := s.Universe(ctx, suites)
	if err != nil {
		return nil, err
	}
	var out []*kernels.Resolved
	var without []*kernels.Resolved
	for _, c := range candidates(u) {
		if latest > 0 && len(out) == latest {
			break
		}
		if !c.matches(pattern) {
			continue
		}
		r, gone := resolve(u, c, s.Arch())
		switch {
		case len(gone) > 0 && c.Name == pattern:
			return nil, half(c, u.String(), gone)
		case len(gone) > 0:
			continue
		case latest > 0 && len(r.Headers) == 0 && c.Name != pattern:
			without = append(without, r)
			continue
		}
		out = append(out, r)
	}
	switch {
	case len(out) > 0:
		return out, nil
	case len(without) > 0:
		return nil, cause.Errorf(cause.HeadersMissing, cause.FaultInfra, "no kernel %s of %s has its headers there; the newest is %s",
			pattern, u, without[0].Kernel.Release).
			With(cause.Text(without[0].HeadersMissing...)...).
			Advise("name the suite that holds the headers too, or an exact release to do without")
	}
	return nil, noKernel(u, pattern)
}

// noKernel says what there is instead.
func noKernel(u apt.Universe, pattern string) error {
	err := cause.Errorf(cause.PackageMissing, cause.FaultInfra, "no kernel %s in %s", pattern, u)
	const show = 5
	for i, c := range candidates(u) {
		if i == show {
			break
		}
		err = err.With(cause.Text("there is " + c.Name + " in " + c.Suite)...)
	}
	return err.Advise("`mews plan` shows what the selectors of the matrix find")
}

// parts are the packages that hold a kernel beside linux-image-<release>, without the release.
var parts = []string{"linux-base", "linux-binary", "linux-binary-unsigned", "linux-modules"}

// resolve finds the packages of c, and tells which of its parts u does not hold.
//
// Up to 6.18 linux-image-<release> holds everything. From 6.19 on it only depends on linux-base-<release> (config,
// System.map, modules.builtin), linux-binary-<release> (vmlinuz) and linux-modules-<release>, all at its own version.
// The signed half of a kernel, which vmlinuz is in, stays on the mirror when the rest has made room for its successor:
// so it is with all of 6.19, 7.0 and 7.1 in trixie-backports (2026-11). 6.18 names a linux-base, and does without.
func resolve(u apt.Universe, c Candidate, arch string) (r *kernels.Resolved, gone []string) {
	r = &kernels.Resolved{
		Kernel:         kernels.Kernel{Distro: "debian", Release: c.Release, Version: "1", Arch: apt.Machines[arch]},
		Suite:          c.Suite,
		PackageVersion: c.Version,
		Image:          []kernels.Package{c.image.Package()},
	}
	split := false
	for _, group := range apt.ParseRelations(c.image.Depends) {
		rel := group[0]
		part, ok := strings.CutSuffix(rel.Name, "-"+c.Release)
		if !ok || !slices.Contains(parts, part) {
			continue
		}
		split = split || part != "linux-base"
		if p := u.Best(rel); p != nil {
			r.Image = append(r.Image, p.Package())
		} else {
			gone = append(gone, rel.String())
		}
	}
	if !split {
		gone = nil
	}
	u.AddHeaders(r, ofHeaders)
	return r, gone
}

// half says what lacks of a kernel whose other parts are there.
func half(c Candidate, where string, gone []string) error {
	return cause.Errorf(cause.PackageMissing, cause.FaultInfra, "kernel %s: no %s in %s", c.Name, strings.Join(gone, " and no "), where).
		Advise("the mirror has dropped it, or is in the middle of an update: snapshot.debian.org has what there was")
}

// ofHeaders tells -common and linux-kbuild from what else headers depend on: compilers.
func ofHeaders(name string) bool {
	return strings.HasPrefix(name, "linux-headers-") || strings.HasPrefix(name, "linux-kbuild-")
}
