// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// FieldContext is the field of an alert that says where it happened: "host" or "container". Consumers tell it in
// different fields, so that the controller fills it in.
const FieldContext = "context"

// agreedFields are what alerts of the same attack on the same kernel must agree in, whatever carried the events.
var agreedFields = []string{"evt.type", "fd.name", "proc.name", "proc.exepath", "proc.is_exe_upper_layer", FieldContext}

// askedSometimes are those of agreedFields that not every consumer is asked for: where one did not tell, nothing differs.
var askedSometimes = []string{"proc.is_exe_upper_layer", FieldContext}

// Disagreement is a scenario that another driver on the same kernel saw otherwise. It is derived from the records of
// both cells by [Run.Settled], whatever a file says.
type Disagreement struct {
	Scenario string `json:"scenario"`
	With     string `json:"with"` // id of the other cell
	// Foreseen says that the other cell was expected to fail, and did as expected in this scenario: nobody is blamed here for differing from
	// a driver that is known to be bad.
	Foreseen bool `json:"foreseen,omitempty"`
	cause.Finding
}

// Agreement is what the drivers of one kernel said of one scenario.
type Agreement struct {
	Kernel   string
	Scenario string
	Groups   []AgreementGroup // those that agree stand together; one group: all agree
	Without  []string         // drivers whose record proves nothing either way: an error, an unsupported, a skip
}

// AgreementGroup are drivers that said the same.
type AgreementGroup struct {
	Drivers []string
	Said    string // "fired", "silent, twin fired"
}

// Agreements compares the cells of a settled run, kernel by kernel and scenario by scenario, in the order of the plan.
// A scenario that fewer than two drivers of a kernel judged is left out: there is nothing to compare.
func Agreements(r Run) []Agreement {
	var out []Agreement
	for _, cells := range byKernel(r.Cells) {
		for _, name := range scenarioNames(Run{Cells: cells}) {
			a := Agreement{Kernel: cells[0].Kernel.String(), Scenario: name}
			var heads []Scenario // the first of each group
			judgedBy := 0
			for _, c := range cells {
				s, ok := c.Scenario(name)
				switch {
				case !ok:
					continue
				case !judged(s):
					a.Without = append(a.Without, c.Driver.Name)
					continue
				}
				judgedBy++
				i := slices.IndexFunc(heads, func(h Scenario) bool { return len(differences(h, s)) == 0 })
				if i < 0 {
					i = len(heads)
					heads = append(heads, s)
					a.Groups = append(a.Groups, AgreementGroup{Said: said(s)})
				}
				a.Groups[i].Drivers = append(a.Groups[i].Drivers, c.Driver.Name)
			}
			if judgedBy > 1 {
				out = append(out, a)
			}
		}
	}
	return out
}

// byKernel gathers the cells of each kernel, in the order in which kernels first come.
func byKernel(cells []Cell) [][]Cell {
	var out [][]Cell
	at := map[Kernel]int{}
	for _, c := range cells {
		i, ok := at[c.Kernel]
		if !ok {
			i = len(out)
			at[c.Kernel] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], c)
	}
	return out
}

// disagree fills in the disagreements of settled cells.
func disagree(cells []Cell) {
	for i := range cells {
		cells[i].Disagreements = nil
	}
	for i := range cells {
		for j := range cells[:i] {
			a, b := &cells[j], &cells[i]
			if a.Kernel != b.Kernel {
				continue
			}
			for _, s := range a.Scenarios {
				o, ok := b.Scenario(s.Name)
				if !ok || !judged(s) || !judged(o) || len(differences(s, o)) == 0 {
					continue
				}
				a.Disagreements = append(a.Disagreements, disagreement(*a, s, *b, o))
				b.Disagreements = append(b.Disagreements, disagreement(*b, o, *a, s))
			}
		}
	}
}

// judged reports whether the record of a scenario proves what the driver saw. A silence that nobody can vouch for does
// not disagree with anything.
func judged(s Scenario) bool {
	switch s.State {
	case cause.Pass:
		return true
	case cause.Fail:
		return s.Cause == cause.RuleSilent || s.Cause == cause.RuleFalseAlarm || s.Cause == cause.EventFieldWrong
	}
	return false
}

