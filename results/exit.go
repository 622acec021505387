// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// The exit codes that a run's verdicts decide.
const (
	ExitExpected  = 0 // all as expected
	ExitFellShort = 1 // a fail, or an expectation not met
	ExitLacking   = 3 // nothing fell short, but a verdict is lacking
)

// Check reports an expectation that no verdict can meet.
func (e Expect) Check() error {
	switch e.State {
	case cause.Pass:
		if e.Cause != "" || e.Evidence != "" {
			return fmt.Errorf("a pass is expected with cause %s%s: a pass has none", e.Cause, e.Evidence)
		}
		return nil
	case cause.Fail, cause.Unsupported:
		return nil
	case cause.Error:
		// Of a tool chain it is a verdict too, when it is proven: the wrong compiler was found to be that. Any other error
		// is the want of a verdict.
		if e.Cause == cause.ToolchainMismatch && e.Evidence != "" {
			return nil
		}
		return fmt.Errorf("state %q cannot be expected but with cause %s and its evidence: an error is no verdict", e.State, cause.ToolchainMismatch)
	}
	return fmt.Errorf("state %q cannot be expected: only pass, fail and unsupported are verdicts", e.State)
}

// Met says whether f is what was expected.
func (e Expect) Met(f cause.Finding) bool {
	if f.State != e.State || e.Cause != "" && f.Cause != e.Cause || f.State == cause.Error && f.Fault != cause.FaultToolchain {
		return false
	}
	return e.Evidence == "" || slices.ContainsFunc(f.Evidence, func(l cause.Evidence) bool { return strings.Contains(l.String(), e.Evidence) })
}

// met says whether the worst of the cell is what was expected of it.
func (c Cell) met() bool { return c.Expect != nil && c.Expect.Met(c.Finding) || c.known() }

// besides says whether something in the cell is in one of the states and is not what was expected: one fault that was
// foreseen excuses no other.
func (c Cell) besides(states ...cause.State) bool {
	odd := func(f cause.Finding) bool {
		return slices.Contains(states, f.State) && (c.Expect == nil || !c.Expect.Met(f))
	}
	return slices.ContainsFunc(c.Scenarios, func(s Scenario) bool { return odd(s.Finding) && !c.Known(s.Name) }) ||
		slices.ContainsFunc(c.Stages, func(s Stage) bool { return odd(s.Finding) && !c.ofKnown(s) })
}

// FellShort says whether the settled cell is a fail that was not expected, or a verdict that was not the
// expected one.
func (c Cell) FellShort() bool {
	if c.surprising() {
		return true
	}
	switch c.State {
	case cause.Pass, cause.Unsupported:
		return c.Expect != nil && !c.Expect.Met(c.Finding)
	case cause.Fail:
		return !c.met() || c.besides(cause.Fail)
	case cause.Error:
		// The same cause by other evidence is a verdict, and not the one that was foreseen.
		return c.Expect != nil && c.Expect.State == cause.Error && c.Cause == c.Expect.Cause && !c.Expect.Met(c.Finding)
	}
	return false
}

// ExitCode is the exit code that the run deserves. Unsupported and skipped cells do not count against it, nor for it:
// a run in which nothing was judged, by a pass or by a verdict that was expected, proves nothing and is never 0.
func ExitCode(r Run) int {
	code := ExitLacking
	cells := r.Settled().Cells
	for _, c := range cells {
		if c.State == cause.Pass || c.met() {
			code = ExitExpected
		}
	}
	for _, c := range cells {
		if c.FellShort() {
			return ExitFellShort
		}
		if c.State == cause.Missing || c.State == cause.Error && !c.met() || c.met() && c.besides(cause.Error, cause.Missing) {
			code = ExitLacking
		}
	}
	return code
}

// Verdict says in one line how the run came out.
func Verdict(r Run) string {
	r = r.Settled()
	return headline(ExitCode(r)) + ", " + r.Summary.String()
}

func headline(code int) string {
	switch code {
	case ExitExpected:
		return "all as expected"
	case ExitFellShort:
		return "fell short"
	}
	return "verdicts lacking"
}

// String counts the cells: "8 cells: 7 pass, 1 fail".
func (s Summary) String() string {
	total := fmt.Sprintf("%d cells", s.Total())
	if s.Total() == 1 {
		total = "1 cell"
	}
	if s.Total() == 0 {
		return total
	}
	return total + ": " + s.Counts()
}

// Counts names the states that cells are in, the good first: "7 pass, 1 fail".
func (s Summary) Counts() string {
	var out []string
	for _, st := range shownStates() {
		if n := s.Count(st); n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, st))
		}
	}
	return strings.Join(out, ", ")
}

// shownStates lists the states in the order in which people are told how many of each there are.
func shownStates() []cause.State {
	return []cause.State{cause.Pass, cause.Fail, cause.Error, cause.Missing, cause.Unsupported, cause.Skipped}
}
