// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// sheet is one table: of all drivers, by kernel, or of one driver's compilers.
type sheet struct {
	title   string   // the one driver
	names   []string // of the drivers or compilers
	kernels []*Kernel
	cells   map[*Kernel]map[string]*Result
}

// line is one of a sheet.
type line struct {
	name  string
	cells []*Result // nil where the grid has no such cell
}

// lines are the sheet's, and head is what stands above them: kernels down and drivers across; of compilers, which are many,
// the other way around.
func (s *sheet) lines() (head []string, out []line) {
	if s.title == "" {
		head = append([]string{"kernel"}, s.names...)
		for _, k := range s.kernels {
			l := line{name: k.Name}
			for _, n := range s.names {
				l.cells = append(l.cells, s.cells[k][n])
			}
			out = append(out, l)
		}
		return head, out
	}
	head = []string{"compiler"}
	for _, k := range s.kernels {
		head = append(head, k.Name)
	}
	for _, n := range s.names {
		l := line{name: n}
		for _, k := range s.kernels {
			l.cells = append(l.cells, s.cells[k][n])
		}
		out = append(out, l)
	}
	return head, out
}

// sheets sorts results into tables: one of all drivers, or one for each driver where compilers were asked for.
func sheets(rs []*Result) []*sheet {
	var out []*sheet
	for _, r := range rs {
		title, head := "", r.Driver
		if r.Compiler != "" {
			title, head = r.Driver, r.Compiler
		}
		i := slices.IndexFunc(out, func(s *sheet) bool { return s.title == title })
		if i < 0 {
			out = append(out, &sheet{title: title, cells: map[*Kernel]map[string]*Result{}})
			i = len(out) - 1
		}
		s := out[i]
		if !slices.Contains(s.names, head) {
			s.names = append(s.names, head)
		}
		k := r.Cell.Kernel
		if s.cells[k] == nil {
			s.cells[k] = map[string]*Result{}
			s.kernels = append(s.kernels, k)
		}
		s.cells[k][head] = r
	}
	return out
}

// word is what stands in a cell: what was built says by which compiler, where that is not told already.
func (r *Result) word() string {
	switch r.State {
	case cause.Pass:
		switch a := r.Artifact; {
		case r.Compiler == "" && a.Substitution != nil:
			return "ok " + a.Compiler.Command + " for " + a.Substitution.Wanted
		case r.Compiler == "":
			return "ok " + a.Compiler.Command
		case r.Variant == product.KMod && r.Inputs != nil && r.Inputs.Wanted == "":
			return "ok, its own"
		case a.Broken != nil:
			return "ok, forced"
		}
		return "ok"
	case cause.Unsupported:
		return "unavailable"
	}
	return strings.ToUpper(string(r.State)) + " " + string(r.Cause)
}

// RenderTable writes results for a terminal: tables, then what is no artifact with its reason, then a summary. Colour repeats
// what the words say.
func RenderTable(w io.Writer, rs []*Result, colour bool) error {
	b := bufio.NewWriter(w)
	for i, s := range sheets(rs) {
		if i > 0 {
			fmt.Fprintln(b)
		}
		s.text(b, colour)
	}
	for _, p := range problems(rs) {
		r := p[0]
		fmt.Fprintf(b, "\n%s %s, fault: %s\n", results.Paint(r.State, strings.ToUpper(shown(r.State)), colour), results.Line(string(r.Cause)), results.Line(string(r.Fault)))
		for _, r := range p {
			fmt.Fprintf(b, "  %s\n", results.Line(r.name()))
		}
		for _, line := range r.lead() {
			fmt.Fprintf(b, "    %s\n", results.Line(line))
		}
		if r.LogPath != "" {
			fmt.Fprintf(b, "    log: %s\n", results.Line(r.LogPath))
		}
		if r.Next != "" {
			fmt.Fprintf(b, "    next: %s\n", results.Line(r.Next))
		}
	}
	fmt.Fprintf(b, "\n%s\n", summary(rs))
	return b.Flush()
}

// shown is how people are told a state: what cannot exist is no trouble.
func shown(s cause.State) string {
	if s == cause.Unsupported {
		return "unavailable"
	}
	return string(s)
}

func (s *sheet) text(b *bufio.Writer, colour bool) {
	if s.title != "" {
		fmt.Fprintf(b, "%s, by compiler\n", results.Line(s.title))
	}
	head, lines := s.lines()
	head[0] = strings.ToUpper(head[0])
	rows := [][]string{head}
	for _, l := range lines {
		row := []string{l.name}
		for _, r := range l.cells {
			text := "-"
			if r != nil {
				text = r.word()
			}
			row = append(row, text)
		}
		rows = append(rows, row)
	}
	for _, row := range rows {
		for i := range row {
			row[i] = results.Line(row[i])
		}
	}
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			width[i] = max(width[i], utf8.RuneCountInString(text))
		}
	}
	for n, row := range rows {
		for i, text := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(text)+2)
			if i == len(row)-1 {
				pad = ""
			}
			if n > 0 && i > 0 {
				if r := lines[n-1].cells[i-1]; r != nil {
					text = results.Paint(r.State, text, colour)
				}
			}
			b.WriteString(text + pad)
		}
		b.WriteByte('\n')
	}
}

