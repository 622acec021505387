// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

var (
	pass        = cause.Finding{State: cause.Pass}
	silent      = found(cause.Fail, cause.RuleSilent, cause.FaultDriver)
	complains   = found(cause.Fail, cause.KernelSplat, cause.FaultDriver)
	lost        = found(cause.Error, cause.AgentLost, cause.FaultInfra)
	cannot      = found(cause.Unsupported, cause.RuleUnsupported, cause.FaultDriver)
	notRecorded = results.NotRecorded(cause.Text("gone")...)
)

func found(s cause.State, c cause.Cause, f cause.Fault) cause.Finding {
	return cause.Finding{State: s, Cause: c, Fault: f, Evidence: cause.Text("because of " + string(c))}
}

// cell has the stages boot, load, scenarios and unload, and the scenario read, which came out as f.
func cell(driver string, f cause.Finding) results.Cell {
	k := results.Kernel{Distro: "debian", Release: "6.1.0", Arch: "x86_64"}
	c := results.Cell{
		ID: results.CellID(k, driver), Kernel: k, Driver: results.Driver{Name: driver},
		Declared: results.Declared{Stages: []string{results.StageBoot, results.StageLoad, results.StageScenarios, results.StageUnload}, Scenarios: []string{"read"}},
	}
	for _, s := range c.Declared.Stages {
		c.Stages = append(c.Stages, results.Stage{Name: s, Finding: pass, Seconds: 2})
	}
	sc := results.Scenario{Name: "read", Finding: f}
	if f.State == cause.Pass {
		sc.Fired = 1
	} else {
		c.Stages[2].Finding = f
	}
	c.Scenarios = []results.Scenario{sc}
	return c
}

// stopped ends the cell in a stage.
func stopped(c results.Cell, stage string, f cause.Finding) results.Cell {
	i := slices.IndexFunc(c.Stages, func(s results.Stage) bool { return s.Name == stage })
	c.Stages = slices.Clone(c.Stages[:i+1])
	c.Stages[i].Finding, c.Stages[i].Stops = f, true
	c.Scenarios = nil
	return c
}

func run(cells ...results.Cell) results.Run { return results.Run{ID: "r", Cells: cells} }

func with(c results.Cell, change func(*results.Cell)) results.Cell {
	c.Declared.Scenarios, c.Scenarios = slices.Clone(c.Declared.Scenarios), slices.Clone(c.Scenarios)
	change(&c)
	return c
}

func TestRuns(t *testing.T) {
	good := cell("d", pass)
	foreseen := func(f cause.Finding) results.Cell {
		return with(cell("d", f), func(c *results.Cell) { c.Expect = &results.Expect{State: cause.Fail, Cause: cause.RuleSilent} })
	}
	for _, c := range []struct {
		name          string
		before, after results.Run
		whole, narrow int    // exit codes
		what          string // the one that is worse or lacking; empty: none
	}{
		{"the same", run(good), run(good), 0, 0, ""},
		{"a rule that fired is silent", run(good), run(cell("d", silent)), 1, 1, "scenario read"},
		{"silent before", run(cell("d", silent)), run(cell("d", silent)), 0, 0, ""},
		{"silent before, another cause now", run(cell("d", silent)), run(cell("d", complains)), 0, 0, ""},
		{"fires again", run(cell("d", silent)), run(good), 0, 0, ""},
		{"possible before", run(good), run(cell("d", cannot)), 1, 1, "scenario read"},
		{"no verdict now", run(good), run(cell("d", lost)), 3, 3, "scenario read"},
		{"a fail before, no verdict now", run(cell("d", silent)), run(cell("d", lost)), 3, 3, "scenario read"},
		{"nothing recorded now", run(good), run(cell("d", notRecorded)), 3, 3, "scenario read"},
		{"no verdict then either", run(cell("d", lost)), run(cell("d", lost)), 0, 0, ""},
		{"it does not load any more", run(good), run(stopped(good, results.StageLoad, complains)), 1, 1, "stage load"},
		{"it does not boot: nobody's verdict", run(good), run(stopped(good, results.StageBoot, lost)), 3, 3, "stage boot"},
		{"the cell is not there", run(good, cell("e", pass)), run(good), 3, 0, wholeCell},
		{"only a new cell", run(cell("e", pass)), run(good), 3, 3, wholeCell},
		{"a new cell beside", run(good), run(good, stopped(cell("e", pass), results.StageLoad, complains)), 0, 0, ""},
		{"the scenario is not asked for", run(good), run(with(good, func(c *results.Cell) { c.Declared.Scenarios, c.Scenarios = nil, nil })), 3, 0, "scenario read"},
		{"what is foreseen now is no regression", run(good), run(foreseen(silent)), 0, 0, ""},
		{"what was foreseen before is not any more", run(foreseen(silent)), run(foreseen(complains)), 1, 1, wholeCell},
		{"nothing at all", run(), run(), 3, 3, ""},
	} {
		whole, narrow := Runs(c.before, c.after, false), Runs(c.before, c.after, true)
		if whole.ExitCode() != c.whole || narrow.ExitCode() != c.narrow {
			t.Errorf("%s: exit %d, narrowed %d, want %d and %d\n%+v", c.name, whole.ExitCode(), narrow.ExitCode(), c.whole, c.narrow, whole.Verdicts)
		}
		var worse []string
		for _, v := range whole.Verdicts {
			if v.Became == Regression || v.Became == Lacking {
				worse = append(worse, v.What)
			}
		}
		if c.what == "" && worse != nil || c.what != "" && !slices.Equal(worse, []string{c.what}) {
			t.Errorf("%s: worse are %q, want %q", c.name, worse, c.what)
		}
	}
}

