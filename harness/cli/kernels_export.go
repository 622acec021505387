// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/results/cause"
)

func newKernelsExport(s Streams) *cobra.Command {
	var f kernelFlags
	var arch string
	c := &cobra.Command{
		Use:   "export KERNEL FILE",
		Short: "Write a fetched kernel into one file, for a machine without a network",
		Example: `  mews kernels fetch debian:6.1.0-56-cloud-amd64
  mews kernels export debian:6.1.0-56-cloud-amd64 kernel.mews`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			r, err := st.catalog.Get(c.Context(), args[0], arch)
			if err != nil {
				return describe(err)
			}
			var digests []archive.Digest
			for _, p := range all(r.Entry) {
				if !st.has(p) {
					return fmt.Errorf("%s is not in the archive whole: run `mews kernels fetch %s` first", r.Name(), r.Name())
				}
				digests = append(digests, p.Digest)
			}
			if len(digests) == 0 {
				return fmt.Errorf("the packages of %s are not known yet: run `mews kernels fetch %s` first", r.Name(), r.Name())
			}
			err = writeAtomically(args[1], func(out *os.File) error {
				return st.archive.Export(c.Context(), out, r.Name(), r, digests...)
			})
			if err != nil {
				return lacking(err)
			}
			_, err = fmt.Fprintf(s.Out, "%s: %s, %d packages\n", args[1], r.Name(), len(digests))
			return err
		},
	}
	f.add(c)
	addArch(c, &arch)
	return c
}

func newKernelsImportArchive(s Streams) *cobra.Command {
	var f kernelFlags
	c := &cobra.Command{
		Use:   "import-archive FILE",
		Short: "Take in a kernel that `mews kernels export` wrote",
		Long: `import-archive verifies the file whole, and then adds its kernel to the catalogue and its packages to the archive,
pinned: where it is needed it cannot be fetched again. A damaged file changes nothing.`,
		Example: `  mews kernels import-archive kernel.mews`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			st, err := openStore(c.Context(), s, f)
			if err != nil {
				return err
			}
			defer st.close()
			in, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer in.Close()
			name, n, err := st.importArchive(c.Context(), in)
			if err != nil {
				return lacking(fmt.Errorf("import %s: %w", args[0], err))
			}
			_, err = fmt.Fprintf(s.Out, "%s: %d packages, pinned\n", name, n)
			return err
		},
	}
	f.add(c)
	return c
}

func (st *store) importArchive(ctx context.Context, in *os.File) (name string, packages int, err error) {
	got, err := st.archive.Import(ctx, in)
	if err != nil {
		return "", 0, err
	}
	var r catalog.Record
	if err := json.Unmarshal(got.Meta, &r); err != nil {
		return "", 0, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "it does not say which kernel it holds: %w", err)
	}
	for _, p := range all(r.Entry) {
		if !slices.Contains(got.Digests, p.Digest) {
			return "", 0, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "it lacks the package %s of its kernel", p.Name)
		}
	}
	if err := st.archive.Pin(r.Name(), got.Digests...); err != nil {
		return "", 0, err
	}
	return r.Name(), len(got.Digests), st.catalog.Add(ctx, []kernels.Entry{r.Entry}, time.Now())
}
