// SPDX-License-Identifier: Apache-2.0

package results

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

//go:embed report.html.tmpl
var reportTemplate string

// reportData is what the template shows of a settled run.
type reportData struct {
	Run     Run
	Verdict string
	Head    string // of the verdict
	Class   string // of the verdict: pass, fail or error
	Span    string
	Matrix  matrix
	States  []reportCount
	Agree   []Agreement
	Plots   []plot
	Wall    wallTable
}

type reportCount struct {
	State cause.State
	N     int
}

// RenderReport writes the run as one HTML file that needs no other, links to the cells' logs excepted. All
// text goes through html/template: guests cannot put markup into it, nor turn its direction around.
func RenderReport(w io.Writer, r Run) error {
	r = r.Settled()
	t, err := template.New("report").Funcs(template.FuncMap{
		"letter": Letter,
		"figure": perfFigure,
		"spread": func(p Perf) string { return fmt.Sprintf("%.3f %%", 100*p.Spread()) },
		"counted": func(list []Perf) []Perf {
			return slices.DeleteFunc(slices.Clone(list), func(p Perf) bool { return p.Class == ClassWall })
		},
		"upper":       upper,
		"seconds":     func(s float64) string { return fmt.Sprintf("%.1f", s) },
		"next":        next,
		"shown":       func(s Stage) bool { return s.State != cause.Pass },
		"expectation": expectation,
		"lines":       reportLines,
		"notReached":  notReached,
		"who":         func(a Agreement) string { return a.who(" / ") },
	}).Parse(reportTemplate)
	if err != nil {
		return fmt.Errorf("report template: %w", err)
	}
	code := ExitCode(r)
	d := reportData{Run: r, Verdict: Verdict(r), Head: headline(code), Span: span(r), Matrix: matrixOf(r), Agree: Agreements(r)}
	d.Class = map[int]string{ExitExpected: "pass", ExitFellShort: "fail", ExitLacking: "error"}[code]
	d.Wall = wallOf(r)
	for _, o := range overheads(r) {
		d.Plots = append(d.Plots, plotOf(o))
		if len(o.Kernels) > 1 {
			d.Plots = append(d.Plots, plotByKernel(o))
		}
	}
	for _, st := range shownStates() {
		d.States = append(d.States, reportCount{st, r.Summary.Count(st)})
	}
	var b strings.Builder
	if err := t.Execute(&b, d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for line := range strings.Lines(b.String()) {
		if _, err := io.WriteString(w, printable(strings.TrimSuffix(line, "\n"))+"\n"); err != nil {
			return err
		}
	}
	return nil
}

// reportLine is a line of evidence with the path of its log relative to the report, where it names one.
type reportLine struct {
	Text  string
	Link  string
	Where string // file and line, the text of the link
}

func reportLines(c Cell, f cause.Finding) []reportLine {
	var out []reportLine
	for _, e := range f.Evidence {
		l := reportLine{Text: e.String()}
		if slices.Contains(c.Logs, e.File) {
			l.Link, l.Where, l.Text = "cells/"+c.ID+"/"+e.File, e.File, e.Text
			if e.Line > 0 {
				l.Where += fmt.Sprintf(":%d", e.Line)
			}
		}
		out = append(out, l)
	}
	return out
}

// notReached lists what the cell declares and a stage that ended it left out.
func notReached(c Cell) []string {
	var out []string
	for _, name := range c.Declared.Stages {
		if _, ok := c.Stage(name); !ok {
			out = append(out, name)
		}
	}
	for _, name := range c.Declared.Scenarios {
		if _, ok := c.Scenario(name); !ok {
			out = append(out, name)
		}
	}
	return out
}

// perfFigure is a measured figure in the precision that it has.
func perfFigure(p Perf, v float64) string {
	switch {
	case p.Metric == MetricLoadSeconds:
		return fmt.Sprintf("%.3f", v)
	case p.Class == ClassInsn:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%g", v)
}