func (r *Result) name() string {
	name := r.Cell.Kernel.Name + "  " + r.Driver
	if r.Compiler != "" {
		name += "  " + r.Compiler
	}
	return name
}

// maxLead is how many lines of evidence a table shows; the record has them all.
const maxLead = 8

func (r *Result) lead() []string {
	var out []string
	for i, e := range r.Evidence {
		line := e.String()
		if i == maxLead {
			return append(out, fmt.Sprintf("... and more: %d lines in all", len(r.Evidence)))
		}
		if i > 0 && strings.HasSuffix(out[0], line) {
			continue // the message has it already
		}
		out = append(out, line)
	}
	return out
}

// problems are the results that are no pass, those of one reason together: fails first, then what lacks, then what cannot be.
func problems(rs []*Result) [][]*Result {
	var out [][]*Result
	for _, state := range []cause.State{cause.Fail, cause.Error, cause.Missing, cause.Unsupported, cause.Skipped} {
		by := map[string]int{}
		for _, r := range rs {
			if r.State != state {
				continue
			}
			// What was said is the same to the letter, or it is another problem.
			why := strings.Join(append([]string{string(r.Cause), string(r.Fault)}, r.lead()...), "\n")
			if i, ok := by[why]; ok {
				out[i] = append(out[i], r)
				continue
			}
			by[why] = len(out)
			out = append(out, []*Result{r})
		}
	}
	return out
}

// summary counts: "12 cells: 8 pass (3 built, 5 remembered), 2 fail, 2 error".
func summary(rs []*Result) string {
	origins := map[Origin]int{}
	for _, r := range rs {
		if r.State == cause.Pass {
			origins[r.Origin]++
		}
	}
	var from []string
	for _, o := range []Origin{Built, Remembered, Stored} {
		if n := origins[o]; n > 0 {
			from = append(from, fmt.Sprintf("%d %s", n, o))
		}
	}
	text := Record(rs).Settled().Summary.String()
	if len(from) > 0 {
		text += "; of those that pass " + strings.Join(from, ", ")
	}
	return text
}

// RenderMarkdown writes results as Markdown: tables in which each cell that is no artifact has its cause, and below them the
// reasons.
func RenderMarkdown(w io.Writer, rs []*Result) error {
	b := bufio.NewWriter(w)
	for _, s := range sheets(rs) {
		if s.title != "" {
			fmt.Fprintf(b, "%s, by compiler:\n\n", md(s.title))
		}
		head, lines := s.lines()
		fmt.Fprint(b, "|")
		for _, h := range head {
			fmt.Fprintf(b, " %s |", md(h))
		}
		fmt.Fprint(b, "\n|"+strings.Repeat("---|", len(head))+"\n")
		for _, l := range lines {
			fmt.Fprintf(b, "| %s |", md(l.name))
			for _, r := range l.cells {
				text := " "
				if r != nil {
					text = md(r.word())
					if r.State != cause.Pass && r.State != cause.Unsupported {
						text = "**" + text + "**"
					}
				}
				fmt.Fprintf(b, " %s |", text)
			}
			fmt.Fprintln(b)
		}
		fmt.Fprintln(b)
	}
	for _, p := range problems(rs) {
		r := p[0]
		var drivers, kernels, compilers []string
		for _, r := range p {
			if d := "**" + md(r.Driver) + "**"; !slices.Contains(drivers, d) {
				drivers = append(drivers, d)
			}
			if k := md(r.Cell.Kernel.Name); !slices.Contains(kernels, k) {
				kernels = append(kernels, k)
			}
			if r.Compiler != "" && !slices.Contains(compilers, r.Compiler) {
				compilers = append(compilers, r.Compiler)
			}
		}
		with := ""
		if compilers != nil {
			with = " with " + strings.Join(compilers, ", ")
		}
		fmt.Fprintf(b, "- %s%s, %s, fault: %s, on %s:\n", strings.Join(drivers, ", "), with, md(strings.TrimSpace(shown(r.State)+" "+string(r.Cause))), md(string(r.Fault)), strings.Join(kernels, ", "))
		for _, line := range r.lead() {
			fmt.Fprintf(b, "  - `%s`\n", strings.ReplaceAll(results.Line(line), "`", "'"))
		}
	}
	fmt.Fprintf(b, "\n%s.\n", summary(rs))
	return b.Flush()
}

// md keeps a text from being taken for markup.
func md(s string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "_", `\_`, "`", "'", "<", "&lt;", "[", `\[`).Replace(results.Line(s))
}
