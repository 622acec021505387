// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/json"
	"io"
	"slices"

	"github.com/mews-farm/mews/results/cause"
)

// suiteReport is the report of event-generator's `suite test --report-format json`, with the cell that it is of.
type suiteReport struct {
	Suite string       `json:"suite"`
	Cell  string       `json:"cell"`
	Tests []testReport `json:"testReports"`
}

type testReport struct {
	Test     string            `json:"test"`
	Case     map[string]string `json:"originatingTestCase,omitempty"`
	Matches  int               `json:"successfulMatches"`
	Warnings []alertReport     `json:"generatedWarnings,omitempty"`
}

type alertReport struct {
	Fields []FieldWarning `json:"fieldWarnings"`
}

// ownSuite is the name of the suite that mews's own scenarios are reported under.
const ownSuite = "mews"

// RenderEventGenerator writes the run as event-generator reports its suites: one JSON document for each suite of each
// cell, in their order. A scenario of mews's own has a successful match if it passed, its twin silent; what was not judged,
// or never done, has none.
func RenderEventGenerator(w io.Writer, run Run) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	for _, c := range run.Cells {
		var order []string
		reports := map[string]*suiteReport{}
		for _, s := range c.allScenarios() {
			name, t := c.testReport(s)
			if reports[name] == nil {
				order, reports[name] = append(order, name), &suiteReport{Suite: name, Cell: c.ID, Tests: []testReport{}}
			}
			reports[name].Tests = append(reports[name].Tests, t)
		}
		for _, name := range order {
			if err := enc.Encode(reports[name]); err != nil {
				return err
			}
		}
	}
	return nil
}

// allScenarios are those that were declared, one without a record as it would be of nothing seen, and then the others: a
// report that leaves out what a lost guest never came to reads as if all were well.
func (c Cell) allScenarios() []Scenario {
	var out []Scenario
	for _, name := range c.Declared.Scenarios {
		s, ok := c.Scenario(name)
		if !ok {
			s = Scenario{Name: name, Finding: NotRecorded()}
		}
		out = append(out, s)
	}
	for _, s := range c.Scenarios {
		if !slices.Contains(c.Declared.Scenarios, s.Name) {
			out = append(out, s)
		}
	}
	return out
}

// testReport is what is told of a scenario, and the name of the suite that it is told under.
func (c Cell) testReport(s Scenario) (suite string, t testReport) {
	is := func(d DeclaredTest) bool { return d.Scenario == s.Name }
	switch i := slices.IndexFunc(c.Declared.Tests, is); {
	case s.Suite != nil:
		suite, t = s.Suite.Suite, testReport{Test: s.Suite.Test, Case: s.Suite.Case, Matches: s.Suite.Matches}
		for _, w := range s.Suite.Warnings {
			t.Warnings = append(t.Warnings, alertReport{w})
		}
	case i >= 0: // it is missing, and what it is of stands in the plan alone
		d := c.Declared.Tests[i]
		suite, t = d.Suite, testReport{Test: d.Test, Case: d.Case}
	default:
		suite, t = ownSuite, testReport{Test: s.Name, Matches: s.Fired}
	}
	if s.State != cause.Pass {
		t.Matches = 0 // an alert that was seen while others were lost, or of a deed that was not done, proves nothing
	}
	return suite, t
}
