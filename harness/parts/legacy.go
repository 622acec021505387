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

// buildLegacy builds the legacy probe, with the clang that `mews build` would take for it.
func (w *Workshop) buildLegacy(ctx context.Context, r kbuild.Request) (*harness.Built, error) {
	set, err := images.Builtin()
	if err != nil {
		return nil, err
	}
	k := r.Resolved
	want := images.Want{Distro: k.Kernel.Distro, Suite: k.Suite, Arch: k.Kernel.Arch, NoRegistry: true}
	choice, err := legacyClang(set.All(want), want)
	if err != nil {
		return nil, err
	}
	made, err := (&images.Maker{Packages: w.index, Roots: w.Roots}).Root(ctx, choice)
	if err != nil {
		return nil, err
	}
	r.Root = made.Root
	r.Compiler = product.Compiler{Command: choice.Compiler.Command, Family: choice.Compiler.Family, Major: choice.Compiler.Major}
	a, err := ebpf.Build(ctx, r)
	if err != nil {
		return nil, err
	}
	return built(a), nil
}

// inspectLegacy looks at a probe without loading it, and says what it saw.
func inspectLegacy(f *kernels.Files, path string) (string, error) {
	p, err := inspect.ReadProbe(path)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d programs for %s, API %s, schema %s", len(p.Programs), p.Release, p.APIVersion, p.SchemaVersion), p.Check(f.Kernel)
}
