// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/kernels/imports"
)

func newKernelsImport(s Streams) *cobra.Command {
	var f kernelFlags
	var arch, distro string
	var verbose bool
	c := &cobra.Command{
		Use:   "import [KIND] PATH",
		Short: "Add kernels from lists, configurations or files that are there already",
		Long: `import adds what PATH tells of to the catalogue; what it skips it shows with the reason. KIND is found out where it
is left out:

  crawler    kernel-crawler's list.json
  driverkit  a driverkit configuration, or a tree of them as dbg-go makes
  urls       a text file with a URL of a package per line
  dir        a directory with a kernel in it, a vmlinuz, or .deb and .rpm files; they go into the archive`,
		Example: `  mews kernels import urls amazon-kernels.txt
  mews kernels import crawler list.json --arch x86_64
  mews kernels import ./linux-image-6.1.0-custom_amd64.deb`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			kind, path := imports.Auto, args[len(args)-1]
			if len(args) == 2 {
				kind = imports.Kind(args[0])
				if !slices.Contains(imports.Kinds, kind) {
					var names []string
					for _, k := range imports.Kinds {
						names = append(names, string(k))
					}
					return fmt.Errorf("no kind of import %q%s (there are %s)", kind, nearest.Hint(string(kind), names), strings.Join(names, ", "))
				}
			}
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			r, err := imports.Read(c.Context(), kind, path, imports.Options{Archive: st.archive, Arch: arch, Distro: distro})
			if err != nil {
				return describe(err)
			}
			if err := st.catalog.Add(c.Context(), r.Entries, time.Now()); err != nil {
				return err
			}
			return printImport(s, r, verbose)
		},
	}
	f.add(c)
	c.Flags().StringVar(&arch, "arch", "", "x86_64 or aarch64, of what does not say it itself")
	c.Flags().StringVar(&distro, "distro", "", "the distribution of what does not say it itself")
	c.Flags().BoolVarP(&verbose, "verbose", "v", false, "show every part that was skipped, not the first few")
	return c
}

func printImport(s Streams, r *imports.Result, verbose bool) error {
	const few = 10
	for _, remarks := range []struct {
		what string
		list []imports.Remark
	}{{"skipped", r.Skipped}, {"note", r.Notes}} {
		for i, m := range remarks.list {
			if i == few && !verbose {
				fmt.Fprintf(s.Err, "mews: and %d more; --verbose shows them\n", len(remarks.list)-few)
				break
			}
			fmt.Fprintf(s.Err, "mews: %s: %s\n", remarks.what, m)
		}
	}
	_, err := fmt.Fprintf(s.Out, "%d kernels of %d parts read as %s, %d skipped\n", len(r.Entries), r.Read, r.Kind, len(r.Skipped))
	return err
}
