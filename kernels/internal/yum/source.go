// SPDX-License-Identifier: Apache-2.0

package yum

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// parallel is how many groups are read at a time.
const parallel = 4

// Enumerate implements [kernels.Source].
func (s *Source) Enumerate(ctx context.Context) ([]kernels.Entry, error) {
	if s.o.Offline {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "the kernels of %s are not listed offline", s.c.Name).
			Advise("the catalogue holds what was listed before; run once without --offline for news")
	}
	groups, listing := s.c.Groups(ctx, s)
	lists := make([][]kernels.Entry, len(groups))
	failed := make([]error, len(groups))
	var g errgroup.Group
	g.SetLimit(parallel)
	for i, group := range groups {
		g.Go(func() error {
			lists[i], failed[i] = s.group(ctx, group)
			return nil
		})
	}
	g.Wait() // never fails: each group's error stands beside the others' entries
	if err := disk.Ctx(ctx, "list the kernels of "+s.c.Name); err != nil {
		return nil, err
	}
	return merge(append(lists, s.c.Known)), errors.Join(append(failed, listing)...)
}

// group lists the kernels of one group, as far as its repositories can be read.
func (s *Source) group(ctx context.Context, g Group) ([]kernels.Entry, error) {
	sh := shelf{}
	var failed []error
	for _, r := range g.Repos {
		packages, err := s.packages(ctx, r, g.Arch, names(g.Lines))
		if err != nil {
			failed = append(failed, &kernels.RepoError{Repo: g.Name, Err: fmt.Errorf("%s: %w", r.Name, err)})
			continue
		}
		for _, p := range packages {
			sh[p.Name] = append(sh[p.Name], p)
		}
	}
	return sh.entries(s.c.Name, g), errors.Join(failed...)
}

// Resolve implements [kernels.Source]. What Enumerate found holds the packages already, by digests from the index, and
// needs no repository: it resolves when that has forgotten the kernel too.
func (s *Source) Resolve(ctx context.Context, e kernels.Entry) (*kernels.Resolved, error) {
	if e.Availability == kernels.Entitled {
		return nil, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "kernel %s of %s can be had with a subscription only", e.Release, e.Distro).
			With(cause.Text(e.Access)...).
			Advise("get its packages from there, and `mews kernels import` them")
	}
	if len(e.Image) == 0 {
		found, err := s.find(ctx, e)
		if err != nil {
			return nil, err
		}
		e = found
	}
	r := &kernels.Resolved{Kernel: e.Kernel, Suite: e.Repo, PackageVersion: e.PackageVersion, Image: e.Image, Headers: e.Headers}
	r.HeadersWanted = []string{fmt.Sprintf("%s (= %s)", headersOf(e.Image[0].Name), e.PackageVersion)}
	if len(e.Headers) == 0 {
		r.HeadersMissing = []string{fmt.Sprintf("%s is not in %s of %s", r.HeadersWanted[0], e.Repo, s.c.Name)}
	}
	return r, nil
}

// headersOf is the name of the package of headers that belongs to a package with an image.
func headersOf(image string) string { return strings.TrimSuffix(image, "-core") + "-devel" }

// find looks e up in the group that is its Repo.
func (s *Source) find(ctx context.Context, e kernels.Entry) (kernels.Entry, error) {
	groups, listing := s.c.Groups(ctx, s)
	failed := []error{listing}
	for _, g := range groups {
		if g.Name != e.Repo || g.Arch != e.Arch {
			continue
		}
		entries, err := s.group(ctx, g)
		if i := slices.IndexFunc(entries, func(x kernels.Entry) bool { return x.Kernel == e.Kernel }); i >= 0 {
			return entries[i], nil
		}
		failed = append(failed, err)
	}
	if err := errors.Join(failed...); err != nil {
		return kernels.Entry{}, err
	}
	return kernels.Entry{}, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s has no kernel %s in %s", s.c.Name, e.Release, e.Repo).
		Advise("`mews kernels list --match '%s'` shows whether another source has it", e.Release)
}
