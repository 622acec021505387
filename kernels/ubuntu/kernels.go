// SPDX-License-Identifier: Apache-2.0

package ubuntu

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/results/cause"
)

// candidate is a kernel image that an index lists.
type candidate struct {
	release string // uname -r: 5.15.0-1051-aws
	abi     string // 5.15.0-1051
	flavour string // aws
	signed  bool
	image   *apt.Record
}

// imageName takes apart linux-image-5.15.0-1051-aws and linux-image-unsigned-6.8.0-45-generic. Packages that only point
// to the newest have no number (linux-image-aws) or one number too few (linux-image-generic-hwe-22.04).
var imageName = regexp.MustCompile(`^linux-image-(unsigned-)?(\d+\.\d+\.\d+-\d+)-([a-z0-9][a-z0-9-]*)$`)

// candidates lists the kernels of one suite, the newest first: of one release the newest package, the signed one rather
// than its equal without a signature.
func candidates(x *apt.Index) []candidate {
	best := map[string]candidate{}
	for r := range x.Beginning("linux-image-") {
		m := imageName.FindStringSubmatch(r.Name)
		if m == nil {
			continue
		}
		c := candidate{release: m[2] + "-" + m[3], abi: m[2], flavour: m[3], signed: m[1] == "", image: r}
		if old, ok := best[c.release]; !ok || c.beats(old) {
			best[c.release] = c
		}
	}
	out := make([]candidate, 0, len(best))
	for _, c := range best {
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(apt.Compare(b.abi, a.abi), strings.Compare(a.flavour, b.flavour))
	})
	return out
}

func (c candidate) beats(old candidate) bool {
	if n := apt.Compare(c.image.Version, old.image.Version); n != 0 {
		return n > 0
	}
	return c.signed && !old.signed
}

// entries lists the kernels of one suite. Where a suite beside it could not be read, one of which a part is nowhere else
// is left out, with an error: the list that is kept knows better.
func entries(l *apt.Suites, suite, arch string) ([]kernels.Entry, error) {
	x, err := l.Index(suite)
	if err != nil {
		return nil, err
	}
	u, sibling := l.Family(suite)
	var out []kernels.Entry
	for _, c := range candidates(x) {
		r, missing := resolve(u, c, suite, arch)
		switch {
		case sibling != nil && (missing != nil || len(r.Headers) == 0):
			err = apt.PartsUnread(c.release, sibling)
		case missing == nil: // without its modules the mirror is in the middle of an update
			out = append(out, apt.Entry(r, c.flavour, arch))
		}
	}
	return out, err
}

// resolve finds the packages of c. linux-image-<release> holds vmlinuz, linux-modules-<release> the config, System.map and
// the modules of common machines, linux-modules-extra-<release> those of the others; the clouds' kernels of old have
// no extra, some have everything in linux-modules.
func resolve(u apt.Universe, c candidate, suite, arch string) (*kernels.Resolved, error) {
	modules := u.Best(dependency(c.image, "linux-modules-"+c.release))
	if modules == nil {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "kernel %s: no linux-modules-%s in %s", c.release, c.release, u).
			Advise("the mirror may be in the middle of an update: try again later")
	}
	r := &kernels.Resolved{
		Kernel:         kernels.Kernel{Distro: "ubuntu", Release: c.release, Version: upload(modules.Version, c.abi), Arch: apt.Machines[arch]},
		Suite:          suite,
		PackageVersion: c.image.Version,
		Image:          []kernels.Package{c.image.Package(), modules.Package()},
	}
	extra := apt.Relation{Name: "linux-modules-extra-" + c.release, Op: "=", Version: modules.Version}
	if p := u.Best(extra); p != nil {
		r.Image = append(r.Image, p.Package())
	}
	u.AddHeaders(r, ofHeaders)
	return r, nil
}

// dependency is what r says of the package it needs; where it says nothing, the name alone.
func dependency(r *apt.Record, name string) apt.Relation {
	for _, group := range apt.ParseRelations(r.Depends) {
		if group[0].Name == name {
			return group[0]
		}
	}
	return apt.Relation{Name: name}
}

// upload is the number after # of uname -v, as Falco's driverkit wants it: 26~22.04.1 of linux-modules 6.5.0-26.26~22.04.1.
// The image's own package is no source of it: where a signature was made again its version has a +1 at the end.
func upload(version, abi string) string {
	if rest, ok := strings.CutPrefix(version, abi+"."); ok {
		return rest
	}
	return version
}
