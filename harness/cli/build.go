// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mews-farm/mews/builders/docker"
	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/product"
	farm "github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/results"
)

// buildFlags are those of build and of build import.
type buildFlags struct {
	file, profile string
	arch          string // "": as a configuration says
	offline       bool
	kernels       []string
	drivers       []string
	sources       []string
	compilers     []string
	out, publish  string
	builder       string
	force         bool
	replace       bool
	jobs          int
	output        string
}

func newBuild(s Streams) *cobra.Command {
	var f buildFlags
	c := &cobra.Command{
		Use:   "build",
		Short: "Build drivers for kernels, and publish them as Falco's users look for them",
		Long: `build takes a grid of kernels x drivers to artifacts: for each kernel the compiler that its configuration
names, in a sandbox without a network, against verified headers. What was built of the same input before is not built
again, so that a grid that was interrupted goes on where it was when the same command is given again.

Kernels and drivers are those of the matrix, or of one of its profiles; --kernel and --driver narrow them, and --kernel
finds kernels of the catalogue too. --source adds a driver that is on disk: a directory, a tarball or a package that
holds a DKMS tree or a checkout of falcosecurity/libs. Of a checkout the CO-RE probe is built too, once for all kernels.

Artifacts go to a directory (--out) or a bucket (--publish), in Falco's own layout,
<driver version>/<arch>/falco_<target>_<kernel release>_<kernel version>.ko or .o, with a sidecar and a provenance
statement beside each; falcoctl can be pointed there by --repo. With --compilers the grid has a third side, is
printed as a table of compilers, and publishes nothing.

Exit codes: 0 all was built; 1 a driver does not fit a kernel; 3 something could not be tried.`,
		Example: `  mews build --kernel 'debian:6.12.*-cloud-amd64' --driver 'falco-*'
  mews build --kernel debian-6.1 --source ./libs --publish s3://drivers/falco
  mews build --kernel debian-5.10 --driver falco-kmod --compilers all
  mews build import driverkit/config/9.1.0+driver`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.check(c); err != nil {
				return err
			}
			sel := harness.Selection{Profile: f.profile, Kernels: f.kernels, Drivers: f.drivers}
			return f.run(c.Context(), s, func(ctx context.Context, shop *parts.Workshop, fd *parts.Foundry) (*ground, error) {
				targets, drivers, err := harness.Targets(ctx, shop.Matrix, sel, shop)
				if err != nil {
					return nil, err
				}
				if len(f.sources) > 0 && len(f.drivers) == 0 {
					drivers = nil // what is on disk alone
				}
				g := &ground{kernels: fd.Kernels(ctx, targets), drivers: fd.Drivers(ctx, drivers, f.sources, "")}
				if slices.ContainsFunc(g.drivers, func(d *grid.Driver) bool { return d.Variant == product.Modern }) {
					g.kernels = append(g.kernels, grid.AnyBTF(f.arch))
				}
				return g, nil
			})
		},
	}
	f.add(c)
	c.AddCommand(newBuildImport(s))
	c.Flags().StringVar(&f.arch, "arch", "x86_64", "the architecture of the kernels: x86_64 or aarch64, which the catalogue must have")
	c.Flags().StringVar(&f.profile, "profile", "", "only the kernels and drivers of this profile")
	c.Flags().StringSliceVar(&f.kernels, "kernel", nil, "kernels that match: `[distro:]release`, with globs, or a name of the matrix")
	return c
}

func (f *buildFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "file", "f", "matrix.yaml", "the matrix")
	c.Flags().StringSliceVar(&f.drivers, "driver", nil, "only drivers that match this `glob`")
	c.Flags().StringArrayVar(&f.sources, "source", nil, "a driver on disk: `DIR|TARBALL|DEB`; without --driver nothing else is built")
	c.Flags().StringSliceVar(&f.compilers, "compilers", nil, "build with each of these compilers (`gcc-12,clang-14` or all), and publish nothing")
	c.Flags().StringVar(&f.out, "out", filepath.Join("out", "drivers"), "the store: a `directory`")
	c.Flags().StringVar(&f.publish, "publish", "", "the store: a `URL` (s3://bucket/prefix), in place of --out")
	c.Flags().StringVar(&f.builder, "builder", "auto", "where compilers run: auto, docker or local")
	c.Flags().BoolVar(&f.force, "force-compiler", false, "build with a compiler that cannot do what the kernel's configuration promises")
	c.Flags().BoolVar(&f.replace, "replace", false, "publish over artifacts of other content")
	c.Flags().IntVar(&f.jobs, "jobs", runtime.NumCPU(), "cells built at once; memory and processors may allow fewer")
	c.Flags().BoolVar(&f.offline, "offline", false, "use the archive alone; touch no network")
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table, json or markdown")
	c.MarkFlagsMutuallyExclusive("out", "publish")
}

func (f *buildFlags) check(c *cobra.Command) error {
	if err := oneOf("output", f.output, []string{"table", "json", "markdown"}); err != nil {
		return err
	}
	if err := oneOf("builder", f.builder, docker.Builders); err != nil {
		return err
	}
	if err := oneOf("arch", f.arch, []string{"", "x86_64", "aarch64"}); err != nil {
		return err
	}
	if f.jobs < 1 {
		return fmt.Errorf("--jobs %d: at least one cell must be built at once", f.jobs)
	}
	if len(f.compilers) > 0 && (c.Flags().Changed("out") || c.Flags().Changed("publish")) {
		return errors.New("--compilers makes a table, of artifacts that are not for publishing: leave --out and --publish out")
	}
	return nil
}

