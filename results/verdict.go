// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"slices"

	"github.com/mews-farm/mews/results/cause"
)

// States lists the states, worst first. A cell is as bad as the worst thing recorded or lacking in it.
func States() []cause.State {
	return []cause.State{cause.Fail, cause.Error, cause.Missing, cause.Unsupported, cause.Skipped, cause.Pass}
}

// Letter is the state in one letter, so that no picture depends on colour alone.
func Letter(s cause.State) string {
	if slices.Contains(States(), s) {
		return string(s[0] - 'a' + 'A')
	}
	return "?"
}

// NotRecorded is the finding of everything that was declared and has no result.
func NotRecorded(evidence ...cause.Evidence) cause.Finding {
	return cause.Finding{State: cause.Missing, Cause: cause.NotRecorded, Fault: cause.FaultHarness, Evidence: evidence}
}

// Settled returns the run with every cell settled and counted.
func (r Run) Settled() Run {
	r.Schema = SchemaName
	r.Summary = Summary{}
	cells := make([]Cell, len(r.Cells))
	for i, c := range r.Cells {
		cells[i] = c.Settled()
	}
	disagree(cells)
	for i := range cells {
		cells[i].Finding = cells[i].worst()
		r.Summary.Add(cells[i].State)
	}
	r.Cells = cells
	return r
}

// of returns the counter of a state.
func (s *Summary) of(st cause.State) *int {
	switch st {
	case cause.Pass:
		return &s.Pass
	case cause.Fail:
		return &s.Fail
	case cause.Unsupported:
		return &s.Unsupported
	case cause.Skipped:
		return &s.Skipped
	case cause.Missing:
		return &s.Missing
	}
	return &s.Error
}

// Add counts a cell in a state.
func (s *Summary) Add(st cause.State) { *s.of(st)++ }

// Count returns how many cells are in a state.
func (s Summary) Count(st cause.State) int { return *s.of(st) }

// Total is the number of cells.
func (s Summary) Total() int {
	return s.Pass + s.Fail + s.Unsupported + s.Skipped + s.Error + s.Missing
}

// Settled returns the cell with its verdict derived from what it recorded and what it declared: what is
// declared and absent is added as missing, a record that contradicts itself becomes an error, and the worst
// of all, the earliest of equals, is the cell's finding. The verdict that c already carries is not looked at.
func (c Cell) Settled() Cell {
	c = c.clone()
	for i := range c.Stages {
		c.Stages[i].Finding = c.soundStage(c.Stages[i])
	}
	for i := range c.Scenarios {
		c.Scenarios[i].Finding = c.soundScenario(c.Scenarios[i])
	}
	c.addMissing()
	c.Finding = c.worst()
	return c
}

// addMissing puts the stages and scenarios into declared order, those not declared last, with a missing one
// for each that was declared, was reached and is absent.
func (c *Cell) addMissing() {
	stages := make([]Stage, 0, len(c.Stages))
	for _, name := range c.Declared.Stages {
		if s, ok := c.Stage(name); ok {
			stages = append(stages, s)
		} else if c.StoppedBefore(name) == "" {
			stages = append(stages, Stage{Name: name, Finding: NotRecorded(cause.Text("stage " + name + " was declared and never recorded")...)})
		}
	}
	for _, s := range c.Stages {
		if !slices.Contains(c.Declared.Stages, s.Name) {
			stages = append(stages, s)
		}
	}
	scenarios := make([]Scenario, 0, len(c.Scenarios))
	for _, name := range c.Declared.Scenarios {
		if s, ok := c.Scenario(name); ok {
			scenarios = append(scenarios, s)
		} else if c.ScenariosStopped() == "" {
			scenarios = append(scenarios, Scenario{Name: name, Finding: NotRecorded(cause.Text("scenario " + name + " was declared and never recorded")...)})
		}
	}
	for _, s := range c.Scenarios {
		if !slices.Contains(c.Declared.Scenarios, s.Name) {
			scenarios = append(scenarios, s)
		}
	}
	c.Stages, c.Scenarios = stages, scenarios
}

