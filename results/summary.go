// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// RenderSummary writes the run as Markdown: the matrix, everything that is not a pass with its cause, its
// first evidence and what to do next, and the warnings.
func RenderSummary(w io.Writer, r Run) error {
	r = r.Settled()
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "# mews run %s: %s\n\n", md(r.ID), md(Verdict(r)))
	fmt.Fprintf(b, "Profile %s · %s · accelerator %s", md(r.Profile), md(span(r)), md(r.Host.Accelerator))
	if r.Host.AcceleratorReason != "" {
		fmt.Fprintf(b, " (%s)", md(r.Host.AcceleratorReason))
	}
	fmt.Fprint(b, "\n\n")
	if e := r.Estimate; e != nil {
		fmt.Fprintf(b, "%s\n\n", md(against(*e, r)))
	}
	summaryMatrix(b, matrixOf(r))
	summaryAgreements(b, r)
	summaryRepeats(b, r)
	summaryOverheads(b, r)
	summaryWall(b, r)
	summaryProblems(b, r)
	if len(r.Warnings) > 0 {
		fmt.Fprint(b, "## Warnings\n\n")
		for _, t := range r.Warnings {
			fmt.Fprintf(b, "- %s\n", md(t))
		}
		fmt.Fprintln(b)
	}
	return b.Flush()
}

func summaryMatrix(b *bufio.Writer, m matrix) {
	if len(m.Rows) == 0 {
		fmt.Fprint(b, "The run has no cells.\n\n")
		return
	}
	fmt.Fprint(b, "| kernel |")
	for _, d := range m.Drivers {
		fmt.Fprintf(b, " %s |", md(d))
	}
	fmt.Fprint(b, "\n|---|"+strings.Repeat("---|", len(m.Drivers))+"\n")
	for _, row := range m.Rows {
		fmt.Fprintf(b, "| %s |", md(row.Kernel))
		for _, c := range row.Cells {
			switch {
			case c == nil:
				fmt.Fprint(b, " · |")
			case c.Cause == "":
				fmt.Fprintf(b, " %s |", c.State)
			default:
				fmt.Fprintf(b, " **%s** %s |", upper(c.State), md(string(c.Cause)))
			}
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintln(b)
}

func summaryAgreements(b *bufio.Writer, r Run) {
	list := Agreements(r)
	if len(list) == 0 {
		return
	}
	fmt.Fprint(b, "## Agreement of the drivers\n\n| kernel | scenario | | who said the same |\n|---|---|---|---|\n")
	for _, a := range list {
		word := "agree"
		if len(a.Groups) > 1 {
			word = "**DIFFER**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", md(a.Kernel), md(a.Scenario), word, md(a.who(" / ")))
	}
	fmt.Fprintln(b)
}

func summaryProblems(b *bufio.Writer, r Run) {
	heading := false
	for _, c := range r.Cells {
		problems := c.Problems()
		if len(problems) == 0 && !c.FellShort() {
			continue
		}
		if !heading {
			fmt.Fprint(b, "## What is not a pass\n\n")
			heading = true
		}
		fmt.Fprintf(b, "### %s: %s\n\n", md(c.ID), upper(c.State))
		if c.Expect != nil {
			fmt.Fprintf(b, "%s.\n\n", md(expectation(c)))
		}
		for _, p := range problems {
			fmt.Fprintf(b, "- **%s**: %s, %s, fault: %s\n", md(p.Where), upper(p.State), md(string(p.Cause)), md(string(p.Fault)))
			for _, line := range p.lead() {
				fmt.Fprintf(b, "  - %s\n", md(line))
			}
			if p.Next != "" {
				fmt.Fprintf(b, "  - *Next:* %s\n", md(p.Next))
			}
		}
		fmt.Fprintln(b)
	}
}

// expectation tells what was foreseen for a cell that has an expectation, and whether it came so.
func expectation(c Cell) string {
	s := "Expected: " + string(c.Expect.State)
	if c.Expect.Cause != "" {
		s += " " + string(c.Expect.Cause)
	}
	if c.Expect.Evidence != "" {
		s += fmt.Sprintf(", by %q", c.Expect.Evidence)
	}
	if c.Expect.Met(c.Finding) {
		return s + ", as it came"
	}
	return s + ", which was not met"
}

// span tells when the run was and how long it took.
func span(r Run) string {
	s := r.Started.UTC().Format("2006-01-02 15:04 MST")
	if r.Ended.IsZero() {
		return s + ", cut short"
	}
	return s + ", took " + Duration(r.Ended.Sub(r.Started))
}

// against holds what was estimated against what came.
func against(e Estimate, r Run) string {
	s := fmt.Sprintf("Estimate %s (%s)", Duration(seconds(e.Seconds)), e.From)
	if r.Ended.IsZero() || e.Seconds <= 0 {
		return s + "."
	}
	took := r.Ended.Sub(r.Started)
	switch off := 100 * (took.Seconds()/e.Seconds - 1); {
	case off >= 0.5:
		return fmt.Sprintf("%s, took %s: %.0f %% longer.", s, Duration(took), off)
	case off <= -0.5:
		return fmt.Sprintf("%s, took %s: %.0f %% shorter.", s, Duration(took), -off)
	}
	return fmt.Sprintf("%s, took %s: as estimated.", s, Duration(took))
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Duration is d for people: 4.2s, 1m05s, 2h03m.
func Duration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	d = d.Round(time.Minute)
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

// md escapes what Markdown, and the HTML that Markdown lets through, would read as more than text. A single
// underscore within a word is text in every dialect in use, so that the causes stay readable.
func md(s string) string {
	s = mdEscape.Replace(Line(s))
	// At the start of a line these would begin a heading or a list.
	if strings.HasPrefix(s, "#") || strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "=") {
		return `\` + s
	}
	return s
}

var mdEscape = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "|", `\|`, "~~", `\~~`, "@", "&#64;", "__", `\_\_`)
