// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/json"
	"io"

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
// cell, in their order. A scenario of mews's own has a successful match if it passed, its twin silent; what was not judged
// has none.
func RenderEventGenerator(w io.Writer, run Run) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	for _, c := range run.Cells {
		var order []string
		reports := map[string]*suiteReport{}
		for _, s := range c.Scenarios {
			name, t := ownSuite, testReport{Test: s.Name}
			if s.State == cause.Pass {
				t.Matches = s.Fired
			}
			if s.Suite != nil {
				name = s.Suite.Suite
				t = testReport{Test: s.Suite.Test, Case: s.Suite.Case, Matches: s.Suite.Matches}
				for _, w := range s.Suite.Warnings {
					t.Warnings = append(t.Warnings, alertReport{w})
				}
				if s.State != cause.Pass {
					t.Matches = 0 // an alert that was seen while others were lost, or of a deed that was not done, proves nothing
				}
			}
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
