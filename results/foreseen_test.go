// SPDX-License-Identifier: Apache-2.0

package results

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// A fault that is foreseen in a scenario excuses itself and nothing else, and is never taken for a pass.
func TestForeseenFaults(t *testing.T) {
	silent := func(lines ...string) cause.Finding {
		return finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, lines...)
	}
	good := cause.Finding{State: cause.Pass}
	cell := func(stage cause.Finding, scenarios map[string]cause.Finding) Cell {
		c := sampleCell("6.1", "pass")
		c.Scenarios, c.Declared.Scenarios = nil, nil
		for _, name := range []string{"known", "other"} {
			f := scenarios[name]
			s := Scenario{Name: name, Rule: "r", Finding: f}
			if f.State == cause.Pass {
				s.Fired = 1
			}
			c.Scenarios, c.Declared.Scenarios = append(c.Scenarios, s), append(c.Declared.Scenarios, name)
		}
		for i := range c.Stages {
			if c.Stages[i].Name == StageScenarios {
				c.Stages[i].Finding = stage
			}
		}
		c.Foresees = []Foreseen{{Scenario: "known", Expect: Expect{State: cause.Fail, Cause: cause.RuleSilent}}}
		return c
	}
	for _, tt := range []struct {
		name  string
		cell  Cell
		want  int
		state cause.State
	}{
		{"as foreseen", cell(silent("known"), map[string]cause.Finding{"known": silent("known"), "other": good}), ExitExpected, cause.Fail},
		{"it is there no more", cell(good, map[string]cause.Finding{"known": good, "other": good}), ExitFellShort, cause.Pass},
		{"of another cause", cell(silent("x"), map[string]cause.Finding{"known": finding(cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, "x"), "other": good}), ExitFellShort, cause.Fail},
		{"another beside it", cell(silent("known"), map[string]cause.Finding{"known": silent("known"), "other": silent("other")}), ExitFellShort, cause.Fail},
		{"no verdict on it", cell(good, map[string]cause.Finding{"known": finding(cause.Error, cause.NoEvents, cause.FaultHarness, "x"), "other": good}), ExitLacking, cause.Error},
		{"no verdict beside it", cell(silent("known"), map[string]cause.Finding{"known": silent("known"), "other": finding(cause.Error, cause.NoEvents, cause.FaultHarness, "x")}), ExitLacking, cause.Fail},
		{"the stage fell by something else", cell(finding(cause.Fail, cause.KernelPanic, cause.FaultDriver, "x"), map[string]cause.Finding{"known": silent("known"), "other": good}), ExitFellShort, cause.Fail},
		{"unsupported", cell(good, map[string]cause.Finding{"known": finding(cause.Unsupported, cause.KernelLacks, cause.FaultKernel, "x"), "other": good}), ExitFellShort, cause.Unsupported},
	} {
		r := Run{Cells: []Cell{tt.cell}}
		if got := ExitCode(r); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.want)
		}
		if got := r.Settled().Cells[0].State; got != tt.state {
			t.Errorf("%s: the cell is %s, want %s", tt.name, got, tt.state)
		}
	}
	known := cell(silent("known"), map[string]cause.Finding{"known": silent("known"), "other": good}).Settled()
	if p := known.Problems(); len(p) != 1 || !strings.HasPrefix(p[0].Where, "scenario known (a fault that the matrix foresees)") {
		t.Errorf("it is told as %+v", p)
	}
	for scenario, short := range map[string]bool{"known": false, "other": true} {
		at := known
		at.Disagreements = []Disagreement{{Scenario: scenario, Finding: finding(cause.Fail, cause.VariantDisagreement, cause.FaultDriver, "x")}}
		if at.FellShort() != short {
			t.Errorf("it disagrees in %s: fell short %v", scenario, !short)
		}
	}
	if known.Known("other") || !known.Known("known") {
		t.Error("another scenario is known")
	}
}
