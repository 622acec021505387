// SPDX-License-Identifier: Apache-2.0

// Package modern knows how to build a driver's CO-RE probe of a checkout of falcosecurity/libs: the eBPF object that its own
// cmake target ProbeSkeleton links with bpftool, and the skeleton, a C header with the object in it, that libscap is compiled
// with. It is built once for all kernels of an architecture: the types are those of the checkout's own vmlinux.h.
package modern

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// The files that a build leaves in [Request].Out, besides kbuild.LogName.
const (
	ObjectName   = "bpf_probe.o"
	SkeletonName = "bpf_probe.skel.h"
)

// Tools names the packages whose closure makes a root for a clang (clang-19). bpftool must know "gen object", which 5.13's
// does; the probe is compiled against the headers of libbpf.
func Tools(clang string) []string {
	return append(root.Tools(clang), "bpftool", "cmake", "libbpf-dev")
}

// Request is one probe to build. It is for the architecture of the machine: the checkout's cmake asks uname.
type Request struct {
	Source   *source.Source   // of layout Libs
	Root     *root.Root       // root.Cache.Whole of Tools
	Compiler product.Compiler // a clang: Command, Family and Major
	Out      string           // a directory that exists
	Archive  *archive.Archive // keeps results by their input; nil builds always
	Jobs     int              // of make; default the number of CPUs
	Limits   sandbox.Limits   // a probe is 170 compilations, of together a minute or two of CPU
	Runner   sandbox.Runner   // default sandbox.Local
}

// version is part of every key: a change of how probes are built makes all of them again.
const version = "1"

// Recipe names how probes are built: when it changes, what was built before is built again.
func Recipe() string { return version }

// hostArch is the architecture of the machine that builds, in the words of records.
var hostArch = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]

func (r *Request) key() string {
	h := sha256.New()
	fmt.Fprintln(h, version, hostArch, r.Source.Base(), r.Source.Device, r.Source.Digest, r.Root.Key, r.Compiler.Command)
	return "build/" + string(product.Modern) + "/" + hex.EncodeToString(h.Sum(nil))[:32]
}

// Build builds the probe, or finds it built from the same input: the artifact is ObjectName, and SkeletonName lies beside it.
// Its Kernel has an architecture and nothing else. The error is a *cause.Err; a log was written to Request.Out if cmake was run.
func Build(ctx context.Context, r Request) (*product.Artifact, error) {
	if r.Runner == nil {
		r.Runner = sandbox.Local{}
	}
	if err := r.Source.Require(product.Modern); err != nil {
		return nil, err
	}
	if r.Source.Layout != source.Libs {
		return nil, cause.Errorf(cause.SourceUnusable, cause.FaultInfra, "a CO-RE probe is built of a checkout of falcosecurity/libs, and %s is laid out for %s",
			r.Source.Base(), r.Source.Layout).Advise("name a checkout of falcosecurity/libs")
	}
	if err := r.complete(); err != nil {
		return nil, err
	}
	key, memory := r.key(), kbuild.Memory{Archive: r.Archive, Out: r.Out}
	if a, err := memory.Recall(key); err != nil || a != nil {
		return a, err
	}
	scratch, err := os.MkdirTemp(r.Out, ".build-")
	if err != nil {
		return nil, kbuild.WriteErr(err)
	}
	b := &build{Request: &r, scratch: scratch}
	a, err := b.run(ctx)
	if rm := os.RemoveAll(scratch); rm != nil && err == nil {
		err = kbuild.WriteErr(rm)
	}
	if keep := memory.Remember(ctx, key, a, err, SkeletonName); keep != nil {
		return nil, keep
	}
	if err != nil {
		return nil, err
	}
	return a, nil
}

// complete reports what the root lacks: the checkout's cmake would look for it on the network, or say that it is not there in
// one of many ways.
func (r *Request) complete() error {
	var lacks []string
	for _, program := range []string{"bash", "cmake", "make"} {
		if !r.Root.Has(program) {
			lacks = append(lacks, "/usr/bin/"+program)
		}
	}
	if r.Compiler.Family != "clang" || !r.Root.Has(r.Compiler.Command) {
		lacks = append(lacks, fmt.Sprintf("clang, which %q is not", r.Compiler.Command))
	}
	for _, file := range []string{strings.TrimPrefix(bpftool, "/"), "usr/include/bpf/bpf_helpers.h"} {
		if _, err := os.Stat(filepath.Join(r.Root.Dir, file)); err != nil {
			lacks = append(lacks, "/"+file)
		}
	}
	if len(lacks) == 0 {
		return nil
	}
	e := cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root lacks what a CO-RE probe is built with: %s", lacks[0])
	return e.With(cause.Text(lacks...)...).Advise("make the build root with %s", strings.Join(Tools("clang-19"), ", "))
}

