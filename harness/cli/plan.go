// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/results"
)

func newPlan(s Streams) *cobra.Command {
	var f selectFlags
	var output string
	var jobs, memory int
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show the cells that run would judge, and start nothing",
		Long: `plan resolves the matrix against the package indexes and shows each cell: the exact kernel, the driver
and its version, the consumer and the scenarios. What is known to be unsupported is named with the reason; in JSON
that is "declared.unsupported" of its cell. The last line says how long a run would take here, and how that is known. A kernel that cannot be resolved is shown with the reason, and plan then
exits 3.`,
		Example: `  mews plan
  mews plan --profile control -o json
  mews plan --kernel 'debian:6.12.*-cloud-amd64' --driver mews-modern`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return fmt.Errorf("--output %s: table or json is to be had", output)
			}
			if jobs < 1 {
				return fmt.Errorf("--jobs %d: at least one cell must run at once", jobs)
			}
			e, err := open(f, "", warnTo(s.Err))
			if err != nil {
				return err
			}
			plan, err := e.plan(c.Context())
			if err != nil {
				return err
			}
			if output == "json" {
				tellTrouble(s, plan)
				err = encode(s.Out, output, declare(plan))
			} else {
				err = printPlan(s, plan, estimated(e, plan, jobs, memory))
			}
			if err != nil {
				return err
			}
			for _, cell := range plan.Cells {
				if cell.Err != nil {
					return &exitError{code: results.ExitLacking}
				}
			}
			return nil
		},
	}
	f.add(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().IntVar(&jobs, "jobs", runtime.NumCPU(), "of the run whose time is estimated")
	c.Flags().IntVar(&memory, "memory", defaultMemory, "of a guest of the run whose time is estimated, in `MiB`")
	return c
}

// estimated says how long a run of the plan takes on this machine. Nothing is started to find that out: the accelerator is the
// one that the last answer was.
func estimated(e *env, p *harness.Plan, jobs, memory int) string {
	past, forgotten := history.Open(e.shop.Dir)
	est := harness.EstimateRun(p.Cells, past, past.Accelerator(), jobs, memory)
	from := est.From()
	if forgotten != "" {
		from += "; " + forgotten
	}
	return fmt.Sprintf("a run with --jobs %d takes about %s here (%s)", jobs, results.Duration(est.Whole().Round(time.Second)), from)
}

func printPlan(s Streams, p *harness.Plan, estimate string) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KERNEL\tPACKAGE\tDRIVER\tVERSION\tVARIANT\tCONSUMER\tSCENARIOS")
	var impossible, untwinned []string
	for _, c := range p.Cells {
		kernel, driver := c.Label()
		pkg := "-"
		if c.Resolved != nil {
			pkg = c.Resolved.PackageVersion
		}
		if c.Err != nil {
			pkg = "error"
		}
		names := make([]string, len(c.Scenarios))
		for i, sc := range c.Scenarios {
			names[i] = sc.Name
			if sc.Foreign != nil && !slices.Contains(untwinned, sc.Name) {
				untwinned = append(untwinned, sc.Name)
			}
			if e := c.Unable[sc.Name]; e != nil {
				names[i] += " (" + string(e.Cause) + ")"
				if t := fmt.Sprintf("%s: %s", e.Cause, e); !slices.Contains(impossible, t) {
					impossible = append(impossible, t)
				}
			}
		}
		if c.Denied != nil {
			names = []string{"unsupported: " + string(c.Denied.Cause)}
			if t := fmt.Sprintf("%s: %s", c.Denied.Cause, c.Denied); !slices.Contains(impossible, t) {
				impossible = append(impossible, t)
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", kernel, pkg, driver, c.Version, c.Driver.Variant.V, c.Driver.Consumer.V, strings.Join(names, ","))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, t := range impossible {
		fmt.Fprintln(s.Out, "unsupported, "+t)
	}
	if len(untwinned) > 0 {
		fmt.Fprintf(s.Out, "no twin, tests of a suite: %s\n", strings.Join(untwinned, ", "))
	}
	tellTrouble(s, p)
	cells := "cells"
	if len(p.Cells) == 1 {
		cells = "cell"
	}
	_, err := fmt.Fprintf(s.Out, "%d %s; %s\n", len(p.Cells), cells, estimate)
	return err
}

// tellTrouble says of each kernel that cannot be resolved why, once for all of its cells.
func tellTrouble(s Streams, p *harness.Plan) {
	last := ""
	for _, c := range p.Cells {
		if c.Err == nil {
			continue
		}
		kernel, _ := c.Label()
		if t := kernel + ": " + c.Err.Error(); t != last {
			fmt.Fprintln(s.Err, "mews: "+t)
			last = t
		}
	}
}

// declare turns a plan into the cells that its run will have to answer for.
func declare(p *harness.Plan) []results.Cell {
	var out []results.Cell
	for _, c := range p.Cells {
		r := results.Cell{
			ID:       c.ID,
			Kernel:   results.Kernel{Distro: c.Kernel.Distro.V, Release: c.Kernel.Name},
			Driver:   results.Driver{Name: c.Driver.Name, Variant: c.Driver.Variant.V, Version: c.Version, Consumer: c.Driver.Consumer.V, ConsumerKind: c.Consumer.Kind.V},
			Lane:     c.Lane(),
			Declared: results.Declared{Stages: c.Stages(), Repeat: c.Repeat},
			Expect:   c.Expect,
			Foresees: c.Foresees,
		}
		if c.Resolved != nil {
			r.Kernel = results.Kernel(c.Resolved.Kernel)
		}
		for _, s := range c.Scenarios {
			r.Declared.Scenarios = append(r.Declared.Scenarios, s.Name)
			if f := s.Foreign; f != nil {
				r.Declared.Tests = append(r.Declared.Tests, results.DeclaredTest{Scenario: s.Name, Suite: f.File, Test: f.Test.Name, Case: f.Test.Case})
			}
			if e := c.Unable[s.Name]; e != nil {
				r.Declared.Unsupported = append(r.Declared.Unsupported, results.Unsupported{Scenario: s.Name, Cause: e.Cause, Reason: e.Error()})
			}
		}
		if c.Denied != nil {
			r.Declared.Unsupported = append(r.Declared.Unsupported, results.Unsupported{Cause: c.Denied.Cause, Reason: c.Denied.Error()})
		}
		out = append(out, r)
	}
	return out
}