// difference is one thing that two records of a scenario say differently.
type difference struct{ what, mine, theirs string }

func differences(a, b Scenario) []difference {
	var out []difference
	differ := func(what, mine, theirs string) {
		if mine != theirs {
			out = append(out, difference{what, mine, theirs})
		}
	}
	differ("rule", fired(a.Fired), fired(b.Fired))
	differ("rule for the twin", fired(a.TwinFired), fired(b.TwinFired))
	if a.Fired == 0 || b.Fired == 0 {
		return out
	}
	for _, f := range agreedFields {
		x, inA := a.field(f)
		y, inB := b.field(f)
		if inA != inB && slices.Contains(askedSometimes, f) {
			continue
		}
		differ(f, x, y)
	}
	return out
}

func fired(n int) string {
	if n > 0 {
		return "fired"
	}
	return "silent"
}

// chosenPort is the client's port in the name of a TCP or UDP connection, client first ("10.0.0.1:39692->10.0.0.2:443"), where it
// is of those that the kernel chooses at random unless the program binds one (net.ipv4.ip_local_port_range: 32768 to 60999).
var chosenPort = regexp.MustCompile(`^(.*):(?:3276[89]|327[7-9]\d|32[89]\d\d|3[3-9]\d{3}|[45]\d{4}|60\d{3})(->.*:\d+)$`)

// field is a field of the alert, with what is another in each deed taken out: its own id, and the port that the kernel chose
// for its end of a connection.
func (s Scenario) field(name string) (string, bool) {
	v, ok := s.Fields[name]
	if name == "fd.name" {
		v = chosenPort.ReplaceAllString(v, "$1:${port}$2")
	}
	if s.DeedID == "" {
		return v, ok
	}
	if name == "proc.name" && len(v) == commLen {
		for n := len(s.DeedID) - 1; n > 0; n-- {
			if head, cut := strings.CutSuffix(v, s.DeedID[:n]); cut {
				return head + "${id}", ok
			}
		}
	}
	return strings.ReplaceAll(v, s.DeedID, "${id}"), ok
}

// commLen is how many bytes of a program's name the kernel keeps (TASK_COMM_LEN, less the terminating zero): an id at its end
// may have been cut there.
const commLen = 15

func said(s Scenario) string {
	out := fired(s.Fired)
	if s.TwinFired > 0 {
		out += ", fired for the twin"
	}
	return out
}

// disagreement puts the two alerts side by side.
func disagreement(a Cell, mine Scenario, b Cell, theirs Scenario) Disagreement {
	var differ []string
	for _, d := range differences(mine, theirs) {
		differ = append(differ, fmt.Sprintf("%s is %q against %q", d.what, d.mine, d.theirs))
	}
	lines := []string{
		fmt.Sprintf("%s saw %s otherwise than %s: %s", a.Driver.Name, mine.Name, b.Driver.Name, strings.Join(differ, ", ")),
		alertLine(a, mine), alertLine(b, theirs),
	}
	return Disagreement{Scenario: mine.Name, With: b.ID, Foreseen: b.foreseenBad(theirs), Finding: cause.Finding{
		State: cause.Fail, Cause: cause.VariantDisagreement, Fault: cause.FaultDriver, Evidence: cause.Text(lines...)}}
}

// foreseenBad says whether the cell, by itself, failed in this scenario as the matrix foresaw.
func (c Cell) foreseenBad(s Scenario) bool {
	c.Disagreements = nil
	return c.Known(s.Name) || c.Expect != nil && c.Expect.State == cause.Fail && c.Expect.Met(c.worst()) && c.Expect.Met(s.Finding)
}

func alertLine(c Cell, s Scenario) string {
	if s.Fired == 0 {
		return c.Driver.Name + ": no alert"
	}
	var b strings.Builder
	for _, f := range slices.Sorted(maps.Keys(s.Fields)) {
		fmt.Fprintf(&b, " %s=%s", f, s.Fields[f])
	}
	return c.Driver.Name + ":" + b.String()
}