// bpftool is where Debian has it.
const bpftool = "/usr/sbin/bpftool"

// build is one build under way.
type build struct {
	*Request
	scratch string // sandbox.ScratchAt inside
}

func (b *build) run(ctx context.Context) (*product.Artifact, error) {
	log, err := os.Create(filepath.Join(b.Out, kbuild.LogName))
	if err != nil {
		return nil, kbuild.WriteErr(err)
	}
	defer log.Close()
	if err := b.layOut(ctx); err != nil {
		return nil, err
	}
	seconds, err := b.steps(ctx, log)
	if err != nil {
		return nil, err
	}
	if err := b.copyOut(); err != nil {
		return nil, err
	}
	said, err := b.ask(ctx, "/usr/bin/"+b.Compiler.Command, "--version")
	if err != nil {
		return nil, err
	}
	a := &product.Artifact{
		Path: filepath.Join(b.Out, ObjectName), LogPath: log.Name(), Variant: product.Modern, File: ObjectName,
		DriverVersion: b.Source.Version, Source: b.Source.Digest, ModuleName: b.Source.Name, Compiler: b.Compiler, Root: b.Root.Key, Seconds: seconds,
	}
	a.Kernel.Arch = hostArch
	a.Compiler.Text, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(said, "?")), "\n")
	text, err := os.ReadFile(a.LogPath)
	if err != nil {
		return nil, kbuild.WriteErr(err)
	}
	a.Log = archive.DigestOf(text)
	return a, b.describe(a)
}

// steps runs cmake and what it generated, with their output in log.
func (b *build) steps(ctx context.Context, log *os.File) (seconds float64, err error) {
	configure, said, err := b.tee(ctx, log, b.configure())
	if err != nil {
		return 0, err
	}
	if configure.ExitCode != 0 {
		return 0, source.CMakeFailed(b.Source.Base(), configure, said)
	}
	jobs := b.Jobs
	if jobs == 0 {
		jobs = runtime.NumCPU()
	}
	made, all, err := b.tee(ctx, log, []string{"/usr/bin/make", "-C", outAt, "-j" + strconv.Itoa(jobs), "ProbeSkeleton"})
	if err != nil {
		return 0, err
	}
	if made.ExitCode != 0 {
		return 0, b.classify(made, said, all)
	}
	return (configure.Elapsed + made.Elapsed).Seconds(), nil
}

// maxLog bounds the output of a step that is kept, in bytes: its first and last half.
const maxLog = 8 << 20

// tee runs a step and returns what it printed, which goes to the log as well.
func (b *build) tee(ctx context.Context, log *os.File, argv []string) (*sandbox.Result, string, error) {
	var said bytes.Buffer
	capped := sandbox.NewCapLog(&said, maxLog)
	res, err := b.Runner.Run(ctx, sandbox.Spec{Root: b.Root.Dir, RootKey: b.Root.Key, Scratch: b.scratch, Argv: argv, Limits: b.Limits, Log: capped})
	if full := capped.Close(); full != nil && err == nil {
		err = kbuild.WriteErr(full)
	}
	if _, full := log.Write(said.Bytes()); full != nil && err == nil {
		err = kbuild.WriteErr(full)
	}
	return res, said.String(), err
}

// ask runs a small tool and returns what it printed. That it fails is the tool chain's fault.
func (b *build) ask(ctx context.Context, argv ...string) (string, error) {
	var said bytes.Buffer
	capped := sandbox.NewCapLog(&said, 64<<10)
	res, err := b.Runner.Run(ctx, sandbox.Spec{Root: b.Root.Dir, RootKey: b.Root.Key, Scratch: b.scratch, Argv: argv, Limits: b.Limits, Log: capped})
	if full := capped.Close(); full != nil && err == nil {
		err = kbuild.WriteErr(full)
	}
	if err != nil {
		return "", err
	}
	if res.ExitCode != 0 {
		return "", cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s: %s", strings.Join(argv, " "), res).With(cause.Text(said.String())...)
	}
	return said.String(), nil
}
