// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Closure returns the named packages and all that they depend on, sorted by name: Depends and Pre-Depends; of
// alternatives one that is in already, else the first that can be had. A name is a package's, or one that packages provide.
// Essential packages are not added unless something depends on them. Conflicts are not looked at: the packages
// are unpacked, not installed.
func (s *Source) Closure(ctx context.Context, suites []string, names ...string) ([]kernels.Package, error) {
	u, err := s.Universe(ctx, suites)
	if err != nil {
		return nil, err
	}
	c := &closure{u: u, in: map[string]*Record{}, provided: map[string][]provider{}}
	for _, name := range names {
		if err := c.add([]Relation{{Name: name}}, "it was asked for"); err != nil {
			return nil, err
		}
	}
	// The queue grows as it is read.
	for i := 0; i < len(c.queue); i++ {
		p := c.queue[i]
		for _, group := range append(ParseRelations(p.PreDepends), ParseRelations(p.Depends)...) {
			if err := c.add(group, p.Name+" "+p.Version+" depends on it"); err != nil {
				return nil, err
			}
		}
	}
	out := make([]kernels.Package, 0, len(c.queue))
	for _, p := range c.queue {
		out = append(out, p.Package())
	}
	slices.SortFunc(out, func(a, b kernels.Package) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

type closure struct {
	u        Universe
	in       map[string]*Record
	provided map[string][]provider
	queue    []*Record
}

// add makes sure that one of alts is in.
func (c *closure) add(alts []Relation, why string) error {
	for _, r := range alts {
		if c.has(r) {
			return nil
		}
	}
	for _, r := range alts {
		p := c.u.satisfy(r)
		if p == nil || c.in[p.Name] != nil {
			continue // one of that name is in, at a version that r does not allow
		}
		c.in[p.Name] = p
		c.queue = append(c.queue, p)
		for _, group := range ParseRelations(p.provides) {
			v := group[0]
			c.provided[v.Name] = append(c.provided[v.Name], provider{p, v.Version})
		}
		return nil
	}
	var text []string
	err := cause.Errorf(cause.PackageMissing, cause.FaultInfra, "no package of %s can be had for %s: %s", c.u, joinRelations(alts), why)
	for _, r := range alts {
		if p := c.in[r.Name]; p != nil {
			text = append(text, fmt.Sprintf("%s is in at version %s", p.Name, p.Version))
		}
	}
	return err.With(cause.Text(text...)...).Advise("name all suites that belong together, such as bookworm and bookworm-security")
}

func (c *closure) has(r Relation) bool {
	if p := c.in[r.Name]; p != nil && r.allows(p.Version) {
		return true
	}
	return slices.ContainsFunc(c.provided[r.Name], func(p provider) bool {
		return r.Op == "" || p.as != "" && r.allows(p.as)
	})
}

func joinRelations(alts []Relation) string {
	var s []string
	for _, r := range alts {
		s = append(s, r.String())
	}
	return strings.Join(s, " | ")
}
