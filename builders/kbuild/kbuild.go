// SPDX-License-Identifier: Apache-2.0

// Package kbuild knows how to build a driver with the kernel's own build system: the compiler that the headers want, one
// make in a sandbox, its log read when it fails, and what came of it remembered.
//
// What is built that way, and how it is looked at afterwards, is the business of kmod and ebpf.
package kbuild

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"syscall"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// LogName is the name of the build's log in [Request].Out.
const LogName = "build.log"

// maxLog bounds the log that is kept, in bytes: its first and last half.
const maxLog = 16 << 20

// Request is one driver to build for one kernel.
type Request struct {
	Kernel   *kernels.Files
	Resolved *kernels.Resolved // tells which headers were looked for; may be nil
	Source   *source.Source    // of layout DKMS: source.Configure makes one of a checkout
	Root     *root.Root
	// Compiler is the one to use: Command, Family and Major. Default of a module: the kernel's own, or, on a machine of
	// another architecture, that compiler's cross edition. A legacy probe has no default: no kernel names one.
	Compiler     product.Compiler
	Substitution *product.Substitution // why it is not the kernel's own; nil says no more than that
	// Force builds although the compiler broke a promise of the kernel's configuration. A failure then is
	// TOOLCHAIN_MISMATCH, and a success carries what was broken.
	Force   bool
	Out     string           // a directory that exists; gets the driver and build.log
	Archive *archive.Archive // keeps results by their input; nil builds always
	Jobs    int              // of make; default the number of CPUs
	Limits  sandbox.Limits
	Runner  sandbox.Runner // default sandbox.Local
}

// Kind is what the drivers of one variant have in common.
type Kind struct {
	Variant product.Variant
	Version string // part of every key: a change of how they are built makes all of them again
	// Compiler says which compiler to use where the request does not; it may be nil where there is no default.
	Compiler func(r *Request) (product.Compiler, error)
	Promises bool // whether what the configuration says of compilers is a promise about this one
	// Variables are those of make that name the tools, where they are not those of a module. May be nil.
	Variables func(b *Build) []string
	// Trials are variables of make in the driver's own trial builds alone: what spares work there without a say in whether
	// the trial compiles and its symbols resolve.
	Trials []string
	// Build makes the driver in b.Scratch and copies it to b.Out.
	Build func(ctx context.Context, b *Build) (*product.Artifact, error)
}

// Build is one build under way.
type Build struct {
	*Request
	Kind    *Kind
	Headers string           // inside the sandbox
	Base    string           // directory of the source inside the sandbox: /build/usr/src/scap-0.23.2
	Own     kernels.Compiler // the kernel's own; zero when its configuration names none
	Scratch *os.Root         // sandbox.ScratchAt inside
	In      string           // the source's directory in Scratch, relative to it
	// Plain says that nothing is to be spared in the driver's trial builds, because a build that spared there failed.
	Plain bool
	// Spared is set by Kind.Build where something was: a failure is then no verdict before it came without.
	Spared bool

	scratch string
	yes     []string // trial builds that are known to go well, by their directories inside the sandbox
	kept    *kept
	log     *os.File
}

// Run builds, or finds it built from the same input. The error is a *cause.Err; a log was written to r.Out if make ran.
func Run(ctx context.Context, r Request, k *Kind) (*product.Artifact, error) {
	if r.Runner == nil {
		r.Runner = sandbox.Local{}
	}
	if err := r.Source.Require(k.Variant); err != nil {
		return nil, err
	}
	headers, err := r.headers()
	if err != nil {
		return nil, err
	}
	own, err := r.choose(k)
	if err != nil {
		return nil, err
	}
	key, memory := r.key(k), Memory{Archive: r.Archive, Out: r.Out}
	if a, err := memory.Recall(key); err != nil || a != nil {
		return a, err
	}
	held := &kept{}
	if k.Promises {
		if held, err = r.promises(ctx); err != nil {
			return nil, err
		}
	}
	scratch, err := os.MkdirTemp(r.Out, ".build-")
	if err != nil {
		return nil, WriteErr(err)
	}
	b := &Build{Request: &r, Kind: k, Headers: headers, Own: own, scratch: scratch, kept: held}
	a, err := b.run(ctx)
	if rm := os.RemoveAll(scratch); rm != nil && err == nil {
		err = WriteErr(rm)
	}
	if keep := memory.Remember(ctx, key, a, err); keep != nil {
		return nil, keep
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

func (b *Build) run(ctx context.Context) (a *product.Artifact, err error) {
	if b.log, err = os.Create(filepath.Join(b.Out, LogName)); err != nil {
		return nil, WriteErr(err)
	}
	defer b.log.Close()
	if b.Scratch, err = os.OpenRoot(b.scratch); err != nil {
		return nil, WriteErr(err)
	}
	defer b.Scratch.Close()
	b.In = path.Join("usr/src", b.Source.Base())
	b.Base = path.Join(sandbox.ScratchAt, b.In)
	a, err = b.once(ctx)
	if !b.Spared || !blames(err) {
		return a, err
	}
	b.Plain, b.Spared, b.yes = true, false, nil
	if err := b.clear(); err != nil {
		return nil, WriteErr(err)
	}
	return b.once(ctx)
}

// once builds the driver out of its source as it was archived.
func (b *Build) once(ctx context.Context) (*product.Artifact, error) {
	if err := b.Scratch.MkdirAll(b.In, 0o755); err != nil {
		return nil, WriteErr(err)
	}
	if err := b.Source.Unpack(ctx, filepath.Join(b.scratch, b.In), nil); err != nil {
		return nil, err
	}
	if err := b.putMake(); err != nil {
		return nil, WriteErr(err)
	}
	return b.Kind.Build(ctx, b)
}

// blames reports whether an error says something of the driver or of the tools: something that was spared could have had a
// part in it.
func blames(err error) bool {
	var e *cause.Err
	return errors.As(err, &e) && (e.Fault == cause.FaultDriver || e.Fault == cause.FaultToolchain || e.Fault == cause.FaultKernel)
}

// clear takes away what a build left: its tree, the make of its trial builds, its log.
func (b *Build) clear() error {
	if _, err := b.log.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return errors.Join(b.log.Truncate(0), b.Scratch.RemoveAll("usr"), b.Scratch.RemoveAll("bin"))
}

// headers returns where the kernel's headers lie inside the sandbox.
func (r *Request) headers() (string, error) {
	release := r.Kernel.Kernel.Release
	if r.Kernel.Headers != "" && r.Kernel.HeaderDir != "" {
		return r.Kernel.HeaderDir, nil
	}
	e := cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "no headers for kernel %s", release).
		Advise("pick a kernel whose headers its suites still hold, or import them")
	if r.Resolved != nil {
		for _, p := range r.Resolved.HeadersMissing {
			e.With(cause.Evidence{Text: "no index holds " + p})
		}
	}
	if len(e.Evidence) == 0 {
		e.With(cause.Evidence{File: "/usr/src", Text: "the kernel's packages hold no Makefile for " + release})
	}
	return "", e
}

// WriteErr tells a full disk from the other ways in which reading and writing fails.
func WriteErr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "build: %w", err).Advise("free some space")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "build: %w", err)
}
