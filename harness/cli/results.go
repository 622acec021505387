// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/compare"
	"github.com/mews-farm/mews/results/rundir"
)

func newResults(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "results",
		Short:   "Look at what a run recorded",
		Example: "  mews results show out/20261121-2200-k3f9\n  mews results compare out/last-night out/tonight",
	}
	var output string
	show := &cobra.Command{
		Use:   "show DIR",
		Short: "Show the verdicts of a run, and exit as it did",
		Long: `show reads each cell's own record. A cell that the plan declared and whose record is gone or damaged is
missing, whatever run.json says of it, and show then exits 3.`,
		Example: `  mews results show out/20261121-2200-k3f9
  mews results show out/20261121-2200-k3f9 -o summary >summary.md`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return showRun(s, args[0], output) },
	}
	show.Flags().StringVarP(&output, "output", "o", "table", "table, json, summary, junit, html, or event-generator: the report of its suites")
	c.AddCommand(show, newResultsCompare(s))
	return c
}

func newResultsCompare(s Streams) *cobra.Command {
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "compare BEFORE AFTER",
		Short: "Say what became of a run's verdicts and costs in a later one",
		Long: `compare holds the verdict on each stage and scenario of the later run against that of the earlier one, and the costs
too where both measured. What passed and does not any more is a regression, exit code 1; so is a cost that grew. What had
a verdict and has none, or is not in the later run at all, is lacking, exit code 3.`,
		Example: `  mews results compare out/last-night out/tonight
  mews results compare out/last-night out/tonight -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			before, err := rundir.Load(args[0])
			if err != nil {
				return err
			}
			after, err := rundir.Load(args[1])
			if err != nil {
				return err
			}
			r := compare.Runs(before, after, false)
			switch output {
			case "table":
				err = r.Render(s.Out, all)
			case "json":
				err = encode(s.Out, output, r)
			default:
				return fmt.Errorf("--output %s: table or json is to be had", output)
			}
			if err != nil {
				return err
			}
			if code := r.ExitCode(); code != results.ExitExpected {
				return &exitError{code: code}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	c.Flags().BoolVar(&all, "all", false, "show also what did not change")
	return c
}

func showRun(s Streams, dir, output string) error {
	run, err := rundir.Load(dir)
	if err != nil {
		return err
	}
	switch output {
	case "table":
		err = results.RenderTable(s.Out, run, false)
	case "json":
		err = encode(s.Out, output, run)
	case "summary":
		err = results.RenderSummary(s.Out, run)
	case "junit":
		err = results.RenderJUnit(s.Out, run)
	case "event-generator":
		err = results.RenderEventGenerator(s.Out, run)
	case "html":
		err = results.RenderReport(s.Out, run)
	default:
		return fmt.Errorf("--output %s: table, json, summary, junit, html or event-generator is to be had", output)
	}
	if err != nil {
		return err
	}
	if code := results.ExitCode(run); code != results.ExitExpected {
		return &exitError{code: code}
	}
	return nil
}
