// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mews-farm/mews/driver/consumer/native"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/scenarios/rules"
)

// reader is a consumer that rules can be checked for.
type reader struct {
	name   string
	fields rules.Schema
	write  func(rules.Expr) (string, error) // a condition in its words; nil: as it is
}

// readers are the consumers, by what --consumer calls them.
var readers = []reader{
	{"falco", rules.Falco, nil},
	{"native", native.Schema(), native.Write},
	{"sysdig", rules.Sysdig041.Fields, rules.Sysdig041.Filter},
	{"sysdig-0.29", rules.Sysdig029.Fields, rules.Sysdig029.Filter},
}

func readerNames() []string {
	out := make([]string, len(readers))
	for i, r := range readers {
		out[i] = r.name
	}
	return out
}

// compile is what becomes of each rule. One that the consumer has all fields for may still not be writable in its words.
func (r reader) compile(set *rules.Set) []rules.Result {
	out := set.Compile(r.fields)
	if r.write == nil {
		return out
	}
	for i, res := range out {
		if res.State != rules.Compiled {
			continue
		}
		if _, err := r.write(res.Rule.Expr); err != nil {
			out[i] = rules.Result{Rule: res.Rule, State: rules.Unsupported, Reason: rules.AsError(err)}
		}
	}
	return out
}

// lintRules prints what a consumer makes of each rule of the files, which are read in their order.
func lintRules(s Streams, paths []string, consumer string) error {
	i := slices.IndexFunc(readers, func(r reader) bool { return r.name == consumer })
	if i < 0 {
		return fmt.Errorf("--consumer %s: no consumer is called that%s (known: %s)", consumer, nearest.Hint(consumer, readerNames()), strings.Join(readerNames(), ", "))
	}
	var files []rules.File
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files = append(files, rules.File{Name: p, Data: data})
	}
	set, err := rules.Load(files...)
	if err != nil {
		return &exitError{results.ExitFellShort, err}
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tSTATE\tWHY")
	count := map[rules.State]int{}
	all := readers[i].compile(set)
	for _, res := range all {
		count[res.State]++
		why := "-"
		switch {
		case res.Reason != nil:
			why = res.Reason.Error()
		case len(res.Lacks) > 0:
			why = "its alerts lack " + strings.Join(res.Lacks, ", ")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", res.Rule.Name, res.State, why)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	sum := make([]string, 0, 4)
	for _, st := range []rules.State{rules.Compiled, rules.Unsupported, rules.Disabled, rules.Broken} {
		sum = append(sum, fmt.Sprintf("%d %s", count[st], st))
	}
	if _, err := fmt.Fprintf(s.Out, "%d rules for %s: %s\n", len(all), consumer, strings.Join(sum, ", ")); err != nil {
		return err
	}
	if count[rules.Broken] > 0 {
		return &exitError{code: results.ExitFellShort}
	}
	return nil
}
