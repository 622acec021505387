// SPDX-License-Identifier: Apache-2.0

package kbuild

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// hostArch is the architecture of the machine that builds, in the words of records.
var hostArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]

// cross are the prefix of GNU tools and kbuild's name, by the architecture that they make code for.
var cross = map[string]struct{ prefix, arch string }{
	"aarch64": {"aarch64-linux-gnu-", "arm64"},
	"x86_64":  {"x86_64-linux-gnu-", "x86"},
}

// Prefix is what the names of the GNU tools for the kernel's architecture begin with; "" for the machine's own.
func (r *Request) Prefix() string {
	if arch := r.Kernel.Kernel.Arch; arch != hostArch {
		return cross[arch].prefix
	}
	return ""
}

// Own is the default of a module: the compiler that built the kernel. Another major misreads its headers
// (falcosecurity/falco#3054: asm_inline).
func Own(r *Request) (product.Compiler, error) {
	c, err := r.Kernel.Config.Compiler()
	if err != nil {
		return product.Compiler{}, err
	}
	out := product.Compiler{Command: c.Command, Family: c.Family, Major: c.Major}
	if c.Family == "gcc" {
		out.Command = r.Prefix() + c.Command
	}
	return out, nil
}

// choose settles on the compiler, which the root must hold, and returns the kernel's own.
func (r *Request) choose(k *Kind) (kernels.Compiler, error) {
	own, ownErr := r.Kernel.Config.Compiler()
	if r.Compiler.Command == "" {
		if k.Compiler == nil {
			return own, cause.Errorf(cause.Internal, cause.FaultHarness, "no compiler was named for a %s driver", k.Variant)
		}
		c, err := k.Compiler(r)
		if err != nil {
			return own, err
		}
		r.Compiler = c
	}
	if ownErr != nil {
		own = kernels.Compiler{}
	}
	if k.Promises && r.Substitution == nil && own.Command != "" && (own.Family != r.Compiler.Family || own.Major != r.Compiler.Major) {
		r.Substitution = &product.Substitution{Wanted: own.Command, Used: r.Compiler.Command, Why: "it was asked for"}
	}
	if r.Root.Has(r.Compiler.Command) {
		return own, nil
	}
	have := r.Root.Compilers()
	if len(have) == 0 {
		return own, cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root has no compiler").
			With(cause.Evidence{Text: "kernel: " + own.Text})
	}
	return own, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "kernel %s is to be built for with %s, the build root has %s",
		r.Kernel.Kernel.Release, r.Compiler.Command, strings.Join(have, ", ")).
		With(cause.Evidence{File: "config-" + r.Kernel.Kernel.Release, Text: "CONFIG_CC_VERSION_TEXT=" + own.Text}).
		Advise("make the build root from a suite that has %s", r.Compiler.Command)
}

// kept is what was found of the promises before the build.
type kept struct {
	promise.Result
	broken  *product.Broken
	finding *cause.Err // that a forced build did not stop at
}

// promises tries the compiler before anything is built: what it lacks would fail somewhere in the kernel's headers.
func (r *Request) promises(ctx context.Context) (out *kept, err error) {
	scratch, err := os.MkdirTemp(r.Out, ".promise-")
	if err != nil {
		return nil, WriteErr(err)
	}
	defer func() {
		if rm := os.RemoveAll(scratch); rm != nil && err == nil {
			err = WriteErr(rm)
		}
	}()
	res, err := promise.Check(ctx, promise.Request{Kernel: r.Kernel, Root: r.Root.Dir, RootKey: r.Root.Key, Compiler: r.Compiler.Command, Linker: r.linker(),
		Scratch: scratch, Limits: r.Limits, Runner: r.Runner})
	out = &kept{}
	if res != nil {
		out.Result = *res
	}
	if err == nil {
		return out, nil
	}
	if !r.Force || !errors.As(err, &out.finding) || out.finding.Cause != cause.ToolchainMismatch {
		return nil, err
	}
	out.broken = &product.Broken{What: out.finding.What, Evidence: out.finding.Evidence}
	return out, nil
}

