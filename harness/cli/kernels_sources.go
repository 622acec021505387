// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/results"
)

func newKernelsSources(s Streams) *cobra.Command {
	var f kernelFlags
	var output string
	c := &cobra.Command{
		Use:   "sources [SOURCE...]",
		Short: "Show how the sources fared when they were last asked, and why one failed",
		Example: `  mews kernels sources
  mews kernels sources rocky almalinux -o json`,
		RunE: func(c *cobra.Command, names []string) error {
			if err := oneOf("output", output, []string{"table", "json", "yaml"}); err != nil {
				return err
			}
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			for _, name := range names {
				if err := st.sources.Check(name); err != nil {
					return err
				}
			}
			return st.showSources(c.Context(), s, names, output)
		},
	}
	f.add(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return c
}

func (st *store) showSources(ctx context.Context, s Streams, names []string, output string) error {
	list, err := st.catalog.Health(ctx)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(h catalog.Health) bool { return len(names) > 0 && !slices.Contains(names, h.Source) })
	if output != "table" {
		return encode(s.Out, output, list)
	}
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SOURCE\tREPO\tKERNELS\tLAST SUCCESS\tLAST TRY\tERROR")
	for _, h := range list {
		repo, success := h.Repo, "never"
		if repo == "" {
			repo = "(all)"
		}
		if !h.LastSuccess.IsZero() {
			success = h.LastSuccess.Format(time.DateTime)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", h.Source, repo, h.Count, success, h.LastTry.Format(time.DateTime), dash(results.Line(h.Error)))
	}
	return w.Flush()
}
