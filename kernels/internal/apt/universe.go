// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// universe is the packages of several suites.
type Universe []*Index

func (u Universe) String() string {
	var names []string
	for _, x := range u {
		names = append(names, x.Suite)
	}
	return strings.Join(names, ", ")
}

// best returns the newest package that r names and allows, or nil. Of equals the first suite's counts.
func (u Universe) Best(r Relation) *Record {
	var best *Record
	for _, x := range u {
		for p := range x.named(r.Name) {
			if r.allows(p.Version) && (best == nil || Compare(p.Version, best.Version) > 0) {
				best = p
			}
		}
	}
	return best
}

// providers returns who provides r, the best first: by priority, as apt does, then by name, then the newest.
// A version constraint is only met by a provider that says its version; deb-control(5).
func (u Universe) providers(r Relation) []provider {
	var out []provider
	for _, x := range u {
		out = append(out, x.providers(r)...)
	}
	slices.SortStableFunc(out, func(a, b provider) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), strings.Compare(a.Name, b.Name), Compare(b.Version, a.Record.Version))
	})
	return out
}

// providers are those of x that provide r. It is asked seldom, for names that no package has: all that provide
// something are looked through.
func (x *Index) providers(r Relation) (out []provider) {
	for _, text := range x.providing {
		if !strings.Contains(text, r.Name) {
			continue
		}
		for p := range x.records([]string{text}) {
			for _, group := range ParseRelations(p.provides) {
				if as := group[0]; as.Name == r.Name && (r.Op == "" || as.Version != "" && r.allows(as.Version)) {
					out = append(out, provider{p, as.Version})
				}
			}
		}
	}
	return out
}

// satisfy returns the package to install for r, or nil.
func (u Universe) satisfy(r Relation) *Record {
	if p := u.Best(r); p != nil {
		return p
	}
	if ps := u.providers(r); len(ps) > 0 {
		return ps[0].Record
	}
	return nil
}

// Find returns the newest package of that name in suites.
func (s *Source) Find(ctx context.Context, suites []string, name string) (kernels.Package, error) {
	u, err := s.Universe(ctx, suites)
	if err != nil {
		return kernels.Package{}, err
	}
	p := u.Best(Relation{Name: name})
	if p == nil {
		return kernels.Package{}, cause.Errorf(cause.PackageMissing, cause.FaultInfra, "no suite of %s holds package %s", u, name)
	}
	return p.Package(), nil
}
