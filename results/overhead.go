// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
)

// overhead is what one driver adds to the paths, kernel by kernel.
type overhead struct {
	Driver  string
	Setting string
	Kernels []string
	Paths   []overheadPath
	Spread  float64 // the widest of the repeats
}

type overheadPath struct {
	Path  string
	Costs []*Perf // one for each kernel; nil: not measured there
}

// overheads are those of all drivers of the run that were measured, each in its dearest setting that was: with a consumer.
func overheads(r Run) []overhead {
	var out []overhead
	at := map[string]int{}
	for _, c := range r.Cells {
		list := atWork(c.Perf)
		if len(list) == 0 {
			continue
		}
		i, ok := at[c.Driver.Name]
		if !ok {
			i = len(out)
			at[c.Driver.Name] = i
			out = append(out, overhead{Driver: c.Driver.Name, Setting: list[0].Setting})
		}
		out[i].add(c.Kernel.String(), list)
	}
	for i := range out {
		for j, p := range out[i].Paths {
			out[i].Paths[j].Costs = append(p.Costs, make([]*Perf, len(out[i].Kernels)-len(p.Costs))...)
		}
	}
	return out
}

// atWork picks the instructions of the setting in which the driver works.
func atWork(list []Perf) []Perf {
	var out []Perf
	for _, setting := range []string{SettingConsumer, SettingLoaded} {
		for _, p := range list {
			if p.Metric == MetricInsns && p.Setting == setting {
				out = append(out, p)
			}
		}
		if out != nil {
			break
		}
	}
	return out
}

func (o *overhead) add(kernel string, list []Perf) {
	column := len(o.Kernels)
	o.Kernels = append(o.Kernels, kernel)
	for _, p := range list {
		i := slices.IndexFunc(o.Paths, func(q overheadPath) bool { return q.Path == p.Syscall })
		if i < 0 {
			i = len(o.Paths)
			o.Paths = append(o.Paths, overheadPath{Path: p.Syscall})
		}
		costs := append(o.Paths[i].Costs, make([]*Perf, max(0, column+1-len(o.Paths[i].Costs)))...)
		costs[column] = &p
		o.Paths[i].Costs = costs
		o.Spread = max(o.Spread, p.Spread())
	}
}

// Head says what the figures are.
func (o overhead) Head() string {
	if o.Setting == SettingLoaded {
		return "instructions that " + o.Driver + " adds to a call while nobody reads its events"
	}
	return "instructions that " + o.Driver + " adds to a call while its consumer captures"
}

// Foot says how sure they are.
func (o overhead) Foot() string {
	return fmt.Sprintf("repeats lie %.3f %% of the path apart at most", 100*o.Spread)
}

// costText is a cost in a few characters: what is added, and what part of the path without the driver that is.
func costText(p *Perf) string {
	if p == nil {
		return "-"
	}
	if p.Baseline <= 0 {
		return fmt.Sprintf("%+.0f", p.Added())
	}
	return fmt.Sprintf("%+.0f (%+.1f %%)", p.Added(), 100*p.Added()/p.Baseline)
}

func tableOverheads(b *bufio.Writer, r Run) {
	for _, o := range overheads(r) {
		rows := [][]string{{"PATH"}}
		for _, k := range o.Kernels {
			rows[0] = append(rows[0], Line(k))
		}
		for _, p := range o.Paths {
			row := []string{Line(p.Path)}
			for _, c := range p.Costs {
				row = append(row, costText(c))
			}
			rows = append(rows, row)
		}
		fmt.Fprintf(b, "\n%s\n", Line(o.Head()))
		writeColumns(b, 1, rows)
		fmt.Fprintln(b, o.Foot())
	}
}

func summaryOverheads(b *bufio.Writer, r Run) {
	list := overheads(r)
	if len(list) == 0 {
		return
	}
	fmt.Fprint(b, "## What the drivers cost\n\n")
	for _, o := range list {
		fmt.Fprintf(b, "%s; %s.\n\n| path |", md(o.Head()), md(o.Foot()))
		for _, k := range o.Kernels {
			fmt.Fprintf(b, " %s |", md(k))
		}
		fmt.Fprint(b, "\n|---|"+strings.Repeat("---:|", len(o.Kernels))+"\n")
		for _, p := range o.Paths {
			fmt.Fprintf(b, "| %s |", md(p.Path))
			for _, c := range p.Costs {
				fmt.Fprintf(b, " %s |", costText(c))
			}
			fmt.Fprintln(b)
		}
		fmt.Fprintln(b)
	}
}
