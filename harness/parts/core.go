// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"cmp"
	"context"
	"time"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/modern"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/results/cause"
)

// coreCompiler and coreSuite are what a CO-RE probe is built with, which no kernel names a compiler for: Falco 0.40 and newer are
// made with clang-19, and trixie has it, and a bpftool that links with it.
const coreCompiler, coreSuite = "clang-19", "trixie"

// chooseCoRE finds the compiler of a CO-RE probe, and the packages of its root: cmake and bpftool as well.
func (f *Foundry) chooseCoRE(ctx context.Context, c *grid.Cell) (*chosen, error) {
	arch := c.Kernel.Kernel.Arch
	if arch != hostArch {
		return nil, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "a CO-RE probe for %s is built on such a machine: the checkout's cmake asks this one, which is %s", arch, hostArch).
			Advise("build it on a machine of that architecture; modules and legacy probes can be built here")
	}
	ch := &chosen{}
	var err error
	if ch.Choice, err = f.Images.Named(cmp.Or(c.Compiler, coreCompiler), images.Want{Distro: "debian", Suite: coreSuite, Arch: arch, NoRegistry: true}); err != nil {
		return nil, err
	}
	ch.whole = true
	ch.pkgs, err = f.Shop.index.Closure(ctx, ch.Image.Suites, modern.Tools(ch.Compiler.Command)...)
	return ch, err
}

// buildCoRE builds a CO-RE probe, which needs no kernel.
func (f *Foundry) buildCoRE(ctx context.Context, c *grid.Cell, dir string, jobs int) (*product.Artifact, error) {
	ch, err := f.choose(ctx, c)
	if err != nil {
		return nil, err
	}
	whole, err := f.Shop.Roots.Whole(ctx, ch.pkgs)
	if err != nil {
		return nil, err
	}
	req := modern.Request{
		Source: f.sourceOf(c.Driver), Root: whole, Out: dir, Jobs: jobs, Runner: f.Runner,
		Compiler: product.Compiler{Command: ch.Compiler.Command, Family: ch.Compiler.Family, Major: ch.Compiler.Major},
	}
	// 170 compilations are some two minutes of a processor's, which others use as well.
	req.Limits.Wall = time.Hour
	return modern.Build(ctx, req)
}
