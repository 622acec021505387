// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

// suites are the scenarios of the suites that are asked for, or else of the profile's, as far as the globs take them; and
// the names of all of them.
func suites(sel Selection, prof matrix.Profile) (out []scenarios.Scenario, names []string, err error) {
	files := sel.Suites
	if len(files) == 0 {
		files = matrix.Values(prof.Suites)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, nil, usagef("suite %s: %v", file, err)
		}
		list, err := scenarios.OfSuite(filepath.ToSlash(file), data)
		if err != nil {
			return nil, nil, usagef("%v", err)
		}
		for _, s := range list {
			if slices.Contains(names, s.Name) {
				return nil, nil, usagef("suite %s: two tests come to the name %s; rename the file or the test", file, s.Name)
			}
			names = append(names, s.Name)
			if matches(sel.Scenarios, s.Name) {
				out = append(out, s)
			}
		}
	}
	return out, names, nil
}

// foreign says why a suite's test cannot be done or judged here: nil for one that can, and for mews's own scenarios, whose
// rule must be there.
func foreign(s scenarios.Scenario, r *rules.Rule, err error) *cause.Err {
	if s.Foreign == nil {
		return nil
	}
	why := s.Foreign.Test.Unsupported
	switch {
	case why != "":
	case err != nil:
		why = err.Error()
	case s.Expect.Priority != "" && !strings.EqualFold(s.Expect.Priority, r.Priority):
		why = fmt.Sprintf("it expects priority %q, and the rule here has %q", s.Expect.Priority, r.Priority)
	default:
		return nil
	}
	return &cause.Err{
		Finding: cause.Finding{State: cause.Unsupported, Cause: cause.SuiteUnsupported, Fault: cause.FaultHarness},
		What:    fmt.Sprintf("test %q of %s: %s", s.Foreign.Test.Name, s.Foreign.File, why),
	}
}

// suiteTest is the record of a suite's test beside the verdict; nil for mews's own scenarios.
func suiteTest(s scenarios.Scenario, o scenarios.Observation) *results.SuiteTest {
	if s.Foreign == nil {
		return nil
	}
	out := &results.SuiteTest{Suite: s.Foreign.File, Test: s.Foreign.Test.Name, Case: s.Foreign.Test.Case}
	for _, wrong := range scenarios.Compare(s, o) {
		if len(wrong) == 0 {
			out.Matches++
			continue
		}
		var w []results.FieldWarning
		for _, f := range wrong {
			w = append(w, results.FieldWarning(f))
		}
		out.Warnings = append(out.Warnings, w)
	}
	return out
}
