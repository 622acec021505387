// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/imports"
	"github.com/mews-farm/mews/results/cause"
)

// Imported is the grid that driverkit's configurations mean: for each the kernel, and what it asks for of its driver
// version. With any, the drivers stand in for whatever version is named. A version that no driver has, and a kernel
// that nobody can bring, are errors of their cells.
func (f *Foundry) Imported(ctx context.Context, configs []imports.Config, drivers []*grid.Driver, any bool) []*grid.Cell {
	known := map[kernels.Kernel]*grid.Kernel{}
	lacking := map[string]*grid.Driver{}
	var out []*grid.Cell
	for _, conf := range configs {
		k := known[conf.Entry.Kernel]
		if k == nil {
			k = f.configured(ctx, conf.Entry)
			known[conf.Entry.Kernel] = k
		}
		for _, want := range []struct {
			asked   bool
			variant product.Variant
		}{{conf.Module, product.KMod}, {conf.Probe, product.EBPF}} {
			if !want.asked {
				continue
			}
			found := slices.DeleteFunc(slices.Clone(drivers), func(d *grid.Driver) bool {
				return d.Variant != want.variant || !any && conf.DriverVersion != "" && d.Version != conf.DriverVersion
			})
			if len(found) == 0 {
				name := fmt.Sprintf("driver-%s-%s", cmp.Or(conf.DriverVersion, "any"), want.variant)
				if lacking[name] == nil {
					lacking[name] = unknownDriver(name, conf.DriverVersion, want.variant)
				}
				found = []*grid.Driver{lacking[name]}
			}
			out = append(out, grid.Cells([]*grid.Kernel{k}, found, nil)...)
		}
	}
	// dbg-go has the same kernel once for each driver version.
	slices.SortStableFunc(out, func(a, b *grid.Cell) int { return cmp.Compare(a.Kernel.Name, b.Kernel.Name) })
	seen := map[string]bool{}
	return slices.DeleteFunc(out, func(c *grid.Cell) bool {
		twice := seen[c.ID]
		seen[c.ID] = true
		return twice
	})
}

func unknownDriver(name, version string, v product.Variant) *grid.Driver {
	return &grid.Driver{Name: plainName(name), Variant: v, Version: version, Err: cause.Errorf(cause.SourceUnusable, cause.FaultInfra,
		"no source of driver %s in variant %s is at hand", cmp.Or(version, "of any version"), v).
		Advise("name a checkout or a package of it with --source, or another driver with --driver")}
}

// configured finds the kernel of a configuration: where the catalogue has it with packages that somebody vouches for,
// those; else what the configuration itself names, as far as there is a checksum.
func (f *Foundry) configured(ctx context.Context, e kernels.Entry) *grid.Kernel {
	name := e.Distro + ":" + cmp.Or(e.BuildID, e.Release)
	if found, err := f.Shop.fromCatalog(ctx, name, e.Arch, 0); err == nil && len(found) == 1 && found[0].Err == nil {
		return f.kernel(ctx, name, found[0])
	}
	src, err := f.Shop.Sources.Open(imports.SourceName)
	if err != nil {
		return &grid.Kernel{Name: name, Err: err}
	}
	own := harness.Found{Policies: e.Policies}
	own.Resolved, own.Err = src.Resolve(ctx, e)
	if own.Err == nil {
		f.Shop.fetchers.learn(src, own.Resolved)
	} else {
		own.Resolved = &kernels.Resolved{Kernel: e.Kernel, PackageVersion: e.PackageVersion}
	}
	return f.kernel(ctx, name, own)
}
