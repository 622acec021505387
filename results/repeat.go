// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/mews-farm/mews/results/cause"
)

// Repeats says how a scenario came out that was done more than once.
type Repeats struct {
	Times    int       `json:"times"`
	Same     int       `json:"same"`               // how many of them came out as most did
	Outcomes []Outcome `json:"outcomes,omitempty"` // where not all did alike; the most frequent first
}

// Outcome is what came of a scenario at some of its times.
type Outcome struct {
	At []int `json:"at"` // which times, from 1
	cause.Finding
	Fired     int               `json:"fired"`
	TwinFired int               `json:"twin_fired"`
	DeedID    string            `json:"deed_id,omitempty"` // of the first of these times
	Fields    map[string]string `json:"fields,omitempty"`
}

// MarshalJSON writes no evidence as [].
func (o Outcome) MarshalJSON() ([]byte, error) {
	type plain Outcome
	o.Evidence = list(o.Evidence)
	return json.Marshal(plain(o))
}

// Repeat makes one record of all times that a scenario was done, in their order; there must be one at least. Where they
// differ, in their verdict or in what drivers of one kernel must agree in, none of them is proven: it is a suspected flake.
func Repeat(times []Scenario) Scenario {
	out := times[0]
	var groups []Outcome
	var heads []Scenario // the first of each group
	for i, s := range times {
		g := slices.IndexFunc(heads, func(h Scenario) bool { return h.cameOutAs(s) })
		if g < 0 {
			g = len(heads)
			heads = append(heads, s)
			groups = append(groups, Outcome{Finding: s.Finding, Fired: s.Fired, TwinFired: s.TwinFired, DeedID: s.DeedID, Fields: s.Fields})
		}
		groups[g].At = append(groups[g].At, i+1)
	}
	slices.SortStableFunc(groups, func(a, b Outcome) int { return len(b.At) - len(a.At) })
	out.Repeats = &Repeats{Times: len(times), Same: len(groups[0].At)}
	if len(groups) == 1 {
		return out
	}
	out.Repeats.Outcomes = groups
	lines := cause.Text(fmt.Sprintf("the verdict was the same only %s times", out.Repeats))
	for _, g := range groups {
		lines = append(lines, cause.Evidence{Text: g.line()})
		lines = append(lines, g.Evidence...)
	}
	out.Finding = cause.Finding{State: cause.Error, Cause: cause.FlakeSuspected, Fault: cause.FaultInfra, Evidence: lines}
	out.Hint = "the outcomes are in the record, and alerts.jsonl has what each deed gave; do it again with more --repeat, on an idle host"
	return out
}

// cameOutAs says whether two times of a scenario prove the same.
func (s Scenario) cameOutAs(o Scenario) bool {
	return s.State == o.State && s.Cause == o.Cause && s.Fault == o.Fault && len(differences(s, o)) == 0
}

// line says which times these were, and how they came out.
func (o Outcome) line() string {
	verdict := string(o.State)
	if o.Cause != "" {
		verdict += " " + string(o.Cause)
	}
	at := fmt.Sprintf("time %d", o.At[0])
	if len(o.At) > 1 {
		at = fmt.Sprintf("%d times, first time %d", len(o.At), o.At[0])
	}
	s := fmt.Sprintf("%s: %s, the rule fired %d times for the attack and %d for the twin", at, verdict, o.Fired, o.TwinFired)
	for _, f := range agreedFields {
		if v, ok := o.Fields[f]; ok {
			s += fmt.Sprintf(" %s=%s", f, v)
		}
	}
	return s
}

// String is "20 of 20".
func (r Repeats) String() string { return fmt.Sprintf("%d of %d", r.Same, r.Times) }

// times is how often the scenario was done.
func (s Scenario) times() int {
	if s.Repeats == nil {
		return 1
	}
	return s.Repeats.Times
}

func (r *Repeats) clone() *Repeats {
	if r == nil {
		return nil
	}
	out := *r
	out.Outcomes = slices.Clone(r.Outcomes)
	for i, o := range r.Outcomes {
		out.Outcomes[i].Fields = maps.Clone(o.Fields)
	}
	return &out
}

// bounded is a copy with the text that came from outside cut to what a record keeps.
func (r *Repeats) bounded() *Repeats {
	out := r.clone()
	if out == nil {
		return nil
	}
	for i := range out.Outcomes {
		o := &out.Outcomes[i]
		o.Finding = bounded(o.Finding)
		for k, v := range o.Fields {
			o.Fields[k] = cut(v)
		}
	}
	return out
}

// tableRepeats shows how often the verdict on each scenario was the same.
func tableRepeats(b *bufio.Writer, r Run, colour bool) {
	rows := [][]string{{"REPEATED ON", "SCENARIO", "STATE", "DRIVER", "THE SAME"}}
	states := []cause.State{""}
	r.eachRepeated(func(c Cell, s Scenario) {
		rows = append(rows, []string{Line(c.Kernel.String()), Line(s.Name), upper(s.State), Line(c.Driver.Name), s.Repeats.String()})
		states = append(states, s.State)
	})
	if len(rows) > 1 {
		fmt.Fprintln(b)
		writeRows(b, rows, states, colour)
	}
}

func summaryRepeats(b *bufio.Writer, r Run) {
	head := "## Repeated\n\n| kernel | driver | scenario | state | the same verdict |\n|---|---|---|---|---|\n"
	r.eachRepeated(func(c Cell, s Scenario) {
		fmt.Fprintf(b, "%s| %s | %s | %s | %s | %s |\n", head, md(c.Kernel.String()), md(c.Driver.Name), md(s.Name), upper(s.State), s.Repeats)
		head = ""
	})
	if head == "" {
		fmt.Fprintln(b)
	}
}

// eachRepeated visits the scenarios that were done more than once.
func (r Run) eachRepeated(visit func(Cell, Scenario)) {
	for _, c := range r.Cells {
		for _, s := range c.Scenarios {
			if s.Repeats != nil {
				visit(c, s)
			}
		}
	}
}
