// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/harness/matrix"
)

// Target is a kernel that drivers are to be built for.
type Target struct {
	Found
	Entry matrix.Kernel // that it came from; of one that the catalogue has only Name is set, to what was asked for
}

// Name is how people call the kernel.
func (t *Target) Name() string {
	if t.Resolved == nil {
		return t.Entry.Name
	}
	if t.Kernel.BuildID != "" {
		return t.Kernel.Distro + ":" + t.Kernel.BuildID
	}
	return t.Kernel.Distro + ":" + t.Kernel.Release
}

// Targets finds the kernels and the drivers of a grid: those of the profile, or without one of the whole matrix, as far as
// sel narrows them; kernels that no entry of the matrix has are the catalogue's. A kernel that cannot be had carries its
// error. A selection that comes to nothing is a [*UsageError].
func Targets(ctx context.Context, m *matrix.Matrix, sel Selection, r Resolver) ([]*Target, []matrix.Driver, error) {
	for _, g := range sel.Kernels {
		if _, err := path.Match(g, ""); err != nil {
			return nil, nil, usagef("%q is not a pattern (shell globs: * ? [a-z])", g)
		}
	}
	drivers, err := Drivers(m, sel)
	if err != nil {
		return nil, nil, err
	}
	prof, err := gridProfile(m, sel)
	if err != nil {
		return nil, nil, err
	}
	targets, err := findTargets(ctx, m, prof, sel, r)
	return targets, drivers, err
}

// Drivers finds the drivers of a grid. One that mews carries is none of a grid's: there is nothing to build of it for a kernel.
// Nor is one that only a compiler of its own makes another: of a grid the command line says with which it is built.
func Drivers(m *matrix.Matrix, sel Selection) ([]matrix.Driver, error) {
	for _, g := range sel.Drivers {
		if _, err := path.Match(g, ""); err != nil {
			return nil, usagef("%q is not a pattern (shell globs: * ? [a-z])", g)
		}
	}
	prof, err := gridProfile(m, sel)
	if err != nil {
		return nil, err
	}
	drivers, err := pickDrivers(m, prof, sel.Drivers)
	return slices.DeleteFunc(drivers, func(d matrix.Driver) bool { return d.Source.Builtin.V != "" || d.Compiler.V != "" }), err
}

// gridProfile is the profile that sel names, or one of all that the matrix has.
func gridProfile(m *matrix.Matrix, sel Selection) (matrix.Profile, error) {
	if sel.Profile != "" {
		return profile(m, sel)
	}
	prof := matrix.Profile{Name: "(the whole matrix)"}
	for _, e := range m.Kernels {
		prof.Kernels = append(prof.Kernels, e.Key)
	}
	for _, e := range m.Drivers {
		prof.Drivers = append(prof.Drivers, e.Key)
	}
	return prof, nil
}

func findTargets(ctx context.Context, m *matrix.Matrix, prof matrix.Profile, sel Selection, r Resolver) ([]*Target, error) {
	wide := sel.Profile == "" && len(sel.Kernels) > 0
	entries := make([]found, len(prof.Kernels))
	var g errgroup.Group
	for i, name := range prof.Kernels {
		g.Go(func() error {
			entries[i].entry, _ = m.Kernels.Get(name.V)
			entries[i].kernels, entries[i].err = resolve(ctx, entries[i].entry, wide, sel, r)
			return nil
		})
	}
	g.Wait()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	var out []*Target
	for _, f := range entries {
		if f.err != nil && wide && !slices.ContainsFunc(sel.Kernels, func(s string) bool { return matches([]string{s}, f.entry.Name) }) {
			continue // nobody asked for this entry: the catalogue may know what was asked for
		}
		out = addTargets(out, f, sel.Kernels)
	}
	for _, selector := range unmatched(sel.Kernels, entries) {
		if sel.Profile != "" {
			return nil, usagef("--kernel %s matches no kernel of profile %s, which has %s", selector, prof.Name, strings.Join(releases(entries), ", "))
		}
		f := found{entry: matrix.Kernel{Name: selector}}
		f.kernels, f.err = r.Named(ctx, selector)
		if i := slices.IndexFunc(entries, func(f found) bool { return f.err != nil }); f.err != nil && i >= 0 {
			f.err = entries[i].err // which might have had it
		}
		out = addTargets(out, f, nil)
	}
	return out, nil
}

// addTargets adds what an entry came to and globs select; what several entries name is there once.
func addTargets(out []*Target, f found, globs []string) []*Target {
	if f.err != nil {
		return append(out, &Target{Found: Found{Err: f.err}, Entry: f.entry})
	}
	for _, k := range f.kernels {
		if !selected(globs, f.entry, k.Kernel) {
			continue
		}
		if !slices.ContainsFunc(out, func(t *Target) bool { return t.Resolved != nil && t.Kernel == k.Kernel }) {
			out = append(out, &Target{Found: k, Entry: f.entry})
		}
	}
	return out
}