// linker is the one that make will use.
func (r *Request) linker() string {
	if r.lld() {
		return "ld.lld-" + strconv.Itoa(r.Compiler.Major)
	}
	return r.Prefix() + "ld"
}

// lld reports whether LLVM's linker and tools are used: when the kernel's own build was linked by it, and clang is there.
func (r *Request) lld() bool {
	return r.Compiler.Family == "clang" && r.Kernel.Config.IsBuiltin("LD_IS_LLD")
}

// Variables are those of make that name other tools than the kernel's Makefile would take.
func (b *Build) Variables() []string {
	var out []string
	if prefix := b.Prefix(); prefix != "" {
		out = append(out, "ARCH="+cross[b.Kernel.Kernel.Arch].arch, "CROSS_COMPILE="+prefix)
	}
	if b.Kind.Variables != nil {
		return append(out, b.Kind.Variables(b)...)
	}
	if b.Compiler.Command != b.Own.Command || b.Prefix() != "" {
		out = append(out, "CC="+b.Compiler.Command)
	}
	// LLVM=-19 says the same in one word, but only to kernels since 5.18.
	if b.lld() {
		out = append(out, "LD="+b.linker())
		for _, tool := range []string{"AR=llvm-ar", "NM=llvm-nm", "OBJCOPY=llvm-objcopy", "STRIP=llvm-strip"} {
			out = append(out, tool+"-"+strconv.Itoa(b.Compiler.Major))
		}
	}
	return out
}

// putMake lays a make before the root's own in the search path of the driver's trial builds: since 2023 it tries the kernel's
// API in makes of their own, in an empty environment (configure/*/Makefile.inc: env -i), which would use other tools.
func (b *Build) putMake() error {
	vars := append(b.Variables(), b.Trials()...)
	if len(vars) == 0 {
		return nil
	}
	if err := b.Scratch.MkdirAll("bin", 0o755); err != nil {
		return err
	}
	var known string
	if len(b.yes) > 0 {
		known = fmt.Sprintf("if [ $# = 3 ] && [ \"${1%%%%=*} $2\" = 'CC -C' ]; then case \"$3\" in '%s') exit 0;; esac; fi\n", strings.Join(b.yes, "'|'"))
	}
	script := fmt.Sprintf("#!/bin/sh\n%sexec /usr/bin/make '%s' \"$@\"\n", known, strings.Join(vars, "' '"))
	return b.Scratch.WriteFile("bin/make", []byte(script), 0o755)
}

// Trials are the variables of make in the driver's own trial builds.
func (b *Build) Trials() []string {
	if b.Plain {
		return nil
	}
	return b.Kind.Trials
}

// Answer has the make of trial builds say of those in dirs, inside the sandbox, that they go well, and build nothing: the
// caller has seen that they do.
func (b *Build) Answer(dirs []string) error {
	b.yes = dirs
	return WriteErrOr(b.putMake())
}

// arguments are make's: the headers, the source, the tools.
func (b *Build) arguments(dir string, more []string) []string {
	jobs := b.Jobs
	if jobs == 0 {
		jobs = runtime.NumCPU()
	}
	// KERNELDIR is what driverkit hands to the same Makefiles.
	argv := []string{"/usr/bin/make", fmt.Sprintf("-j%d", jobs), "-C", b.Headers, "M=" + dir, "KERNELDIR=" + b.Headers}
	vars := b.Variables()
	argv = append(argv, vars...)
	if len(vars)+len(b.Trials()) > 0 {
		// As make's own variable, not as the environment's: the driver's Makefiles hand on $(PATH).
		argv = append(argv, "PATH="+path.Join(sandbox.ScratchAt, "bin")+":/usr/sbin:/usr/bin:/sbin:/bin")
	}
	return append(argv, more...)
}
