// SPDX-License-Identifier: Apache-2.0

package results

import (
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Problem is one thing of a settled cell that did not pass.
type Problem struct {
	Where string // "stage build", "scenario drop-and-execute"
	cause.Finding
	Next string // what to do next
}

// Problems lists what did not pass, in the order in which it happened. The stage scenarios is left out where
// a scenario already tells the same.
func (c Cell) Problems() []Problem {
	var out []Problem
	told := make(map[cause.Cause]bool)
	add := func(where string, f cause.Finding, hint string) {
		if f.State != cause.Pass {
			out = append(out, Problem{Where: where, Finding: f, Next: next(f, hint)})
		}
	}
	scenarios := func() {
		for _, s := range c.Scenarios {
			where := "scenario " + s.Name
			if c.Known(s.Name) {
				where += " (a fault that the matrix foresees)"
			}
			add(where, s.Finding, s.Hint)
			told[s.Cause] = true
		}
	}
	done := false
	for _, s := range c.Stages {
		if s.Name == StageScenarios {
			scenarios()
			done = true
			if told[s.Cause] {
				continue
			}
		}
		add("stage "+s.Name, s.Finding, s.Hint)
	}
	if !done {
		scenarios()
	}
	for _, d := range c.Disagreements {
		if !d.Foreseen {
			add("agreement in "+d.Scenario+" with "+d.With, d.Finding, "")
		}
	}
	if len(out) == 0 {
		add("record", c.Finding, "")
	}
	return gather(out)
}

// gather makes one problem of all that is missing for the same reason: a cell that was never begun has one thing the
// matter with it, not ten.
func gather(in []Problem) []Problem {
	var out []Problem
	first := map[string]int{}
	for _, p := range in {
		if p.State != cause.Missing || len(p.Evidence) == 0 {
			out = append(out, p)
			continue
		}
		// "stage boot was declared and never recorded" differs by the name alone.
		why := strings.ReplaceAll(p.Evidence[0].Text, p.Where, "")
		if i, ok := first[why]; ok {
			out[i].Where += ", " + p.Where
			continue
		}
		first[why] = len(out)
		out = append(out, p)
	}
	return out
}

// matrix is the grid of a run: kernels down, drivers across, in the order of the plan.
type matrix struct {
	Drivers []string
	Rows    []matrixRow
}

type matrixRow struct {
	Kernel string
	Cells  []*Cell // one for each driver; nil: the plan has no such cell
}

func matrixOf(r Run) matrix {
	var m matrix
	column := make(map[string]int)
	row := make(map[string]int)
	for _, c := range r.Cells {
		if _, ok := column[c.Driver.Name]; !ok {
			column[c.Driver.Name] = len(m.Drivers)
			m.Drivers = append(m.Drivers, c.Driver.Name)
		}
	}
	for i, c := range r.Cells {
		k := c.Kernel.String()
		if _, ok := row[k]; !ok {
			row[k] = len(m.Rows)
			m.Rows = append(m.Rows, matrixRow{Kernel: k, Cells: make([]*Cell, len(m.Drivers))})
		}
		m.Rows[row[k]].Cells[column[c.Driver.Name]] = &r.Cells[i]
	}
	return m
}

// first is the first line of evidence, or says that there is none.
func (p Problem) first() string { return p.lead()[0] }

// lead is the evidence that a short form shows: the first line, which says what happened, and the first that
// names a file, which proves it.
func (p Problem) lead() []string {
	if len(p.Evidence) == 0 {
		return []string{"(no evidence was recorded)"}
	}
	out := []string{Line(p.Evidence[0].String())}
	for _, e := range p.Evidence[1:] {
		if e.File != "" {
			return append(out, Line(e.String()))
		}
	}
	return out
}

// upper makes a state that must not be overlooked loud, for renderers without colour.
func upper(s cause.State) string {
	if s == cause.Fail || s == cause.Error || s == cause.Missing {
		return strings.ToUpper(string(s))
	}
	return string(s)
}
