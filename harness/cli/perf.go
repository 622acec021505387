// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/drift"
	"github.com/mews-farm/mews/results/rundir"
)

func newPerf(s Streams) *cobra.Command {
	var f selectFlags
	var o runOptions
	var baseline string
	c := &cobra.Command{
		Use:   "perf",
		Short: "Count the instructions that each driver adds to system calls",
		Long: `perf boots each cell's kernel in a guest whose clock counts instructions, and measures paths through the kernel
(getppid, openat, read, execve, ...) without the driver, with it loaded, and with its consumer. Whatever else this
machine does meanwhile, the figures are the same. Of eBPF programs it also records what the verifier counted.

With --baseline, a cost that grew beyond the decision rule of docs/performance.md is OVERHEAD_REGRESSION, exit code 1.`,
		Example: `  mews perf --kernel 'debian:6.1.*-cloud-amd64' --driver mews-modern
  mews perf --profile quick --out out/before
  mews perf --profile quick --baseline out/before
  mews perf compare out/before out/after`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.jobs < 1 {
				return fmt.Errorf("--jobs %d: at least one cell must run at once", o.jobs)
			}
			if baseline != "" {
				before, err := measuredRun(baseline)
				if err != nil {
					return err
				}
				o.before = &before
			}
			o.measured = true
			return run(c.Context(), s, f, o)
		},
	}
	f.add(c)
	c.Flags().StringVar(&o.out, "out", "", "the run directory (default out/<run id>)")
	c.Flags().StringVar(&baseline, "baseline", "", "the `directory` of an earlier run to compare with")
	c.Flags().IntVar(&o.jobs, "jobs", runtime.NumCPU(), "cells at once; each is measured with the machine to itself")
	c.Flags().IntVar(&o.memory, "memory", defaultMemory, "memory of a guest in `MiB`; the emulator needs about 200 more")
	c.AddCommand(newPerfCompare(s))
	return c
}

// measuredRun reads a run that has measurements.
func measuredRun(dir string) (results.Run, error) {
	r, err := rundir.Load(dir)
	if err != nil {
		return r, err
	}
	for _, c := range r.Cells {
		if len(c.Perf) > 0 {
			return r, nil
		}
	}
	return r, fmt.Errorf("%s holds no measurements: it is not a run of `mews perf`", dir)
}

// beforeOf finds a cell of an earlier run. One that it lacks is a cell without figures: nothing to compare with is no pass.
func beforeOf(r *results.Run) func(string) *results.Cell {
	if r == nil {
		return nil
	}
	return func(id string) *results.Cell {
		for i, c := range r.Cells {
			if c.ID == id && len(c.Perf) > 0 {
				return &r.Cells[i]
			}
		}
		return &results.Cell{ID: id}
	}
}

func newPerfCompare(s Streams) *cobra.Command {
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "compare BEFORE... AFTER",
		Short: "Say what became dearer from one run to the next",
		Long: `compare holds the last run's costs against those of the run before it, kernel by kernel, driver by driver and path
by path. Runs before those are history: with seven or more in all, a change must also stand out from how the costs
varied before. It exits 1 if a cost grew, and 3 if one that was measured is not measured any more.`,
		Example: `  mews perf compare out/before out/after
  mews perf compare out/night-*/ -o json`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, dirs []string) error {
			var runs []results.Run
			for _, d := range dirs {
				r, err := measuredRun(d)
				if err != nil {
					return err
				}
				runs = append(runs, r)
			}
			return compareCosts(s, drift.Runs(runs...), output, all)
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().BoolVar(&all, "all", false, "show also what did not change")
	return c
}

func compareCosts(s Streams, changes []drift.Change, output string, all bool) error {
	var err error
	switch output {
	case "table":
		err = drift.Render(s.Out, changes, all)
	case "json":
		err = encode(s.Out, output, changes)
	default:
		return fmt.Errorf("--output %s: table or json is to be had", output)
	}
	if err != nil {
		return err
	}
	if code := drift.ExitCode(changes); code != results.ExitExpected {
		return &exitError{code: code}
	}
	return nil
}
