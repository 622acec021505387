// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bufio"
	"fmt"
	"strings"
)

// wallTable is what a clock said of the drivers, which stands in no column with what was counted.
type wallTable struct {
	Rows []wallRow
	Foot string
}

type wallRow struct {
	Kernel, Driver, What, Value, Between string
}

// wallOf is empty where nothing was measured by a clock.
func wallOf(r Run) wallTable {
	var t wallTable
	repeats := 0
	for _, c := range r.Cells {
		for _, p := range OfClass(c.Perf, ClassWall) {
			row := wallRow{Kernel: c.Kernel.String(), Driver: c.Driver.Name, What: wallWhat(p), Value: wallText(p.Metric, p.Driver), Between: "-"}
			if p.Repeats > 1 {
				row.Between = wallText(p.Metric, p.Low) + " .. " + wallText(p.Metric, p.High)
				repeats = p.Repeats
			}
			t.Rows = append(t.Rows, row)
		}
	}
	if len(t.Rows) > 0 {
		t.Foot = "advice, which is held against nobody: of this machine (" + r.Host.identity() + ") and what else it did"
		if repeats > 1 {
			t.Foot += fmt.Sprintf("; medians of %d repeats, which lie between the least and the most of them with a confidence of %.1f %%", repeats, confidence(repeats))
		}
	}
	return t
}

// confidence is how sure it is, in parts of a hundred, that a median lies between the least and the most of n values of it:
// all n are on one side of it once in 2^(n-1) times.
func confidence(n int) float64 {
	out := 1.0
	for range n - 1 {
		out /= 2
	}
	return 100 * (1 - out)
}

// identity is the machine that figures of a clock are of.
func (h Host) identity() string {
	var parts []string
	if h.CPU != "" {
		parts = append(parts, h.CPU)
	}
	if h.CPUs > 0 {
		parts = append(parts, fmt.Sprintf("%d CPUs", h.CPUs))
	}
	if h.MemoryMiB > 0 {
		parts = append(parts, fmt.Sprintf("%d MiB", h.MemoryMiB))
	}
	parts = append(parts, h.Accelerator)
	if h.QEMU != "" {
		parts = append(parts, "QEMU "+h.QEMU)
	}
	return strings.Join(parts, ", ")
}

func wallWhat(p Perf) string {
	switch p.Metric {
	case MetricEventRate:
		return "events a second, of which none is lost"
	case MetricDropRate:
		return "opens a second at which events are lost"
	case MetricDrops:
		return "lost at that rate: " + p.Category
	case MetricConsumerCPU:
		return "consumer's part of a processor"
	case MetricConsumerBytes:
		return "consumer's memory"
	case MetricProgramNs:
		return "time of a run of program " + p.Program
	}
	return p.Metric
}

func wallText(metric string, v float64) string {
	switch metric {
	case MetricConsumerCPU:
		return fmt.Sprintf("%.1f %%", 100*v)
	case MetricConsumerBytes:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	case MetricProgramNs:
		return fmt.Sprintf("%.0f ns", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func tableWall(b *bufio.Writer, r Run) {
	t := wallOf(r)
	if len(t.Rows) == 0 {
		return
	}
	rows := [][]string{{"KERNEL", "DRIVER", "BY A CLOCK", "MEDIAN", "BETWEEN"}}
	for _, w := range t.Rows {
		rows = append(rows, []string{Line(w.Kernel), Line(w.Driver), Line(w.What), w.Value, w.Between})
	}
	fmt.Fprintln(b)
	writeColumns(b, 3, rows)
	fmt.Fprintln(b, Line(t.Foot))
}

func summaryWall(b *bufio.Writer, r Run) {
	t := wallOf(r)
	if len(t.Rows) == 0 {
		return
	}
	fmt.Fprintf(b, "## By a clock\n\n%s.\n\n| kernel | driver | | median | between |\n|---|---|---|---:|---:|\n", md(t.Foot))
	for _, w := range t.Rows {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", md(w.Kernel), md(w.Driver), md(w.What), md(w.Value), md(w.Between))
	}
	fmt.Fprintln(b)
}
