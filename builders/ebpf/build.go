// SPDX-License-Identifier: Apache-2.0

// Package ebpf knows how to build a driver's legacy eBPF probe for one kernel: probe.o, out of C that reads the kernel's
// structures as its headers have them, as a module does.
//
// Upstream's last source that has one is driver 9.1.0; with driver 10 it is gone.
package ebpf

import (
	"context"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Request is one probe to build. Its Compiler is a clang, which llc of the same major stands beside; default: the newest
// clang of the root. The root must be of the kernel's suite or a newer one: modpost runs in it.
type Request = kbuild.Request

var kind = &kbuild.Kind{Variant: product.EBPF, Version: "2", Compiler: newest, Variables: variables, Build: build}

// Build builds the probe, or finds it built from the same input. The error is a *cause.Err; a log was written
// to Request.Out if make was run.
func Build(ctx context.Context, r Request) (*product.Artifact, error) {
	return kbuild.Run(ctx, r, kind)
}

// file is what the driver's Makefile makes.
const file = "probe.o"

// newest is the newest clang in the root.
func newest(r *kbuild.Request) (product.Compiler, error) {
	var best product.Compiler
	for _, name := range r.Root.Compilers() {
		number, ok := strings.CutPrefix(name, "clang-")
		if major, err := strconv.Atoi(number); ok && err == nil && major > best.Major {
			best = product.Compiler{Command: name, Family: "clang", Major: major}
		}
	}
	if best.Command == "" {
		return best, cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root has no clang to compile a probe with").
			With(cause.Text("it has " + strings.Join(r.Root.Compilers(), ", "))...).Advise("make the build root with clang and llvm of one version")
	}
	return best, nil
}

func build(ctx context.Context, b *kbuild.Build) (*product.Artifact, error) {
	if llc := llc(b); b.Compiler.Family != "clang" || !b.Root.Has(llc) {
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "a probe takes clang and its llc, and %s is there without %s", b.Compiler.Command, llc).
			Advise("make the build root with clang and llvm of one version")
	}
	seconds, err := b.Make(ctx, path.Join(b.Base, "bpf"))
	if err != nil {
		return nil, err
	}
	built := path.Join("bpf", file)
	if _, err := b.Scratch.Stat(path.Join(b.In, built)); err != nil {
		return nil, cause.Failf(cause.CompileError, cause.FaultDriver, "make ended well without %s", file).
			With(cause.Evidence{File: "bpf/Makefile", Text: err.Error()})
	}
	said, err := b.Tool(ctx, "/usr/bin/"+b.Compiler.Command, "--version")
	if err != nil {
		return nil, err
	}
	if err := b.CopyOut(built, file); err != nil {
		return nil, err
	}
	a, err := b.Artifact(seconds, said)
	if err != nil {
		return nil, err
	}
	a.Flags = dialect(b.Kernel.Config)
	return a, describe(a, filepath.Join(b.Out, file), b.Source.Name)
}

func llc(b *kbuild.Build) string { return "llc-" + strconv.Itoa(b.Compiler.Major) }

// variables are make's. The kernel's Makefile asks its CC for what it can do while it is read; the probe is not compiled
// with that, and the root need not have it.
func variables(b *kbuild.Build) []string {
	vars := []string{"CLANG=" + b.Compiler.Command, "LLC=" + llc(b), "CC=" + b.Compiler.Command}
	flags := dialect(b.Kernel.Config)
	if prefix := b.Prefix(); prefix != "" {
		// clang compiles for the kernel's machine, and llc turns that into eBPF: inline assembly of the headers is looked at on the way.
		flags = append(flags, "--target="+strings.TrimSuffix(prefix, "-"))
	}
	if len(flags) > 0 {
		vars = append(vars, "KBUILD_EXTRA_CPPFLAGS="+strings.Join(flags, " "))
	}
	return vars
}

// describe adds what the probe's file tells.
func describe(a *product.Artifact, file, name string) error {
	p, err := inspect.ReadProbe(file)
	if err != nil {
		return err
	}
	a.Path, a.File, a.SHA256, a.Size = file, filepath.Base(file), archive.Digest(p.SHA256), p.Size
	a.ModuleName, a.Machine, a.License, a.KernelRelease = name, p.Machine.String(), p.License, p.Release
	a.APIVersion, a.SchemaVersion = p.APIVersion, p.SchemaVersion
	return nil
}
