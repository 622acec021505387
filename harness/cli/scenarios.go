// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/scenarios"
)

func newScenarios(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "scenarios",
		Short: "List, show and check the attacks",
		Example: `  mews scenarios list
  mews scenarios show drop-and-execute
  mews scenarios new read-boot-config --rule 'Read sensitive file untrusted'
  mews scenarios lint my-scenarios
  mews scenarios lint --rules falco_rules.yaml`,
	}
	c.AddCommand(
		&cobra.Command{
			Use: "list", Short: "List the attacks and the rules they must fire", Args: cobra.NoArgs,
			Example: "  mews scenarios list",
			RunE:    func(*cobra.Command, []string) error { return listScenarios(s) },
		},
		&cobra.Command{
			Use: "show NAME", Short: "Show an attack whole: its container, its steps, its twin, what it expects, its rule", Args: cobra.ExactArgs(1),
			Example: "  mews scenarios show openat2-read-sensitive",
			RunE:    func(_ *cobra.Command, args []string) error { return showScenario(s, args[0]) },
		},
		newLint(s),
		newScenario(s),
		newScenarioTable(s),
	)
	return c
}

func newLint(s Streams) *cobra.Command {
	var files []string
	var consumer string
	c := &cobra.Command{
		Use:   "lint [DIR...]",
		Short: "Check every attack: rule, owner, reason, twin of the same shape; or the rules of files",
		Long: `lint checks the attacks that mews has, or those of directories of your own. With --rules it checks rule files instead, as Falco reads them, and prints a
line for each rule: compiled; unsupported by the consumer, which lacks a field, and where; disabled; or broken, for
whatever consumer, and then lint exits 1. Several files are read in their order: later ones change what earlier ones say.`,
		Example: `  mews scenarios lint
  mews scenarios lint my-scenarios
  mews scenarios lint --rules falco_rules.yaml
  mews scenarios lint --rules falco_rules.yaml --rules my_rules.yaml --consumer sysdig`,
		RunE: func(c *cobra.Command, dirs []string) error {
			if len(files) > 0 && len(dirs) > 0 {
				return errors.New("lint checks either the rules of --rules or the scenarios of directories: give one")
			}
			if len(files) > 0 {
				return lintRules(s, files, consumer)
			}
			if c.Flags().Changed("consumer") {
				return errors.New("--consumer says whom the rules of --rules are for, and no --rules is given")
			}
			return lintScenarios(s, dirs)
		},
	}
	c.Flags().StringArrayVar(&files, "rules", nil, "a rule file to check; may be repeated")
	c.Flags().StringVar(&consumer, "consumer", "falco", "whom the rules are for: "+strings.Join(readerNames(), ", "))
	return c
}

func listScenarios(s Streams) error {
	cat, err := scenarios.Builtin()
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tCONTEXT\tRULE\tOWNER")
	for _, sc := range cat.All() {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", sc.Name, sc.Context, sc.Rule, sc.Owner)
	}
	return w.Flush()
}

func showScenario(s Streams, name string) error {
	cat, err := scenarios.Builtin()
	if err != nil {
		return err
	}
	sc, err := cat.Get(name)
	if err != nil {
		return err
	}
	set, err := scenarios.Rules()
	if err != nil {
		return err
	}
	rule, err := set.Rule(sc.Rule)
	if err != nil {
		return err
	}
	return printScenario(s.Out, sc, rule)
}

// lintScenarios checks the scenarios of dirs, or without any those that mews has.
func lintScenarios(s Streams, dirs []string) error {
	cat, err := scenarios.Builtin()
	if err != nil {
		return err
	}
	all, errs := cat.All(), []error(nil)
	if len(dirs) > 0 {
		all = nil
	} else {
		errs = cat.Lint()
	}
	for _, dir := range dirs {
		own, err := scenarios.Dir(dir)
		if own == nil {
			return err
		}
		all = append(all, own.All()...)
		errs = append(errs, err)
		errs = append(errs, own.Lint()...)
		errs = append(errs, cat.Add(own))
	}
	if err := errors.Join(errs...); err != nil {
		return &exitError{results.ExitFellShort, err}
	}
	_, err = fmt.Fprintf(s.Out, "%d scenarios, nothing to complain of\n", len(all))
	return err
}
