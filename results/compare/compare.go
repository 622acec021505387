// SPDX-License-Identifier: Apache-2.0

// Package compare knows what became of a run's verdicts and costs in a later run.
//
// What passed and does not any more is a regression; what had a verdict and has none is lacking: nobody can say that it is
// still well. Times are told and never held against anybody, since they are the host's too.
package compare

import (
	"slices"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/drift"
)

// Became is what became of a verdict.
type Became string

// What can become of one.
const (
	Same       Became = "same"
	Better     Became = "better"
	Changed    Became = "changed" // neither better nor worse: another cause, or what the matrix foresees now
	Regression Became = "regression"
	Lacking    Became = "lacking"
	New        Became = "new"
)

// Verdict is what became of the verdict on one stage or scenario, or on a whole cell.
type Verdict struct {
	Kernel string      `json:"kernel"`
	Driver string      `json:"driver"`
	What   string      `json:"what"`
	Before cause.State `json:"before,omitempty"` // empty: not judged
	After  cause.State `json:"after,omitempty"`
	Became Became      `json:"became"`
	Cause  cause.Cause `json:"cause,omitempty"` // of what is now
	Fault  cause.Fault `json:"fault,omitempty"`
	Why    string      `json:"why,omitempty"`
}

// Slower is a stage that takes much longer than it did.
type Slower struct {
	Kernel string  `json:"kernel"`
	Driver string  `json:"driver"`
	Stage  string  `json:"stage"`
	Before float64 `json:"before"` // seconds
	After  float64 `json:"after"`
}

// A stage is told of when it takes half as long again as before, and some seconds.
const (
	slowerBy   = 1.5
	slowerThan = 5.0
)

// Report is what became of a run.
type Report struct {
	Before   string         `json:"before"` // the earlier run's id
	After    string         `json:"after"`
	Verdicts []Verdict      `json:"verdicts"`
	Costs    []drift.Change `json:"costs"`
	Slower   []Slower       `json:"slower"`
	// Left is how many cells and scenarios of the earlier run the later one was not asked for.
	Left int `json:"left"`
}

// Runs compares two runs. With narrowed, what the later run did not plan is not its concern; otherwise it is lacking.
func Runs(before, after results.Run, narrowed bool) Report {
	before, after = before.Settled(), after.Settled()
	r := Report{Before: before.ID, After: after.ID, Verdicts: []Verdict{}, Costs: []drift.Change{}, Slower: []Slower{}}
	measured := false
	for _, now := range after.Cells {
		measured = measured || slices.Contains(now.Declared.Stages, results.StagePerf)
		i := slices.IndexFunc(before.Cells, func(c results.Cell) bool { return c.ID == now.ID })
		if i < 0 {
			r.Verdicts = append(r.Verdicts, verdict(now, wholeCell, nil, &now.Finding))
			continue
		}
		r.cell(before.Cells[i], now, narrowed)
	}
	var common []results.Cell
	for _, c := range before.Cells {
		switch {
		case slices.ContainsFunc(after.Cells, func(now results.Cell) bool { return now.ID == c.ID }):
			common = append(common, c)
		case narrowed:
			r.Left++
		default:
			r.Verdicts = append(r.Verdicts, verdict(c, wholeCell, &c.Finding, nil))
		}
	}
	if measured {
		if narrowed {
			before.Cells = common
		}
		r.Costs = append(r.Costs, drift.Runs(before, after)...)
	}
	return r
}

// wholeCell is what a verdict is called that is on all of a cell.
const wholeCell = "the cell"

