// SPDX-License-Identifier: Apache-2.0

package results

import (
	"slices"

	"github.com/mews-farm/mews/results/cause"
)

// Foreseen is the verdict that the matrix foresees for one scenario of a cell. A fault that is known stays one, and the cell
// is a fail for it: only the exit code says that nobody is surprised. Any other verdict, a pass too, falls short.
type Foreseen struct {
	Scenario string `json:"scenario"`
	Expect
}

// foreseen is what the matrix foresees for a scenario of the cell.
func (c Cell) foreseen(scenario string) (Foreseen, bool) {
	i := slices.IndexFunc(c.Foresees, func(f Foreseen) bool { return f.Scenario == scenario })
	if i < 0 {
		return Foreseen{}, false
	}
	return c.Foresees[i], true
}

// Known says whether the verdict on the scenario of that name is the fault that the matrix foresees.
func (c Cell) Known(scenario string) bool {
	f, ok := c.foreseen(scenario)
	s, recorded := c.Scenario(scenario)
	return ok && recorded && s.State == cause.Fail && f.Met(s.Finding)
}

// surprising says whether the verdict on a scenario is another than the one that the matrix foresees for it.
func (c Cell) surprising() bool {
	return slices.ContainsFunc(c.Scenarios, func(s Scenario) bool {
		f, ok := c.foreseen(s.Name)
		verdict := s.State == cause.Pass || s.State == cause.Fail || s.State == cause.Unsupported
		return ok && verdict && !f.Met(s.Finding)
	})
}

// known says whether the cell is a fail by a fault that the matrix foresees in a scenario. What else is the matter with it is for
// [Cell.besides] to say, but for a disagreement, which is no stage's.
func (c Cell) known() bool {
	return c.State == cause.Fail && c.Expect == nil &&
		slices.ContainsFunc(c.Foresees, func(f Foreseen) bool { return c.Known(f.Scenario) }) &&
		!slices.ContainsFunc(c.Disagreements, func(d Disagreement) bool { return !d.Foreseen && !c.Known(d.Scenario) })
}

// ofKnown says whether a stage failed by a scenario whose fault is known: that one's verdict is the stage's.
func (c Cell) ofKnown(s Stage) bool {
	return s.Name == StageScenarios && slices.ContainsFunc(c.Foresees, func(f Foreseen) bool { return c.Known(f.Scenario) && f.Met(s.Finding) })
}
