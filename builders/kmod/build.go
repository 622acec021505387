// SPDX-License-Identifier: Apache-2.0

// Package kmod knows how to build a driver's kernel module for one kernel, with that kernel's compiler and headers.
package kmod

import (
	"context"
	"path"
	"path/filepath"

	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// LogName is the name of the build's log in [Request].Out.
const LogName = kbuild.LogName

// Request is one module to build.
type Request = kbuild.Request

var kind = &kbuild.Kind{Variant: product.KMod, Version: "6", Compiler: kbuild.Own, Promises: true, Trials: trials, Build: build}

// Build builds the module, or finds it built from the same input. The error is a *cause.Err; a log was written
// to Request.Out if make was run.
func Build(ctx context.Context, r Request) (*product.Artifact, error) {
	return kbuild.Run(ctx, r, kind)
}

func build(ctx context.Context, b *kbuild.Build) (*product.Artifact, error) {
	// The legacy probe that lies in the same tree is none of the module's, and its flags are not either.
	if err := b.Scratch.RemoveAll(path.Join(b.In, "bpf")); err != nil {
		return nil, kbuild.WriteErr(err)
	}
	rec, err := b.Source.Recipe(ctx, variables(b))
	if err != nil {
		return nil, err
	}
	asked, err := together(ctx, b)
	if err != nil {
		return nil, err
	}
	seconds, err := b.Make(ctx, b.Base, rec.Make...)
	if err != nil {
		return nil, err
	}
	name := rec.Module + ".ko"
	built := path.Join(rec.Location, name)
	if _, err := b.Scratch.Stat(path.Join(b.In, built)); err != nil {
		return nil, cause.Failf(cause.CompileError, cause.FaultDriver, "make ended well without the %s that dkms.conf promises", name).
			With(cause.Evidence{File: "dkms.conf", Text: err.Error()})
	}
	said, err := b.Tool(ctx, "/usr/bin/sh", "-c", finish, "sh", b.Compiler.Command, b.Prefix()+"strip", path.Join(b.Base, built))
	if err != nil {
		return nil, err
	}
	if err := b.CopyOut(built, name); err != nil {
		return nil, err
	}
	a, err := b.Artifact(asked+seconds, said)
	if err != nil {
		return nil, err
	}
	return a, describe(a, filepath.Join(b.Out, name), b.Source.Device)
}

// finish takes the debug information off, as dkms does: it is three quarters of the file. BTF stays.
const finish = `"$1" --version && exec "$2" --strip-debug "$3"`

// variables are those that dkms sets for a dkms.conf.
func variables(b *kbuild.Build) map[string]string {
	return map[string]string{
		"kernelver":         b.Kernel.Kernel.Release,
		"kernel_source_dir": b.Headers,
		"arch":              b.Kernel.Kernel.Arch,
		"dkms_tree":         path.Join(sandbox.ScratchAt, "usr"),
		"source_tree":       path.Dir(b.Base),
		"PACKAGE_NAME":      "", "PACKAGE_VERSION": "",
	}
}

// describe adds what the module's file tells.
func describe(a *product.Artifact, file, device string) error {
	m, err := inspect.Read(file)
	if err != nil {
		return err
	}
	a.Path, a.File, a.SHA256, a.Size = file, filepath.Base(file), archive.Digest(m.SHA256), m.Size
	a.ModuleName, a.Device, a.Machine, a.License = m.Name, device, m.Machine.String(), m.License
	a.Vermagic, a.KernelRelease, a.SrcVersion, a.APIVersion, a.SchemaVersion = m.Vermagic, m.Release(), m.SrcVersion, m.APIVersion, m.SchemaVersion
	return nil
}
