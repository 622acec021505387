// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// unchangedCells is how many cells the grid has that did not change.
const unchangedCells = 100

// unchanged measures mews build when the store has all: real kernels and drivers with the inputs that they have, and in the
// store one module, which was built once, under the name and with the sidecar of each.
func unchanged(ctx context.Context, rounds int) ([]figure, error) {
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ks, err := gridKernels(ctx)
	if err != nil {
		return nil, err
	}
	ds := []string{"falco-kmod", "falco-kmod-*"}
	n, err := fill(ctx, dir, ks, ds)
	if err != nil {
		return nil, err
	}
	if n < unchangedCells {
		return nil, fmt.Errorf("the suites hold headers for %d cells alone", n)
	}
	// What the user's own cache remembers of these cells is of their own modules.
	home, err := unknowing(outcomes...)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(home)
	var seconds []float64
	for range rounds {
		c, err := build(ctx, append(os.Environ(), "XDG_CACHE_HOME="+home), filepath.Join(dir, "store"), ks, ds)
		if err != nil {
			return nil, err
		}
		if c.origins[grid.Stored] != n {
			return nil, fmt.Errorf("of %d cells that did not change the store had %d: %v", n, c.origins[grid.Stored], c.origins)
		}
		seconds = append(seconds, c.seconds)
	}
	return []figure{{fmt.Sprintf("unchanged grid of %d cells", n), median(seconds), "s", 2, "limit", 2}}, nil
}

// gridSuites are those whose kernels the grid has, each with the kernels' pattern.
var gridSuites = []struct {
	suites  []string
	pattern string
}{
	{[]string{"trixie-security", "trixie"}, "6.12.*amd64"},
	{[]string{"bookworm-security", "bookworm"}, "6.1*amd64"},
	{[]string{"bullseye-security", "bullseye"}, "5.10.*amd64"},
}

// gridKernels are kernels whose headers are to be had, three drivers of each making the cells.
func gridKernels(ctx context.Context) ([]string, error) {
	shop, _, err := workshop(false)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, g := range gridSuites {
		found, err := shop.Debian.Resolve(ctx, g.suites, g.pattern, unchangedCells/6)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			if err := fetchAll(ctx, shop.Debian, r.Headers); err != nil {
				return nil, err
			}
			names = append(names, "debian:"+r.Kernel.Release)
		}
	}
	return names[:min(len(names), unchangedCells/3+1)], nil
}

// fill makes a store in dir that has every cell, and says how many there are.
func fill(ctx context.Context, dir string, ks, ds []string) (int, error) {
	shop, _, err := workshop(true)
	if err != nil {
		return 0, err
	}
	shop.HeadersOnly = true
	fd := &parts.Foundry{Shop: shop, Runner: sandbox.Local{}}
	if fd.Images, err = images.Builtin(); err != nil {
		return 0, err
	}
	targets, drivers, err := harness.Targets(ctx, shop.Matrix, harness.Selection{Kernels: ks, Drivers: ds}, shop)
	if err != nil {
		return 0, err
	}
	cells := grid.Cells(fd.Kernels(ctx, targets), fd.Drivers(ctx, drivers, nil, ""), nil)
	made, err := oneModule(ctx, shop, cells[0].Kernel.Resolved, dir)
	if err != nil {
		return 0, err
	}
	st, err := store.Open(ctx, filepath.Join(dir, "store"))
	if err != nil {
		return 0, err
	}
	shelf := &parts.Shelf{Store: st}
	for _, c := range cells {
		if err := cmp.Or(c.Kernel.Err, c.Driver.Err); err != nil {
			return 0, err
		}
		in, err := fd.Inputs(ctx, c)
		if err != nil {
			return 0, err
		}
		r := &grid.Result{Cell: c, ID: c.ID, Kernel: in.Kernel, Driver: c.Driver.Name, Variant: in.Variant, Version: c.Driver.Version,
			Finding: cause.Finding{State: cause.Pass}, Origin: grid.Built, Inputs: in, Artifact: as(made, c, in)}
		if err := shelf.Publish(ctx, []*grid.Result{r}); err != nil {
			return 0, err
		}
	}
	return len(cells), nil
}

// oneModule builds the module that stands in for all.
func oneModule(ctx context.Context, shop *parts.Workshop, k *kernels.Resolved, dir string) (*product.Artifact, error) {
	req, err := buildOf(ctx, shop, k)
	if err != nil {
		return nil, err
	}
	req.Out, req.Archive = dir, shop.Archive
	return kmod.Build(ctx, *req)
}

// as is an artifact as it would be had it been built of other inputs.
func as(made *product.Artifact, c *grid.Cell, in *grid.Inputs) *product.Artifact {
	a := *made
	a.Kernel, a.Variant, a.DriverVersion, a.Source, a.Root = in.Kernel, in.Variant, c.Driver.Version, in.Source, in.Root
	a.Headers, a.HeaderSums, a.Compiler.Command, a.File = in.Headers, in.Sums, in.Compiler, path.Base(made.File)
	return &a
}
