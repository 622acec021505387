// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
)

// Source implements harness.Parts.
func (w *Workshop) Source(ctx context.Context, c *harness.Cell) error {
	if c.Driver.Source.Package.V == "" {
		return nil // carried by mews
	}
	_, err := w.Debian.Fetch(ctx, c.Source)
	return err
}

// Build implements harness.Parts. A CO-RE probe is compiled once for all kernels, when mews itself is built
// (bpf/gen.go): there is nothing to do for one kernel, and the note says so.
func (w *Workshop) Build(ctx context.Context, c *harness.Cell, f *kernels.Files, dir string) (*harness.Built, error) {
	switch c.Driver.Source.Builtin.V {
	case "":
	case matrix.Ptrace:
		return &harness.Built{Note: "a part of the agent: built with mews itself"}, nil
	case matrix.Embedded:
		return &harness.Built{Note: "a part of the consumer: built with it"}, nil
	default:
		return &harness.Built{Note: "compile once, run everywhere: built with mews itself"}, nil
	}
	deb, err := w.Debian.Fetch(ctx, c.Source)
	if err != nil {
		return nil, err
	}
	src, err := source.Open(ctx, w.Archive, deb, source.Options{})
	if err != nil {
		return nil, err
	}
	req := kbuild.Request{Kernel: f, Resolved: c.Resolved, Source: src, Out: dir, Archive: w.Archive}
	req.Force = c.Driver.Force
	if c.Driver.Variant.V == string(product.EBPF) {
		return w.buildLegacy(ctx, req, c.Driver.Compiler.V)
	}
	if name := c.Driver.Compiler.V; name != "" {
		err = w.named(ctx, &req, name)
	} else {
		req.Root, err = w.buildRoot(ctx, c, f)
	}
	if err != nil {
		return nil, err
	}
	a, err := kmod.Build(ctx, req)
	if err != nil {
		return nil, err
	}
	b := built(a)
	b.Note += fmt.Sprintf("; promises of the kernel's config: %d kept, %d not tried", len(a.Promises.Kept), len(a.Promises.Untried))
	return b, nil
}

// built is an artifact as a cell loads it.
func built(a *product.Artifact) *harness.Built {
	note := fmt.Sprintf("%s in %.1f s", a.Compiler.Command, a.Seconds)
	if a.Cached {
		note = fmt.Sprintf("%s, from the archive (took %.1f s)", a.Compiler.Command, a.Seconds)
	}
	if len(a.Flags) > 0 {
		note += fmt.Sprintf("; with %s of the kernel's own Makefile, which its headers need and the driver's Makefile leaves out", strings.Join(a.Flags, " "))
	}
	return &harness.Built{
		Name: a.ModuleName, Device: a.Device, Path: a.Path, Note: note, Kept: a.Cached,
		Open: func() (io.ReadCloser, error) { return os.Open(a.Path) },
	}
}

// buildRoot makes the root that holds the compiler which the kernel's own configuration names.
func (w *Workshop) buildRoot(ctx context.Context, c *harness.Cell, f *kernels.Files) (*root.Root, error) {
	cc, err := f.Config.Compiler()
	if err != nil {
		return nil, err
	}
	suites, err := buildSuites(c, cc)
	if err != nil {
		return nil, err
	}
	pkgs, err := w.index.Closure(ctx, suites, root.Tools(cc.Command)...)
	if err != nil {
		return nil, err
	}
	return w.Roots.Tree(ctx, pkgs)
}

// Inspect implements harness.Parts.
func (w *Workshop) Inspect(c *harness.Cell, f *kernels.Files, b *harness.Built) (string, error) {
	switch {
	case c.Driver.Variant.V == matrix.Ptrace:
		return "nothing goes into the kernel", nil
	case c.Driver.Source.Builtin.V == matrix.Embedded:
		return "the consumer brings its driver along", nil
	case c.Driver.Variant.V == string(product.EBPF):
		return inspectLegacy(f, b.Path)
	case b.Path == "":
		return "relocated and verified by the kernel at load", nil
	}
	m, err := inspect.Read(b.Path)
	if err != nil {
		return "", err
	}
	if err := m.Check(f.Kernel, f.Config); err != nil {
		return "", err
	}
	exported, err := inspect.Symbols(f)
	if err != nil {
		return "", err
	}
	symbols, err := m.CheckSymbols(f.Kernel, f.Config, exported)
	return fmt.Sprintf("%s, API %s, schema %s, %s", strings.TrimSpace(m.Vermagic), m.APIVersion, m.SchemaVersion, symbols), err
}

// Builtins names the drivers that mews carries.
var Builtins = append(modern.Editions(), matrix.Ptrace, matrix.Embedded)