// cell compares what was judged in one cell.
func (r *Report) cell(before, now results.Cell, narrowed bool) {
	was, is := judged(before), judged(now)
	explained := false
	for _, w := range was {
		i := slices.IndexFunc(is, func(f judgement) bool { return f.what == w.what })
		if i < 0 {
			switch {
			case !w.declaredIn(now) && narrowed:
				r.Left++
			case !w.declaredIn(now):
				r.add(&explained, verdict(now, w.what, &w.Finding, nil))
			} // else the stage that ended the cell before it speaks for it
			continue
		}
		// The stage scenarios says of itself that some of them failed.
		if w.stage == results.StageScenarios && explained {
			continue
		}
		r.add(&explained, verdict(now, w.what, &w.Finding, &is[i].Finding))
	}
	for _, f := range is {
		if !slices.ContainsFunc(was, func(w judgement) bool { return w.what == f.what }) && f.declaredIn(now) && !f.declaredIn(before) {
			r.add(&explained, verdict(now, f.what, nil, &f.Finding))
		}
	}
	// What no stage or scenario explains: drivers that disagree, an expectation that is not met any more.
	if whole := verdict(now, wholeCell, &before.Finding, &now.Finding); !explained {
		if !before.FellShort() && now.FellShort() {
			whole.Became = Regression
		}
		if whole.Became == Regression || whole.Became == Lacking {
			r.Verdicts = append(r.Verdicts, whole)
		}
	}
	for _, s := range now.Stages {
		if old, ok := before.Stage(s.Name); ok && s.Seconds > slowerBy*old.Seconds && s.Seconds-old.Seconds > slowerThan {
			r.Slower = append(r.Slower, Slower{now.Kernel.String(), now.Driver.Name, s.Name, old.Seconds, s.Seconds})
		}
	}
}

func (r *Report) add(explained *bool, v Verdict) {
	r.Verdicts = append(r.Verdicts, v)
	*explained = *explained || v.Became == Regression || v.Became == Lacking
}

// judgement is a finding of a cell, by what it is on: a stage or a scenario.
type judgement struct {
	what, stage, scenario string
	cause.Finding
}

func (j judgement) declaredIn(c results.Cell) bool {
	return j.stage != "" && slices.Contains(c.Declared.Stages, j.stage) || j.scenario != "" && slices.Contains(c.Declared.Scenarios, j.scenario)
}

// judged lists the findings of a cell, the stage scenarios behind those that it sums up.
func judged(c results.Cell) []judgement {
	var out []judgement
	for _, s := range c.Scenarios {
		out = append(out, judgement{"scenario " + s.Name, "", s.Name, s.Finding})
	}
	for _, s := range c.Stages {
		out = append(out, judgement{"stage " + s.Name, s.Name, "", s.Finding})
	}
	return out
}

// verdict says what became of one; nil: not judged, then or now.
func verdict(c results.Cell, what string, before, after *cause.Finding) Verdict {
	v := Verdict{Kernel: c.Kernel.String(), Driver: c.Driver.Name, What: what, Became: Same}
	if before != nil {
		v.Before = before.State
	}
	if after != nil {
		v.After, v.Cause, v.Fault = after.State, after.Cause, after.Fault
		if len(after.Evidence) > 0 {
			v.Why = after.Evidence[0].String()
		}
	}
	foreseen := after != nil && c.Expect != nil && c.Expect.Met(*after)
	switch {
	case before == nil:
		v.Became = New
	case after == nil && !isVerdict(before.State):
		v.Became = Changed // there was none to lose
	case after == nil:
		v.Became, v.Why = Lacking, "it is not in the later run"
	case before.State == after.State && before.Cause == after.Cause:
		v.Became = Same
	case after.State == cause.Pass:
		v.Became = Better
	case isVerdict(before.State) && !isVerdict(after.State):
		v.Became = Lacking
	case before.State == cause.Pass && !foreseen:
		v.Became = Regression
	default:
		v.Became = Changed
	}
	return v
}

// isVerdict says whether a state is an answer.
func isVerdict(s cause.State) bool {
	return s == cause.Pass || s == cause.Fail || s == cause.Unsupported
}

// ExitCode is how the comparison ends: a regression before what is lacking. Runs that have nothing in common prove nothing.
func (r Report) ExitCode() int {
	code, compared := results.ExitExpected, len(r.Costs) > 0
	for _, v := range r.Verdicts {
		compared = compared || v.Became != New
		switch v.Became {
		case Regression:
			return results.ExitFellShort
		case Lacking:
			code = results.ExitLacking
		}
	}
	if !compared {
		code = results.ExitLacking
	}
	return Worse(code, drift.ExitCode(r.Costs))
}

// Worse is the exit code of two things that were looked at.
func Worse(a, b int) int {
	for _, code := range []int{results.ExitFellShort, results.ExitLacking} {
		if a == code || b == code {
			return code
		}
	}
	return results.ExitExpected
}