// StoppedBefore names the stage that ended the cell before the named one was reached, or is empty.
func (c Cell) StoppedBefore(name string) string {
	for _, declared := range c.Declared.Stages {
		if declared == name {
			return ""
		}
		if s, ok := c.Stage(declared); ok && s.stops() {
			return s.Name
		}
	}
	return ""
}

// ScenariosStopped names the stage that ended the cell before all scenarios were through: one before the
// stage scenarios, or that stage itself.
func (c Cell) ScenariosStopped() string {
	if s, ok := c.Stage(StageScenarios); ok && s.stops() {
		return s.Name
	}
	return c.StoppedBefore(StageScenarios)
}

func (s Stage) stops() bool {
	return s.Stops && (s.State == cause.Fail || s.State == cause.Error || s.State == cause.Unsupported)
}

func (c Cell) worst() cause.Finding {
	// A cell that declares and records nothing proves nothing.
	if len(c.Stages)+len(c.Scenarios) == 0 {
		return NotRecorded(cause.Text("the cell declares no stage and recorded none")...)
	}
	order := States()
	worst := cause.Finding{State: cause.Pass}
	consider := func(f cause.Finding) {
		if slices.Index(order, f.State) < slices.Index(order, worst.State) {
			worst = f
		}
	}
	// The scenarios happen within their stage, and say more than it does.
	for _, s := range c.Stages {
		if s.Name == StageScenarios {
			for _, sc := range c.Scenarios {
				consider(sc.Finding)
			}
		}
		consider(s.Finding)
	}
	for _, sc := range c.Scenarios {
		consider(sc.Finding)
	}
	for _, d := range c.Disagreements {
		if !d.Foreseen {
			consider(d.Finding)
		}
	}
	return worst
}

// soundStage returns the finding of s, or an error where the record cannot be true.
func (c Cell) soundStage(s Stage) cause.Finding {
	f := sound("stage "+s.Name, s.Finding)
	if f.State != cause.Pass {
		return f
	}
	// Once of several is neither a pass nor a fail (design, "How a cell runs", 4).
	for _, a := range c.Attempts {
		if a.Name == s.Name && a.State == cause.Fail {
			return cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra, Evidence: append(
				cause.Text(fmt.Sprintf("stage %s failed with %s and passed when it ran again", a.Name, a.Cause)), a.Evidence...)}
		}
	}
	return f
}

// soundScenario holds a pass against its own numbers: fired at least once, the twin never, and as often as was declared.
func (c Cell) soundScenario(s Scenario) cause.Finding {
	f := sound("scenario "+s.Name, s.Finding)
	switch {
	case f.State != cause.Pass:
	case s.Fired < 1 || s.TwinFired != 0:
		return contradiction("scenario %s claims to pass, with its rule fired %d times and %d times for the twin", s.Name, s.Fired, s.TwinFired)
	case s.times() < c.Declared.Repeat:
		return NotRecorded(cause.Text(fmt.Sprintf("scenario %s was declared to be done %d times and is recorded to have been done %d times", s.Name, c.Declared.Repeat, s.times()))...)
	case s.Repeats != nil && s.Repeats.Same != s.Repeats.Times:
		return contradiction("scenario %s claims to pass, with the same verdict only %s times", s.Name, s.Repeats)
	}
	return f
}

// sound returns f, or an error where f breaks the rules of a finding. Unsupported and skipped do not count
// against anybody, so that they alone must bring their reason with them.
func sound(what string, f cause.Finding) cause.Finding {
	if err := f.Check(); err != nil {
		return contradiction("%s: invalid record: %v", what, err)
	}
	if (f.State == cause.Unsupported || f.State == cause.Skipped) && len(f.Evidence) == 0 {
		return contradiction("%s is %s (%s) without a reason", what, f.State, f.Cause)
	}
	return f
}

func contradiction(format string, args ...any) cause.Finding {
	return cause.Finding{State: cause.Error, Cause: cause.Internal, Fault: cause.FaultHarness, Evidence: cause.Text(fmt.Sprintf(format, args...))}
}
