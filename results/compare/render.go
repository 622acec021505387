// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/drift"
)

// gravity is the order in which verdicts are shown.
var gravity = []Became{Regression, Lacking, Changed, Better, New, Same}

// Render writes what changed for a terminal, the worst first; with all set, also what did not.
func (r Report) Render(w io.Writer, all bool) error {
	b := bufio.NewWriter(w)
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	list := slices.Clone(r.Verdicts)
	slices.SortStableFunc(list, func(a, b Verdict) int {
		return cmp.Compare(slices.Index(gravity, a.Became), slices.Index(gravity, b.Became))
	})
	count := map[Became]int{}
	shown := 0
	for _, v := range list {
		count[v.Became]++
		if v.Became == Same && !all {
			continue
		}
		if shown == 0 {
			fmt.Fprintln(t, "KERNEL\tDRIVER\tWHAT\tBEFORE\tNOW\tBECAME\tWHY")
		}
		shown++
		became := string(v.Became)
		if v.Became == Regression || v.Became == Lacking {
			became = strings.ToUpper(became)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", results.Line(v.Kernel), results.Line(v.Driver), results.Line(v.What),
			dash(v.Before), dash(v.After), became, results.Line(why(v)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if shown > 0 {
		fmt.Fprintln(b)
	}
	for _, s := range r.Slower {
		fmt.Fprintf(b, "slower, which is held against nobody: %s × %s, stage %s: %.1f s -> %.1f s\n", results.Line(s.Kernel), results.Line(s.Driver), results.Line(s.Stage), s.Before, s.After)
	}
	fmt.Fprintf(b, "%d verdicts beside those of %s:", len(list), results.Line(r.Before))
	for i, g := range gravity {
		if i > 0 {
			fmt.Fprint(b, ",")
		}
		fmt.Fprintf(b, " %d %s", count[g], g)
	}
	if r.Left > 0 {
		fmt.Fprintf(b, "; %d of that run were not asked for", r.Left)
	}
	fmt.Fprintln(b)
	if err := b.Flush(); err != nil || len(r.Costs) == 0 {
		return err
	}
	return drift.Render(w, r.Costs, all)
}

// why is the reason of what is now, with its cause and whose fault it is.
func why(v Verdict) string {
	if v.Cause == "" || v.Became == Same {
		return v.Why
	}
	return fmt.Sprintf("%s (%s): %s", v.Cause, v.Fault, v.Why)
}

func dash(s cause.State) string {
	if s == "" {
		return "-"
	}
	return results.Line(string(s))
}
