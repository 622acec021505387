// SPDX-License-Identifier: Apache-2.0

// Package harness is the controller: it plans cells out of a matrix, runs each from packages to verdict, and gates.
package harness

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// Selection is what the command line asked for.
type Selection struct {
	Profile   string   // "" with Kernels and Drivers both given: the whole matrix, narrowed
	Kernels   []string // globs over `[distro:]release` and the names of the matrix
	Drivers   []string // globs over driver names; "all" is every one
	Scenarios []string // globs over scenario names
	Suites    []string // files of event-generator's tests, done in place of the profile's scenarios
	Beside    []string // scenarios of the user's own, beside those of the profile
}

// Cell is one kernel x driver that a run shall judge.
type Cell struct {
	ID        string
	Kernel    matrix.Kernel     // the matrix entry it came from
	Resolved  *kernels.Resolved // nil if Err is set
	Denied    *cause.Err        // why this cannot be judged at all, known before anything starts: unsupported
	Driver    matrix.Driver
	Source    kernels.Package // the driver's; zero for one that mews carries
	Version   string          // the driver's
	Consumer  matrix.Consumer
	Scenarios []scenarios.Scenario
	Rules     map[string]Rule       // by name, in the consumer's vocabulary
	Unable    map[string]*cause.Err // scenarios that the consumer or the kernel has no means for, by name: unsupported
	Err       error                 // why the kernel could not be resolved; carries a finding
	Expect    *results.Expect       // what the profile foresees; nil: a pass
	Foresees  []results.Foreseen    // and of single scenarios
	Allow     []splat.Allowance     // complaints of the kernel that are excused
	Log       *matrix.Log           // of a build elsewhere, which is all that there is of this cell; else nil
	Measured  bool                  // the cost of the driver is measured, and no scenario done
	Repeat    int                   // how often each scenario is done; 0: once
}

// foresee takes over what the profile expects of the cell, whose kernel is of that entry.
func (c *Cell) foresee(p matrix.Profile, kernel string) {
	names := make([]string, len(c.Scenarios))
	for i, s := range c.Scenarios {
		names[i] = s.Name
	}
	c.Expect, c.Foresees = p.Expected(kernel, c.Driver.Name), p.Foreseen(kernel, c.Driver.Name, names)
}

// Label is how people name the cell.
func (c *Cell) Label() (kernel, driver string) {
	if c.Resolved == nil {
		return c.Kernel.Name, c.Driver.Name
	}
	k := c.Resolved.Kernel
	if k.BuildID != "" {
		return k.Distro + ":" + k.BuildID, c.Driver.Name
	}
	return k.Distro + ":" + k.Release, c.Driver.Name
}

// Measure makes the cell one of the perf lane.
func (c *Cell) Measure() { c.Measured, c.Scenarios, c.Unable = true, nil, nil }

// Plan is the cells of a run, in the order of the matrix.
type Plan struct {
	Profile string
	Image   matrix.Packages // what containers are made of
	Cells   []*Cell
}

// Found is a kernel that was looked for, and what is known against it.
type Found struct {
	*kernels.Resolved
	Policies   []kernels.Policy // what it refuses, by variant
	Unbootable string           // why it cannot boot in QEMU, whoever brings its packages
	Err        error            // why its packages cannot be had; carries a finding
}

// Resolver finds the kernels that the matrix names, and the packages of drivers.
type Resolver interface {
	// Kernels finds those of an entry, the newest first, at most latest of them; 0 means all.
	Kernels(ctx context.Context, e matrix.Kernel, latest int) ([]Found, error)
	// Named finds kernels of the catalogue by `distro:release`, with globs, whatever the matrix has.
	Named(ctx context.Context, selector string) ([]Found, error)
	// Find is the newest package of that name in suites.
	Find(ctx context.Context, suites []string, name string) (kernels.Package, error)
	// Config is the configuration of a kernel whose packages are held; nil where it would have to be fetched.
	Config(ctx context.Context, r *kernels.Resolved) *kernels.Config
}

// UsageError is a selection that names nothing: exit code 2.
type UsageError struct{ Msg string }

func (e *UsageError) Error() string { return e.Msg }

