// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/rundir"
	"github.com/mews-farm/mews/scenarios"
)

func newScenarioTable(s Streams) *cobra.Command {
	return &cobra.Command{
		Use:   "table RUN",
		Short: "Show of a run, as Markdown, what every attack and every twin fired",
		Long: `table prints a row for each attack that mews has: how often its rule fired for the attack and for its twin in each cell,
and what the alert said. It exits 1 when an attack fired in no cell of a real Falco engine, one that nobody of mews wrote:
that an attack is real is proven there alone. One that all of them are known to be blind to, as the matrix foresees, is
marked so, and is not held against the run: its deed was done, and the silence is the finding.`,
		Example: `  mews run --profile scenarios --out out/all
  mews scenarios table out/all`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			run, err := rundir.Load(args[0])
			if err != nil {
				return err
			}
			cat, err := scenarios.Builtin()
			if err != nil {
				return err
			}
			run = run.Settled()
			if err := scenarioTable(s.Out, run, cat.All()); err != nil {
				return err
			}
			if err := unproven(run, cat.All()); err != nil {
				return &exitError{results.ExitFellShort, err}
			}
			return nil
		},
	}
}

// foreign reports whether a cell's rules are evaluated by libsinsp, and its attacks so proven by an engine not ours. The
// consumer's name says nothing: a matrix may call anything by any name.
func foreign(c results.Cell) bool {
	return slices.Contains([]string{matrix.Sysdig, matrix.Falco}, c.Driver.ConsumerKind)
}

// unproven names the scenarios that fired in no foreign cell.
func unproven(run results.Run, all []scenarios.Scenario) error {
	var errs []error
	for _, sc := range all {
		if !slices.ContainsFunc(run.Cells, func(c results.Cell) bool {
			r, ok := c.Scenario(sc.Name)
			return ok && foreign(c) && r.State == cause.Pass && r.Fired > 0
		}) && !blind(run, sc.Name) {
			errs = append(errs, fmt.Errorf("%s fired in no cell of a real Falco engine: that the attack is one is not proven", sc.Name))
		}
	}
	return errors.Join(errs...)
}

// blind reports whether every foreign cell that tried a scenario kept silent, as the matrix foresees.
func blind(run results.Run, scenario string) bool {
	tried := 0
	for _, c := range run.Cells {
		r, ok := c.Scenario(scenario)
		switch {
		case !ok || !foreign(c):
		case r.Cause == cause.RuleSilent && c.Known(scenario):
			tried++
		default:
			return false
		}
	}
	return tried > 0
}

func scenarioTable(w io.Writer, run results.Run, all []scenarios.Scenario) error {
	b := bufio.NewWriter(w)
	fmt.Fprint(b, "| scenario | rule |")
	for _, c := range run.Cells {
		fmt.Fprintf(b, " %s, %s |", c.Kernel.Release, c.Driver.Name)
	}
	fmt.Fprint(b, " the alert says |\n|---|---|")
	fmt.Fprint(b, strings.Repeat("---|", len(run.Cells)+1), "\n")
	for _, sc := range all {
		fmt.Fprintf(b, "| %s | %s |", sc.Name, sc.Rule)
		says := ""
		for _, c := range run.Cells {
			r, ok := c.Scenario(sc.Name)
			switch {
			case !ok:
				fmt.Fprint(b, " not run |")
			case r.State == cause.Pass:
				fmt.Fprintf(b, " %d/%d |", r.Fired, r.TwinFired)
			case r.State == cause.Fail:
				known := ""
				if c.Known(sc.Name) {
					known = ", known"
				}
				fmt.Fprintf(b, " **%s** %d/%d%s |", r.Cause, r.Fired, r.TwinFired, known)
			default:
				fmt.Fprintf(b, " %s %s |", r.State, r.Cause)
			}
			if ok && r.Fired > 0 && (says == "" || foreign(c)) {
				says = saying(sc, r)
			}
		}
		fmt.Fprintf(b, " %s |\n", says)
	}
	return b.Flush()
}

// saying is what the alert said of what is expected of it, with the deed's id, which is new every time, as its variable.
func saying(sc scenarios.Scenario, r results.Scenario) string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(sc.Expect.Fields)) {
		v := results.Line(r.Fields[f])
		if r.DeedID != "" {
			v = strings.ReplaceAll(v, r.DeedID, "${id}")
		}
		out = append(out, "`"+f+"="+strings.NewReplacer("|", `\|`, "`", "'").Replace(v)+"`")
	}
	return strings.Join(out, "<br>")
}
