// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"context"
	"fmt"

	"github.com/mews-farm/mews/builders/ebpf"
	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/kernels"
)

// buildLegacy builds the legacy probe, with the clang of that name, or else with the one that `mews build` would take for it.
func (w *Workshop) buildLegacy(ctx context.Context, r kbuild.Request, name string) (*harness.Built, error) {
	set, err := images.Builtin()
	if err != nil {
		return nil, err
	}
	if name == "" {
		choice, err := legacyClang(set.All(wanted(r)), wanted(r))
		if err != nil {
			return nil, err
		}
		if err := w.equip(ctx, &r, choice); err != nil {
			return nil, err
		}
	} else if err := w.named(ctx, &r, name); err != nil {
		return nil, err
	}
	a, err := ebpf.Build(ctx, r)
	if err != nil {
		return nil, err
	}
	return built(a), nil
}

// wanted is what a build asks of the builder images.
func wanted(r kbuild.Request) images.Want {
	k := r.Resolved
	return images.Want{Distro: k.Kernel.Distro, Suite: k.Suite, Arch: k.Kernel.Arch, NoRegistry: true}
}

// named gives a build the compiler of that name, and the root that has it.
func (w *Workshop) named(ctx context.Context, r *kbuild.Request, name string) error {
	set, err := images.Builtin()
	if err != nil {
		return err
	}
	choice, err := set.Named(name, wanted(*r))
	if err != nil {
		return err
	}
	return w.equip(ctx, r, choice)
}

func (w *Workshop) equip(ctx context.Context, r *kbuild.Request, choice images.Choice) error {
	made, err := (&images.Maker{Packages: w.index, Roots: w.Roots}).Root(ctx, choice)
	if err != nil {
		return err
	}
	r.Root = made.Root
	r.Compiler = product.Compiler{Command: choice.Compiler.Command, Family: choice.Compiler.Family, Major: choice.Compiler.Major}
	return nil
}

// inspectLegacy looks at a probe without loading it, and says what it saw.
func inspectLegacy(f *kernels.Files, path string) (string, error) {
	p, err := inspect.ReadProbe(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d programs for %s, API %s, schema %s", len(p.Programs), p.Release, p.APIVersion, p.SchemaVersion), p.Check(f.Kernel)
}