func usagef(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// selection is the name of a run that flags alone chose.
const selection = "selection"

// Default is the profile that a selection without one means.
const Default = "quick"

// MakePlan resolves what sel selects of m. Kernels are looked up through r, each entry once; an entry that cannot
// be resolved becomes cells that carry the error, so that one mirror's trouble does not hide the others' verdicts.
// A selection that comes to nothing is a [*UsageError]: a run of nothing proves nothing.
func MakePlan(ctx context.Context, m *matrix.Matrix, sel Selection, cat *scenarios.Catalog, r Resolver) (*Plan, error) {
	prof, err := profile(m, sel)
	if err != nil {
		return nil, err
	}
	if len(sel.Suites) > 0 && len(sel.Beside) > 0 {
		return nil, usagef("--suite takes the place of all scenarios, those of --scenarios-dir too (%s): give one of the two flags", strings.Join(sel.Beside, ", "))
	}
	prof.Scenarios = slices.Clone(prof.Scenarios)
	if i := slices.IndexFunc(prof.Scenarios, func(s matrix.Str) bool { return s.V == matrix.AllScenarios }); i >= 0 {
		at := prof.Scenarios[i]
		prof.Scenarios = nil
		for _, name := range cat.Names() {
			if !slices.Contains(sel.Beside, name) {
				prof.Scenarios = append(prof.Scenarios, matrix.Str{V: name, Pos: at.Pos})
			}
		}
	}
	for _, name := range sel.Beside {
		prof.Scenarios = append(prof.Scenarios, matrix.Str{V: name})
	}
	for _, g := range slices.Concat(sel.Kernels, sel.Drivers, sel.Scenarios) {
		if _, err := path.Match(g, ""); err != nil {
			return nil, usagef("%q is not a pattern (shell globs: * ? [a-z])", g)
		}
	}
	drivers, err := pickDrivers(m, prof, sel.Drivers)
	if err != nil {
		return nil, err
	}
	scens, err := pickScenarios(cat, prof, sel)
	if err != nil {
		return nil, err
	}
	image, _ := m.Images.Get(prof.Image.V)
	plan := &Plan{Profile: prof.Name, Image: image}
	crews := make([]crew, len(drivers))
	entries := make([]found, len(prof.Kernels))
	// Each look-up may have to read an index of 60 MB: they go side by side.
	var g errgroup.Group
	for i, d := range drivers {
		g.Go(func() (err error) {
			crews[i], err = muster(ctx, m, d, scens, r)
			return err
		})
	}
	for i, name := range prof.Kernels {
		g.Go(func() error {
			entries[i].entry, _ = m.Kernels.Get(name.V)
			entries[i].kernels, entries[i].err = resolve(ctx, entries[i].entry, prof.Name == selection, sel, r)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, selector := range unmatched(sel.Kernels, entries) {
		if slices.ContainsFunc(prof.Logs, func(l matrix.Log) bool { return selected([]string{selector}, matrix.Kernel{}, builtFor(l)) }) {
			continue
		}
		if prof.Name == selection {
			f := found{entry: matrix.Kernel{Name: selector}}
			f.kernels, f.err = r.Named(ctx, selector)
			entries = append(entries, f)
			continue
		}
		// One that an entry out of reach might have met is that entry's error and not a bad call.
		if !slices.ContainsFunc(entries, func(f found) bool { return f.err != nil }) {
			return nil, usagef("--kernel %s matches no kernel of profile %s, which has %s", selector, prof.Name, strings.Join(releases(entries), ", "))
		}
	}
	known := newConfigs(ctx, r, scens)
	if err := hopeless(scens, entries, known); err != nil {
		return nil, err
	}
	for _, f := range entries {
		if f.err != nil {
			for _, w := range crews {
				w.Err = f.err
				w.foresee(prof, f.entry.Name)
				plan.add(f.entry, nil, w)
			}
			continue
		}
		for _, k := range f.kernels {
			if !selected(sel.Kernels, f.entry, k.Kernel) {
				continue
			}
			for _, w := range crews {
				if k.Err != nil {
					w.Err = k.Err
				}
				w.Denied = denied(k, w.Driver)
				w.Unable = unableOn(w.Scenarios, k.Kernel, known.of(k.Resolved), w.Unable)
				w.foresee(prof, f.entry.Name)
				w.Allow = allowances(m.Allowed, f.entry, k.Resolved, w.Driver.Name)
				plan.add(f.entry, k.Resolved, w)
			}
		}
	}
	plan.addLogs(prof, sel)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(plan.Cells) == 0 {
		return nil, usagef("profile %s has no kernel that --kernel %s names; it has %s", prof.Name, strings.Join(sel.Kernels, ","), strings.Join(releases(entries), ", "))
	}
	return plan, nil
}

// releases names the kernels that were found, for a message.
func releases(entries []found) []string {
	var out []string
	for _, f := range entries {
		for _, k := range f.kernels {
			out = append(out, k.Kernel.Distro+":"+k.Kernel.Release)
		}
	}
	return out
}

// profile picks the profile; --kernel with --driver together need none and then search the whole matrix.
func profile(m *matrix.Matrix, sel Selection) (matrix.Profile, error) {
	if sel.Profile != "" || len(sel.Kernels) == 0 || len(sel.Drivers) == 0 {
		name := sel.Profile
		if name == "" {
			name = Default
		}
		p, ok := m.Profiles.Get(name)
		if !ok {
			return p, usagef("unknown profile %q%s (known: %s)", name, nearest.Hint(name, m.Profiles.Keys()), strings.Join(m.Profiles.Keys(), ", "))
		}
		return p, nil
	}
	p := matrix.Profile{Name: selection}
	for _, e := range m.Kernels {
		p.Kernels = append(p.Kernels, e.Key)
	}
	for _, e := range m.Drivers {
		if e.Value.Runs() { // else it is built only
			p.Drivers = append(p.Drivers, e.Key)
		}
	}
	for _, e := range m.Profiles {
		for _, s := range e.Value.Scenarios {
			if !slices.ContainsFunc(p.Scenarios, func(x matrix.Str) bool { return x.V == s.V }) {
				p.Scenarios = append(p.Scenarios, s)
			}
		}
	}
	if len(m.Images) > 0 {
		p.Image = m.Images[0].Key
	}
	return p, nil
}

func pickDrivers(m *matrix.Matrix, prof matrix.Profile, globs []string) ([]matrix.Driver, error) {
	var out []matrix.Driver
	var names []string
	for _, s := range prof.Drivers {
		names = append(names, s.V)
		if d, _ := m.Drivers.Get(s.V); matches(globs, s.V) {
			out = append(out, d)
		}
	}
	for _, l := range prof.Logs {
		names = append(names, l.Name.V)
	}
	return out, idle("driver", globs, names, prof)
}

func pickScenarios(cat *scenarios.Catalog, prof matrix.Profile, sel Selection) ([]scenarios.Scenario, error) {
	globs, own := sel.Scenarios, prof.Scenarios
	out, names, err := suites(sel, prof)
	if err != nil {
		return nil, err
	}
	// Of two records by one name a reader cannot tell which of them an attack's proof is.
	for _, name := range names {
		if _, err := cat.Get(name); err == nil {
			return nil, usagef("a test of a suite comes to the name %s, which a scenario has; rename the suite's file or the test", name)
		}
	}
	if len(sel.Suites) > 0 {
		own = nil
	}
	for _, s := range own {
		names = append(names, s.V)
		if !matches(globs, s.V) {
			continue
		}
		sc, err := cat.Get(s.V)
		if err != nil {
			return nil, s.Errorf("%v", err)
		}
		out = append(out, sc)
	}
	return out, idle("scenario", globs, names, prof)
}

// idle is the usage error of a glob that fits none of names: left in silence, what it was meant to name would never be
// tested, and nobody told.
func idle(what string, globs, names []string, prof matrix.Profile) error {
	for _, g := range globs {
		if !slices.ContainsFunc(names, func(n string) bool { return matches([]string{g}, n) }) {
			return usagef("--%s %s matches no %s of profile %s%s (known: %s)", what, g, what, prof.Name, nearest.Hint(g, names), strings.Join(names, ", "))
		}
	}
	return nil
}

// matches reports whether name fits one of globs; no globs, or "all", fit everything.
func matches(globs []string, name string) bool {
	return len(globs) == 0 || slices.ContainsFunc(globs, func(g string) bool {
		ok, _ := path.Match(g, name)
		return ok || g == "all"
	})
}

// resolve finds the kernels of an entry. Where no profile narrows the search, all that its suites hold come into view:
// who names a kernel must get that kernel, not the newest beside it.
func resolve(ctx context.Context, e matrix.Kernel, wide bool, sel Selection, r Resolver) ([]Found, error) {
	latest := e.Latest
	if wide && !slices.ContainsFunc(sel.Kernels, func(g string) bool { return matches([]string{g}, e.Name) }) {
		latest = 0
	}
	return r.Kernels(ctx, e, latest)
}

// selected reports whether a kernel fits one of the globs, each `[distro:]release` or the name of a matrix entry.
func selected(globs []string, e matrix.Kernel, k kernels.Kernel) bool {
	return matches(globs, e.Name) || matches(globs, k.Release) || matches(globs, k.Distro+":"+k.Release)
}

// found is what a matrix entry came to.
type found struct {
	entry   matrix.Kernel
	kernels []Found
	err     error
}

// unmatched are the selectors that fit no kernel of the matrix: the catalogue may have them. An entry that could not be
// resolved fits a selector that names it.
func unmatched(selectors []string, entries []found) []string {
	return slices.DeleteFunc(slices.Clone(selectors), func(s string) bool {
		return slices.ContainsFunc(entries, func(f found) bool {
			return matches([]string{s}, f.entry.Name) || slices.ContainsFunc(f.kernels, func(k Found) bool { return selected([]string{s}, f.entry, k.Kernel) })
		})
	})
}

// denied says why a driver cannot be judged on a kernel, or nil.
func denied(k Found, d matrix.Driver) *cause.Err {
	unsupported := func(c cause.Cause, reason string) *cause.Err {
		return &cause.Err{
			Finding: cause.Finding{State: cause.Unsupported, Cause: c, Fault: cause.FaultKernel},
			What:    reason,
		}
	}
	for _, p := range k.Policies {
		if p.Variant == d.Variant.V {
			return unsupported(p.Cause, p.Reason)
		}
	}
	if k.Unbootable != "" {
		return unsupported(cause.NotBootable, k.Unbootable)
	}
	return nil
}

// crew is what a cell has whatever its kernel.
type crew = Cell

// ofItsConsumer is the version of a driver that a consumer brings along, which only the consumer knows: the note of the stage
// events has the consumer's.
const ofItsConsumer = "its consumer's"

// muster finds a driver's source and compiles the rules for its consumer. A source or a consumer that cannot be had is the
// error of its cells; rules that cannot be read are the matrix's.
func muster(ctx context.Context, m *matrix.Matrix, d matrix.Driver, scens []scenarios.Scenario, r Resolver) (crew, error) {
	if d.Until.V != "" {
		scens = nil
	}
	w := crew{Driver: d, Scenarios: scens}
	w.Consumer, _ = m.Consumers.Get(d.Consumer.V)
	set, err := scenarios.Rules(matrix.Values(w.Consumer.Rules)...)
	if err != nil {
		return w, err
	}
	words, err := vocabularyOf(ctx, m, w.Consumer, r)
	if err != nil {
		w.Err = err
	} else if w.Rules, w.Unable, err = rulesFor(scens, set, words.under(d)); err != nil {
		return w, err
	} else if d.Variant.V == matrix.Ptrace {
		unableTraced(scens, w.Unable)
	}
	switch {
	case d.Source.Builtin.V == matrix.Embedded:
		w.Version = ofItsConsumer
		return w, nil
	case d.Source.Package.V == "":
		w.Version = bpf.Digest()
		return w, nil
	}
	if w.Source, err = r.Find(ctx, []string{d.Source.Suite.V}, d.Source.Package.V); err != nil {
		w.Err = err
		return w, nil
	}
	// Debian's version is the upstream's with the packaging's revision behind the last hyphen.
	w.Version = w.Source.Version
	if i := strings.LastIndex(w.Version, "-"); i > 0 {
		w.Version = w.Version[:i]
	}
	return w, nil
}

var unsafe = regexp.MustCompile(`[^A-Za-z0-9._+~-]+|\.\.+`)

func (p *Plan) add(e matrix.Kernel, k *kernels.Resolved, w crew) {
	// What could not be resolved has no release to be called by; a selector may hold what a file's name must not.
	w.ID, w.Kernel, w.Resolved = unsafe.ReplaceAllString(e.Name, "_")+"--"+w.Driver.Name, e, k
	if k != nil {
		w.ID = results.CellID(results.Kernel(k.Kernel), w.Driver.Name)
	}
	if slices.ContainsFunc(p.Cells, func(c *Cell) bool { return c.ID == w.ID }) {
		return // two entries of the matrix can name the same kernel; it is judged once
	}
	p.Cells = append(p.Cells, &w)
}