// ground is what a grid stands on.
type ground struct {
	kernels []*grid.Kernel
	drivers []*grid.Driver
	cells   []*grid.Cell // in place of the two
	notes   []string     // what cannot be built here, one line each
}

func (g *ground) all(compilers []string) []*grid.Cell {
	if g.cells != nil {
		return g.cells
	}
	return grid.Cells(g.kernels, g.drivers, compilers)
}

// farmMemory is where the collector of garbage begins to hold back the farm, unless $GOMEMLIMIT says: it keeps the indexes of all
// suites while it unpacks build roots and headers. Fifteen kernels had their peak at 244 MiB without it.
const farmMemory = 165 << 20

func (f *buildFlags) run(ctx context.Context, s Streams, find func(context.Context, *parts.Workshop, *parts.Foundry) (*ground, error)) error {
	view := live.New(s.Err)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(farmMemory)
	}
	rs, err := f.build(ctx, view, find)
	view.Abort()
	if err != nil && rs == nil {
		return err
	}
	if out := f.print(s, rs); out != nil {
		return &exitError{results.ExitLacking, errors.Join(err, out)}
	}
	switch {
	case harness.Interrupted(err):
		return &exitError{exitInterrupted, errors.New("interrupted; what is built is remembered: give the same command again to go on")}
	case err != nil:
		return &exitError{results.ExitLacking, err}
	}
	if code := results.ExitCode(grid.Record(rs)); code != results.ExitExpected {
		return &exitError{code: code}
	}
	return nil
}

func (f *buildFlags) build(ctx context.Context, view live.View, find func(context.Context, *parts.Workshop, *parts.Foundry) (*ground, error)) ([]*grid.Result, error) {
	m, _, err := parts.Load(f.file)
	if err != nil {
		return nil, err
	}
	shop, err := parts.Open(parts.Options{Matrix: m, Offline: f.offline, Warn: view.Warn, Arch: f.arch})
	if err != nil {
		return nil, err
	}
	shop.HeadersOnly = true
	fd := &parts.Foundry{Shop: shop, Force: f.force}
	if fd.Images, err = images.Builtin(); err != nil {
		return nil, err
	}
	var why string
	if fd.Runner, why, err = docker.Pick(ctx, f.builder); err != nil {
		return nil, lacking(err)
	}
	view.Note("builder " + why)
	compilers, err := f.named(fd)
	if err != nil {
		return nil, err
	}
	view.Note("resolving kernels and drivers")
	g, err := find(ctx, shop, fd)
	if err != nil {
		return nil, err
	}
	for _, n := range g.notes {
		view.Warn(n)
	}
	cells := g.all(compilers)
	if len(cells) == 0 {
		return nil, &harness.UsageError{Msg: "the grid has no cells: no kernel, or no driver that is built for one, was named"}
	}
	o := grid.Options{Builder: fd, Archive: shop.Archive, Scratch: filepath.Join(shop.Dir, "builds"), Jobs: f.jobs, Watcher: view}
	if len(compilers) == 0 {
		st, err := farm.Open(ctx, f.store())
		if err != nil {
			return nil, lacking(err)
		}
		view.Note("store " + st.String())
		o.Store = &parts.Shelf{Store: st, Replace: f.replace}
	}
	for _, c := range cells {
		view.Cell(live.Row{ID: c.ID, Kernel: c.Kernel.Name, Driver: c.Driver.Name, Stages: grid.Stages(o.Store != nil)})
	}
	return grid.Run(ctx, cells, o)
}

func (f *buildFlags) store() string {
	if f.publish != "" {
		return f.publish
	}
	return f.out
}

// named are the compilers that were asked for, each one that some image has.
func (f *buildFlags) named(fd *parts.Foundry) ([]string, error) {
	if len(f.compilers) == 0 {
		return nil, nil
	}
	known := fd.Compilers(f.arch)
	if slices.Equal(f.compilers, []string{"all"}) {
		return known, nil
	}
	for _, c := range f.compilers {
		if !slices.Contains(known, c) {
			if from := fd.Images.Pulled(c, images.Want{Arch: f.arch, NoRegistry: true}); from != "" {
				return nil, fmt.Errorf("--compilers %s: no builder image has it%s: that takes Docker (--builder docker), and no --offline", c, from)
			}
			return nil, fmt.Errorf("--compilers %s: no builder image has it%s (there are %s)", c, nearest.Hint(c, known), strings.Join(known, ", "))
		}
	}
	return f.compilers, nil
}

// buildRecord is what -o json prints.
type buildRecord struct {
	Schema  string          `json:"schema"`
	Summary results.Summary `json:"summary"`
	Cells   []*grid.Result  `json:"cells"`
}

func (f *buildFlags) print(s Streams, rs []*grid.Result) error {
	switch f.output {
	case "json":
		return encode(s.Out, "json", buildRecord{"mews/build/v1", grid.Record(rs).Settled().Summary, rs})
	case "markdown":
		return grid.RenderMarkdown(s.Out, rs)
	}
	out, ok := s.Out.(*os.File)
	colour := ok && term.IsTerminal(int(out.Fd())) && os.Getenv("NO_COLOR") == ""
	return grid.RenderTable(s.Out, rs, colour)
}
