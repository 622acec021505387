// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"path"
	"path/filepath"
	"slices"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Expectation is the verdict that a profile foresees for some of its cells. A driver that is known to be bad is expected to
// fail, and for the right reason: any other verdict falls short.
type Expectation struct {
	Driver Str `yaml:"driver,required"`
	Kernel Str `yaml:"kernel"` // an entry of kernels; none: every kernel of the profile
	// Scenario is a glob over the profile's scenarios, whose fault each is known to have; none: it is about the cell.
	Scenario Str `yaml:"scenario"`
	State    Str `yaml:"state,required"`
	Cause    Str `yaml:"cause"` // none: any
	// Evidence is what a line of the evidence must hold; none: any.
	Evidence Str `yaml:"evidence"`
}

// verdict is the expectation as a record has it.
func (e Expectation) verdict() results.Expect {
	return results.Expect{State: cause.State(e.State.V), Cause: cause.Cause(e.Cause.V), Evidence: e.Evidence.V}
}

// Expected is what the profile foresees for a cell, or nil.
func (p Profile) Expected(kernel, driver string) *results.Expect {
	for _, e := range p.Expect {
		if e.Scenario.V == "" && e.of(kernel, driver) {
			v := e.verdict()
			return &v
		}
	}
	return nil
}

// of says whether it is about a cell, or a scenario of it.
func (e Expectation) of(kernel, driver string) bool {
	return e.Driver.V == driver && (e.Kernel.V == "" || e.Kernel.V == kernel)
}

// Foreseen is what the profile foresees for those of a cell's scenarios that it names; of two for one scenario the first.
func (p Profile) Foreseen(kernel, driver string, scenarios []string) []results.Foreseen {
	var out []results.Foreseen
	for _, name := range scenarios {
		i := slices.IndexFunc(p.Expect, func(e Expectation) bool {
			fits, _ := path.Match(e.Scenario.V, name) // the pattern was checked
			return e.Scenario.V != "" && fits && e.of(kernel, driver)
		})
		if i >= 0 {
			out = append(out, results.Foreseen{Scenario: name, Expect: p.Expect[i].verdict()})
		}
	}
	return out
}

// expectations checks those of a profile: each must be of cells that it has, and be one that a verdict can meet.
func (c *checker) expectations(p Profile) {
	for i, e := range p.Expect {
		c.oneOf("driver of this profile", e.Driver, Values(p.Drivers))
		if e.Kernel.V != "" {
			c.oneOf("kernel of this profile", e.Kernel, Values(p.Kernels))
		}
		if err := e.verdict().Check(); err != nil {
			c.errorf(e.State, "%v", err)
		}
		if e.Scenario.V != "" {
			c.foreseen(p, e)
		}
		if e.Cause.V != "" {
			c.oneOf("cause", e.Cause, causes())
		}
		if slices.ContainsFunc(p.Expect[:i], func(o Expectation) bool {
			return o.Driver.V == e.Driver.V && o.Scenario.V == e.Scenario.V && (o.Kernel.V == e.Kernel.V || o.Kernel.V == "")
		}) {
			c.errorf(e.Driver, "what is expected of %s was said before", e.Driver.V)
		}
	}
}

// foreseen checks the fault that is foreseen in scenarios: it must be one, and of scenarios that the profile has.
func (c *checker) foreseen(p Profile, e Expectation) {
	if e.State.V != string(cause.Fail) || e.Cause.V == "" {
		c.errorf(e.State, "of a scenario a fault can be foreseen: state fail, with its cause")
	}
	names := Values(p.Scenarios)
	if slices.Contains(names, AllScenarios) {
		names = c.voc.Scenarios
	}
	if _, err := path.Match(e.Scenario.V, ""); err != nil {
		c.errorf(e.Scenario, "%q is no pattern (shell globs: * ? [a-z])", e.Scenario.V)
	} else if !slices.ContainsFunc(names, func(n string) bool { fits, _ := path.Match(e.Scenario.V, n); return fits }) {
		c.errorf(e.Scenario, "%q is no scenario of this profile%s", e.Scenario.V, nearest.Hint(e.Scenario.V, names))
	}
}

func causes() []string {
	var out []string
	for _, c := range results.Causes() {
		out = append(out, string(c))
	}
	return out
}

// UntilBuild ends a cell when its driver is built, or is not. It needs no guest, and no consumer.
const UntilBuild = results.StageBuild

// Runs reports whether a cell of this driver can be judged: by a consumer, or by its build alone.
func (d Driver) Runs() bool { return d.Consumer.V != "" || d.Until.V == UntilBuild }

// UntilLoad ends a cell when its driver was loaded and unloaded again. What a probe that is relocated against the types of
// another kernel tells is of no meaning; that the verifier takes it is.
const UntilLoad = results.StageLoad

// locate makes the files that the matrix names relative to the file that names them.
func (m *Matrix) locate(dir string) {
	beside := func(s *Str) {
		if s.V != "" && !filepath.IsAbs(s.V) {
			s.V = filepath.Join(dir, s.V)
		}
	}
	for i := range m.Kernels {
		beside(&m.Kernels[i].Value.BTF)
	}
	for i := range m.Drivers {
		beside(&m.Drivers[i].Value.BTF)
	}
	for i := range m.Profiles {
		logs := m.Profiles[i].Value.Logs
		for j := range logs {
			beside(&logs[j].File)
		}
	}
	for i := range m.Consumers {
		files := m.Consumers[i].Value.Files
		for j := range files {
			beside(&files[j].From)
		}
	}
	for i := range m.Profiles {
		for j := range m.Profiles[i].Value.Suites {
			beside(&m.Profiles[i].Value.Suites[j])
		}
	}
}
