// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels/imports"
)

func newBuildImport(s Streams) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "import DIR",
		Short: "Build what driverkit's configurations ask for",
		Long: `import takes a driverkit configuration, or a tree of them as dbg-go lays them out, as a grid: for each the kernel, and a
module, a probe or both of its driver version. The driver is one of the matrix or of --source that has that version;
with --driver or --source the drivers that are named stand in for every version.

Headers come from where the catalogue has the kernel; else from the configuration's own kernelurls, as far as a checksum
vouches for them. What cannot be built here is named, with the reason.`,
		Example: `  mews build import driverkit/config/9.1.0+driver --source ./libs
  mews build import falco.yaml -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			return f.run(c.Context(), s, func(ctx context.Context, shop *parts.Workshop, fd *parts.Foundry) (*ground, error) {
				return f.imported(ctx, shop, fd, args[0])
			})
		},
	}
	f.add(c)
	return c
}

func (f *buildFlags) imported(ctx context.Context, shop *parts.Workshop, fd *parts.Foundry, path string) (*ground, error) {
	configs, err := imports.ReadConfigs(ctx, path, imports.Options{Archive: shop.Archive})
	if err != nil {
		return nil, describe(err)
	}
	g := &ground{}
	for _, s := range configs.Skipped {
		g.notes = append(g.notes, "skipped: "+s.String())
	}
	for _, n := range configs.Notes {
		g.notes = append(g.notes, n.String())
	}
	drivers, err := harness.Drivers(shop.Matrix, harness.Selection{Drivers: f.drivers})
	if err != nil {
		return nil, err
	}
	if len(f.sources) > 0 && len(f.drivers) == 0 {
		drivers = nil
	}
	chosen := len(f.drivers)+len(f.sources) > 0
	g.cells = fd.Imported(ctx, configs.List, fd.Drivers(ctx, drivers, f.sources, onlyVersion(configs.List)), chosen)
	return g, nil
}

// onlyVersion is the driver version that all configurations name, or "": a checkout does not tell its own.
func onlyVersion(list []imports.Config) string {
	for _, c := range list {
		if c.DriverVersion != list[0].DriverVersion {
			return ""
		}
	}
	return list[0].DriverVersion
}
