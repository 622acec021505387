// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/catalog"
)

func newKernelsList(s Streams) *cobra.Command {
	var f kernelFlags
	var filter catalog.Filter
	var availability, output string
	c := &cobra.Command{
		Use:   "list",
		Short: "List the kernels of the catalogue",
		Example: `  mews kernels list --distro debian --arch x86_64
  mews kernels list --match 'amazonlinux2:5.10.*'
  mews kernels list --availability withdrawn -o json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			filter.Availability = kernels.Availability(availability)
			for _, known := range []struct {
				flag, got string
				of        []string
			}{
				{"output", output, []string{"table", "json", "yaml"}},
				{"arch", filter.Arch, []string{"", "x86_64", "aarch64"}},
				{"availability", availability, []string{"", string(kernels.Available), string(kernels.Withdrawn), string(kernels.Entitled)}},
			} {
				if err := oneOf(known.flag, known.got, known.of); err != nil {
					return err
				}
			}
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			return st.list(c.Context(), s, filter, output)
		},
	}
	f.add(c)
	c.Flags().StringVar(&filter.Distro, "distro", "", "only kernels of this distribution")
	c.Flags().StringVar(&filter.Arch, "arch", "", "only kernels for x86_64 or aarch64")
	c.Flags().StringVar(&filter.Match, "match", "", "only kernels that match this `glob` of [distro:]release")
	c.Flags().StringVar(&availability, "availability", "", "only kernels that are available, withdrawn or entitled (to be had with a subscription)")
	c.Flags().StringVarP(&output, "output", "o", "table", "table, json or yaml")
	return c
}

// oneOf refuses the value of a flag that is none of known.
func oneOf(flag, got string, known []string) error {
	if slices.Contains(known, got) {
		return nil
	}
	named := slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })
	last := len(named) - 1
	return fmt.Errorf("--%s %s: %s or %s is to be had", flag, got, strings.Join(named[:last], ", "), named[last])
}

func (st *store) list(ctx context.Context, s Streams, filter catalog.Filter, output string) error {
	list, err := st.catalog.List(ctx, filter)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		if err := st.whyNone(ctx, s, filter.Distro); err != nil {
			return err
		}
	}
	if output != "table" {
		return encode(s.Out, output, list)
	}
	out := bufio.NewWriter(s.Out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KERNEL\tVERSION\tARCH\tSOURCE\tREPO\tPACKAGE\tAVAILABILITY")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name(), dash(r.Version), r.Arch, r.Source, dash(r.Repo), dash(r.PackageVersion), r.Availability)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return out.Flush()
}

// whyNone refuses a distro that the catalogue has none of, and tells of anything else.
func (st *store) whyNone(ctx context.Context, s Streams, distro string) error {
	distros, err := st.catalog.Distros(ctx)
	switch {
	case err != nil:
		return err
	case len(distros) == 0:
		fmt.Fprintln(s.Err, "mews: the catalogue is empty: run `mews kernels update`")
	case distro != "" && !slices.Contains(distros, distro):
		return fmt.Errorf("no kernel of a distro %q is in the catalogue%s (there are %s)", distro, nearest.Hint(distro, distros), strings.Join(distros, ", "))
	default:
		fmt.Fprintln(s.Err, "mews: no kernel of the catalogue matches")
	}
	return nil
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// encode writes v as indented JSON, or as YAML with the keys of the JSON.
func encode(w io.Writer, output string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if output == "json" {
		_, err = fmt.Fprintf(w, "%s\n", text)
		return err
	}
	var doc yaml.Node // JSON is YAML, and a node keeps the order
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return err
	}
	plain(&doc)
	out := yaml.NewEncoder(w)
	out.SetIndent(2)
	if err := out.Encode(&doc); err != nil {
		return err
	}
	return out.Close()
}

// plain forgets the braces and quotes that JSON needs. The encoder quotes what would be read as anything but a string.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}