// Drivers that disagree fail the cell by nothing that a stage or a scenario says.
func TestDisagreementIsARegression(t *testing.T) {
	a, b := cell("a", pass), cell("b", pass)
	differs := with(b, func(c *results.Cell) { c.Scenarios[0].Fields = map[string]string{"evt.type": "openat2"} })
	a.Scenarios[0].Fields = map[string]string{"evt.type": "openat"}
	b.Scenarios[0].Fields = a.Scenarios[0].Fields
	r := Runs(run(a, b), run(a, differs), false)
	if r.ExitCode() != results.ExitFellShort || !slices.ContainsFunc(r.Verdicts, func(v Verdict) bool { return v.What == wholeCell && v.Cause == cause.VariantDisagreement }) {
		t.Errorf("exit %d: %+v", r.ExitCode(), r.Verdicts)
	}
}

// Times are told, and held against nobody.
func TestSlowerIsNoRegression(t *testing.T) {
	good := cell("d", pass)
	slow := good
	slow.Stages = slices.Clone(good.Stages)
	slow.Stages[0].Seconds *= 100
	r := Runs(run(good), run(slow), false)
	if len(r.Slower) != 1 || r.Slower[0].Stage != results.StageBoot || r.ExitCode() != results.ExitExpected {
		t.Errorf("exit %d: %+v", r.ExitCode(), r.Slower)
	}
}

func measured(added float64) results.Cell {
	c := cell("d", pass)
	c.Declared.Stages = append(slices.Clone(c.Declared.Stages), results.StagePerf)
	c.Stages = append(slices.Clone(c.Stages), results.Stage{Name: results.StagePerf, Finding: pass})
	c.Perf = []results.Perf{results.MeasuredInsns("execve", results.SettingConsumer, []float64{1000 + added}, []float64{1000})}
	return c
}

// Costs are compared as mews perf compares them, by those who measure.
func TestCosts(t *testing.T) {
	other := measured(100)
	other.ID, other.Driver.Name = "another", "another"
	for _, c := range []struct {
		name          string
		before, after results.Run
		whole, narrow int
	}{
		{"the same", run(measured(100)), run(measured(100)), 0, 0},
		{"dearer", run(measured(100)), run(measured(200)), 1, 1},
		{"not measured any more", run(measured(100)), run(with(measured(100), func(c *results.Cell) { c.Perf = nil })), 3, 3},
		{"measured where nobody asked now", run(measured(100), other), run(measured(100)), 3, 0},
		{"a run that measures nothing", run(with(cell("d", pass), func(c *results.Cell) { c.Perf = measured(1).Perf })), run(cell("d", pass)), 0, 0},
	} {
		whole, narrow := Runs(c.before, c.after, false), Runs(c.before, c.after, true)
		if whole.ExitCode() != c.whole || narrow.ExitCode() != c.narrow {
			t.Errorf("%s: exit %d, narrowed %d, want %d and %d", c.name, whole.ExitCode(), narrow.ExitCode(), c.whole, c.narrow)
		}
	}
}

func TestRender(t *testing.T) {
	bad := cell("d\x1b[2J", silent)
	before := cell("d\x1b[2J", pass)
	before.ID = bad.ID
	var b bytes.Buffer
	if err := Runs(run(before, cell("e", pass)), run(bad), false).Render(&b, false); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"REGRESSION", "RULE_SILENT (driver): because of RULE_SILENT", "LACKING", "1 regression, 1 lacking, 0 changed"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") || strings.Contains(got, "stage boot") || strings.Index(got, "REGRESSION") > strings.Index(got, "LACKING") {
		t.Errorf("%s", got)
	}
}
