// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// timesOf are n times of a scenario that passed, the deed's id another each time.
func timesOf(n int) []Scenario {
	var out []Scenario
	for i := range n {
		s := passedScenario("drop-and-execute")
		s.DeedID = fmt.Sprintf("%012x", i)
		s.Fields = map[string]string{"evt.type": "execve", "proc.exepath": "/tmp/x-" + s.DeedID}
		out = append(out, s)
	}
	return out
}

// quieted is a time at which the rule was silent.
func quieted(s Scenario) Scenario {
	s.Fired, s.Fields = 0, nil
	s.Finding = cause.Finding{State: cause.Fail, Cause: cause.RuleSilent, Fault: cause.FaultDriver, Evidence: cause.Text("rule did not fire")}
	return s
}

func TestRepeat(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(times []Scenario)
		same  string
		want  cause.Finding
	}{
		{"all alike but for the id", func([]Scenario) {}, "20 of 20", cause.Finding{State: cause.Pass}},
		{"one silent", func(x []Scenario) { x[6] = quieted(x[6]) }, "19 of 20", cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra}},
		{"the first silent", func(x []Scenario) { x[0] = quieted(x[0]) }, "19 of 20", cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra}},
		{"one that passed alone", func(x []Scenario) {
			for i := range 19 {
				x[i] = quieted(x[i])
			}
		}, "19 of 20", cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra}},
		{"another path", func(x []Scenario) { x[3].Fields["proc.exepath"] = "/usr/bin/other" }, "19 of 20", cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra}},
		{"all silent", func(x []Scenario) {
			for i := range x {
				x[i] = quieted(x[i])
			}
		}, "20 of 20", cause.Finding{State: cause.Fail, Cause: cause.RuleSilent, Fault: cause.FaultDriver}},
	} {
		times := timesOf(20)
		c.spoil(times)
		s := Repeat(times)
		cell := sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
		cell.Declared.Repeat, cell.Declared.Scenarios, cell.Scenarios = 20, []string{s.Name}, []Scenario{s}
		settled := cell.Settled()
		got := settled.Scenarios[0]
		if got.State != c.want.State || got.Cause != c.want.Cause || got.Fault != c.want.Fault || got.Repeats.String() != c.same {
			t.Errorf("%s: %s %s %s, the same %s; want %v, %s", c.name, got.State, got.Cause, got.Fault, got.Repeats, c.want, c.same)
		}
		if settled.State != c.want.State {
			t.Errorf("%s: the cell is %s", c.name, settled.State)
		}
		if alike := c.same == "20 of 20"; alike != (len(got.Repeats.Outcomes) == 0) {
			t.Errorf("%s: outcomes %+v", c.name, got.Repeats.Outcomes)
		}
	}
}

// Both sides stay: what most times came to, what the others did, which times these were, and what proves it.
func TestRepeatKeepsBothSides(t *testing.T) {
	times := timesOf(20)
	times[6], times[11] = quieted(times[6]), quieted(times[11])
	s := Repeat(times)
	o := s.Repeats.Outcomes
	if len(o) != 2 || len(o[0].At) != 18 || !slices.Equal(o[1].At, []int{7, 12}) || o[0].Fields["evt.type"] != "execve" || o[1].Cause != cause.RuleSilent || o[1].DeedID != times[6].DeedID {
		t.Fatalf("outcomes %+v", o)
	}
	var text string
	for _, e := range s.Evidence {
		text += e.Text + "\n"
	}
	for _, want := range []string{"only 18 of 20 times", "18 times, first time 1: pass", "2 times, first time 7: fail RULE_SILENT", "rule did not fire", "evt.type=execve"} {
		if !strings.Contains(text, want) {
			t.Errorf("the evidence lacks %q:\n%s", want, text)
		}
	}
}

// A record that says less than was declared, or contradicts itself, is no pass.
func TestRepeatedPassIsHeldAgainstWhatWasDeclared(t *testing.T) {
	for _, c := range []struct {
		name    string
		repeats *Repeats
		want    cause.Cause
	}{
		{"as declared", &Repeats{Times: 20, Same: 20}, ""},
		{"done once", nil, cause.NotRecorded},
		{"cut short", &Repeats{Times: 19, Same: 19}, cause.NotRecorded},
		{"a pass that 19 came to", &Repeats{Times: 20, Same: 19}, cause.Internal},
	} {
		cell := sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
		cell.Declared.Repeat = 20
		for i := range cell.Scenarios {
			cell.Scenarios[i].Repeats = c.repeats
		}
		if got := cell.Settled(); got.Cause != c.want || (got.State == cause.Pass) != (c.want == "") {
			t.Errorf("%s: the cell is %s %s, want %q", c.name, got.State, got.Cause, c.want)
		}
	}
}

// Whoever reads a report sees how often, wherever he reads it.
func TestRepeatsAreShown(t *testing.T) {
	times := timesOf(20)
	steady := Repeat(timesOf(20))
	times[6] = quieted(times[6])
	shaky := Repeat(times)
	shaky.Name = "shaky"
	cell := sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
	cell.Declared.Repeat, cell.Declared.Scenarios, cell.Scenarios = 20, []string{steady.Name, shaky.Name}, []Scenario{steady, shaky}
	run := Run{ID: "r", Cells: []Cell{cell}}
	for name, render := range map[string]func(*bytes.Buffer) error{
		"table":   func(b *bytes.Buffer) error { return RenderTable(b, run, false) },
		"summary": func(b *bytes.Buffer) error { return RenderSummary(b, run) },
		"report":  func(b *bytes.Buffer) error { return RenderReport(b, run) },
		"junit":   func(b *bytes.Buffer) error { return RenderJUnit(b, run) },
	} {
		var b bytes.Buffer
		if err := render(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"20 of 20", "19 of 20", "FLAKE_SUSPECTED"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, b.String())
			}
		}
	}
	if code := ExitCode(run); code != ExitLacking {
		t.Errorf("exit code %d", code)
	}
}
