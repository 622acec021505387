// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/mews-farm/mews/results"
)

// Render writes the changes for a terminal, regressions first. What did not change is counted, and shown if all is set.
func Render(w io.Writer, changes []Change, all bool) error {
	b := bufio.NewWriter(w)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	count := map[Verdict]int{}
	shown := 0
	for _, c := range Worst(changes) {
		count[c.Verdict]++
		if c.Verdict == Same && !all {
			continue
		}
		if shown == 0 {
			fmt.Fprintln(t, "KERNEL\tDRIVER\tCOST\tSETTING\tMETRIC\tBEFORE\tAFTER\tCHANGE\tTHRESHOLD\tVERDICT")
		}
		shown++
		change, threshold := fmt.Sprintf("%+.2f %%", 100*c.Change), fmt.Sprintf("%.2f %%", 100*c.Threshold)
		switch {
		case c.Verdict == New || c.Verdict == Gone:
			change, threshold = "-", "-"
		case c.Threshold == 0:
			threshold = "-"
		}
		verdict := string(c.Verdict)
		if c.Gates() {
			verdict = strings.ToUpper(verdict)
		}
		if c.Why != "" {
			verdict += ", " + c.Why
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", results.Line(c.Kernel), results.Line(c.Driver), results.Line(c.What), dash(c.Setting),
			results.Line(c.Metric), figure(c, c.Before), figure(c, c.After), change, threshold, results.Line(verdict))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if shown > 0 {
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "%d costs: %d worse, %d better, %d same", len(changes), count[Worse], count[Better], count[Same])
	if n := count[New]; n > 0 {
		fmt.Fprintf(b, ", %d new", n)
	}
	if n := count[Gone]; n > 0 {
		fmt.Fprintf(b, ", %d not measured any more", n)
	}
	if n := count[Unclear]; n > 0 {
		fmt.Fprintf(b, ", %d unclear", n)
	}
	fmt.Fprintln(b)
	if p, n := FalseAlarm(changes); n > 0 {
		fmt.Fprintf(b, "had nothing changed, the chance of any false alarm among the %d counted in instructions would be %.2g at most\n", n, p)
	}
	return b.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return results.Line(s)
}

func figure(c Change, v float64) string {
	switch {
	case c.Metric == results.MetricLoadSeconds:
		return fmt.Sprintf("%.3f", v)
	case c.Class == results.ClassInsn:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// ExitCode is how a comparison ends.
func ExitCode(changes []Change) int {
	code := results.ExitExpected
	for _, c := range changes {
		switch {
		case c.Gates():
			return results.ExitFellShort
		case c.Lacks():
			code = results.ExitLacking
		}
	}
	return code
}
