// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mews-farm/mews/results/cause"
)

// maxNamed is how many scenarios have a column with their whole name; more would not fit a terminal.
const maxNamed = 3

// heldRight is the head of the column of numbers.
const heldRight = "SECONDS"

// RenderTable writes the run for a terminal: a line for each cell, then what did not pass and what to do
// about it, then the verdict. Colour repeats what the words say.
func RenderTable(w io.Writer, r Run, colour bool) error {
	r = r.Settled()
	scenarios := scenarioNames(r)
	heads, legend := scenarioHeads(scenarios)
	rows := [][]string{append(append([]string{"KERNEL", "DRIVER", "STATE"}, heads...), heldRight)}
	states := []cause.State{""}
	for _, c := range r.Cells {
		row := []string{Line(c.Kernel.String()), Line(c.Driver.Name), upper(c.State)}
		for _, name := range scenarios {
			row = append(row, firedTwin(c, name))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.1f", c.Seconds())))
		states = append(states, c.State)
	}
	b := bufio.NewWriter(w)
	writeRows(b, rows, states, colour)
	if legend != "" {
		fmt.Fprintf(b, "%s\n", legend)
	}
	tableAgreements(b, r, colour)
	tableRepeats(b, r, colour)
	tableOverheads(b, r)
	tableWall(b, r)
	tableProblems(b, r, colour)
	for _, t := range r.Warnings {
		fmt.Fprintf(b, "\nwarning: %s\n", Line(t))
	}
	fmt.Fprintf(b, "\n%s\n", Line(Verdict(r)))
	return b.Flush()
}

func writeRows(b *bufio.Writer, rows [][]string, states []cause.State, colour bool) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, s := range row {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	last := len(width) - 1
	for i, row := range rows {
		for j, s := range row {
			pad := strings.Repeat(" ", width[j]-utf8.RuneCountInString(s))
			switch {
			case j == last && rows[0][j] == heldRight:
				b.WriteString(pad + s + "\n")
			case j == last:
				b.WriteString(s + "\n")
			case j == 2:
				b.WriteString(Paint(states[i], s, colour) + pad + "  ")
			default:
				b.WriteString(s + pad + "  ")
			}
		}
	}
}

// writeColumns is writeRows of rows without a state: that many columns are text, the others are figures.
func writeColumns(b *bufio.Writer, texts int, rows [][]string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, s := range row {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
	}
	for _, row := range rows {
		for i, s := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(s))
			if i > 0 {
				b.WriteString("  ")
			}
			if i < texts {
				b.WriteString(s + pad)
			} else {
				b.WriteString(pad + s)
			}
		}
		b.WriteString("\n")
	}
}

// tableAgreements shows who said the same of each scenario: a bar stands between those that did not.
func tableAgreements(b *bufio.Writer, r Run, colour bool) {
	list := Agreements(r)
	if len(list) == 0 {
		return
	}
	rows := [][]string{{"AGREEMENT ON", "SCENARIO", "STATE", "WHO SAID THE SAME"}}
	states := []cause.State{""}
	for _, a := range list {
		st, word := cause.Pass, "agree"
		if len(a.Groups) > 1 {
			st, word = cause.Fail, "DIFFER"
		}
		rows = append(rows, []string{Line(a.Kernel), Line(a.Scenario), word, Line(a.who(" | "))})
		states = append(states, st)
	}
	fmt.Fprintln(b)
	writeRows(b, rows, states, colour)
}

// who names the drivers, with a mark between those that differ, and behind them those that prove nothing.
func (a Agreement) who(mark string) string {
	var groups []string
	for _, g := range a.Groups {
		groups = append(groups, strings.Join(g.Drivers, ", "))
	}
	s := strings.Join(groups, mark)
	if len(a.Without) > 0 {
		s += " (no verdict: " + strings.Join(a.Without, ", ") + ")"
	}
	return s
}

func tableProblems(b *bufio.Writer, r Run, colour bool) {
	for _, c := range r.Cells {
		problems := c.Problems()
		if len(problems) == 0 && !c.FellShort() {
			continue
		}
		fmt.Fprintf(b, "\n%s\n", Line(c.ID))
		if c.Expect != nil {
			fmt.Fprintf(b, "  %s\n", Line(expectation(c)))
		}
		for _, p := range problems {
			fmt.Fprintf(b, "  %s: %s %s, fault: %s\n", Line(p.Where), Paint(p.State, upper(p.State), colour), Line(string(p.Cause)), Line(string(p.Fault)))
			for _, line := range p.lead() {
				fmt.Fprintf(b, "    %s\n", line)
			}
			if p.Next != "" {
				fmt.Fprintf(b, "    next: %s\n", Line(p.Next))
			}
		}
	}
}

// scenarioNames lists the scenarios of all cells in the order in which they are first declared or recorded.
func scenarioNames(r Run) []string {
	var names []string
	add := func(n string) {
		if !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	for _, c := range r.Cells {
		for _, n := range c.Declared.Scenarios {
			add(n)
		}
		for _, s := range c.Scenarios {
			add(s.Name)
		}
	}
	return names
}

// scenarioHeads names the columns of the scenarios, and explains the names where they are short ones.
func scenarioHeads(names []string) (heads []string, legend string) {
	for i, n := range names {
		if len(names) <= maxNamed {
			heads = append(heads, Line(n))
			continue
		}
		heads = append(heads, fmt.Sprintf("S%d", i+1))
		legend += fmt.Sprintf("S%d %s  ", i+1, Line(n))
	}
	if len(names) > 0 {
		legend = strings.TrimSpace(legend + "scenarios: rule fired for the attack / for its twin")
	}
	return heads, legend
}

// firedTwin is "1/0" for a scenario that passed, with the state's letter before it where it did not, and a
// dash where the cell ended before the scenario or has none of that name.
func firedTwin(c Cell, name string) string {
	s, ok := c.Scenario(name)
	switch {
	case !ok:
		return "-"
	case s.State == cause.Pass:
		return fmt.Sprintf("%d/%d", s.Fired, s.TwinFired)
	case s.State == cause.Fail:
		return fmt.Sprintf("%s %d/%d", Letter(s.State), s.Fired, s.TwinFired)
	}
	return Letter(s.State)
}

// Paint colours s as its state with ANSI sequences, if colour is wanted.
func Paint(st cause.State, s string, colour bool) string {
	if !colour {
		return s
	}
	code := ""
	switch st {
	case cause.Pass:
		code = "32" // green
	case cause.Fail:
		code = "1;31" // bold red
	case cause.Error, cause.Missing:
		code = "1;35" // bold magenta: not the driver's fault, and not good
	case cause.Unsupported, cause.Skipped:
		code = "36" // cyan
	default:
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
