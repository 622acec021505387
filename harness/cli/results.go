// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/rundir"
)

func newResults(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:     "results",
		Short:   "Look at what a run recorded",
		Example: "  mews results show out/20261121-2200-k3f9",
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
	c.AddCommand(show)
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
