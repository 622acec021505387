// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/results/cause"
)

// Resolve implements kernels.Source. What an entry knows of its packages came out of a signed index, so that stands.
// What the mirror no longer has and the archive does not hold is looked for in snapshot.debian.org; so is an
// entry that has a release and no packages when no suite holds it.
func (d *Distro) Resolve(ctx context.Context, e kernels.Entry) (*kernels.Resolved, error) {
	arch, err := apt.ArchOf(e)
	if err != nil {
		return nil, err
	}
	if len(e.Image) == 0 {
		return d.find(ctx, e, arch)
	}
	r := apt.Resolved(e)
	if r.Image, err = d.whole(ctx, e, arch); err != nil {
		return nil, err
	}
	if e.Availability != kernels.Withdrawn {
		return r, nil
	}
	if r.Image, err = d.located(ctx, r.Image); err != nil {
		return nil, err
	}
	if r.Headers, err = d.located(ctx, e.Headers); err != nil {
		if cause.Of(err).Cause == cause.Cancelled {
			return nil, err
		}
		r.Headers, r.HeadersMissing = nil, []string{err.Error()}
	}
	return r, nil
}

// whole adds to the image packages of an entry the parts that the mirror dropped.
func (d *Distro) whole(ctx context.Context, e kernels.Entry, arch string) ([]kernels.Package, error) {
	if e.Unbootable == "" {
		return e.Image, nil
	}
	image := slices.Clone(e.Image)
	for _, alts := range imageNames(e.Release, e.PackageVersion) {
		if slices.ContainsFunc(image, func(p kernels.Package) bool { return slices.Contains(alts, p.Name) }) {
			continue
		}
		if d.o.Offline {
			return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "kernel %s: %s", e.Release, e.Unbootable).
				Advise("run once without --offline: snapshot.debian.org may have it")
		}
		p, err := d.snapshot.first(ctx, alts, e.PackageVersion, arch)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %s: %w", e.Release, e.Unbootable, err)
		}
		image = append(image, p)
	}
	return image, nil
}

// located gives packages that neither the mirror nor the archive has an address in snapshot.debian.org. Their digests stay.
func (d *Distro) located(ctx context.Context, ps []kernels.Package) ([]kernels.Package, error) {
	var out []kernels.Package
	for _, p := range ps {
		if _, err := d.o.Archive.Path(p.Digest); err != nil && p.Sum == "" {
			if d.o.Offline {
				return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "package %s %s is withdrawn and not in the archive", p.Name, p.Version).
					Advise("run once without --offline: snapshot.debian.org may have it")
			}
			old, err := d.snapshot.binary(ctx, p.Name, p.Version, p.Arch)
			if err != nil {
				return nil, err
			}
			p.URL = old.URL
		}
		out = append(out, p)
	}
	return out, nil
}

// find looks for the packages of a release, first in the suites.
func (d *Distro) find(ctx context.Context, e kernels.Entry, arch string) (*kernels.Resolved, error) {
	s, err := d.open(arch)
	if err != nil {
		return nil, err
	}
	l := s.Load(ctx, d.o.Suites)
	all, err := l.All()
	if err != nil {
		return nil, err
	}
	for _, x := range all {
		for _, c := range signed(candidates(apt.Universe{x})) {
			if c.Release != e.Release || e.PackageVersion != "" && c.Version != e.PackageVersion {
				continue
			}
			u, _ := l.Family(x.Suite)
			r, gone := resolve(u, c, arch)
			if len(gone) > 0 {
				e.Unbootable, e.PackageVersion, e.Image = strings.Join(gone, " and ")+" gone from the mirror", c.Version, r.Image
				r.Image, err = d.whole(ctx, e, arch)
			}
			return r, err
		}
	}
	if d.o.Offline {
		return nil, noKernel(all, e.Release)
	}
	r, err := d.snapshot.resolve(ctx, e, arch)
	if errors.Is(err, errNotInSnapshot) {
		return nil, noKernel(all, e.Release)
	}
	return r, err
}
