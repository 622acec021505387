// SPDX-License-Identifier: Apache-2.0

// Package kmod knows how to build a driver's kernel module for one kernel, with that kernel's compiler and headers.
package kmod

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// LogName is the name of the build's log in [Request].Out.
const LogName = "build.log"

// maxLog bounds the log that is kept, in bytes: its first and last half.
const maxLog = 16 << 20

// Request is one module to build.
type Request struct {
	Kernel   *kernels.Files
	Resolved *kernels.Resolved // tells which headers were looked for; may be nil
	Source   Source
	Root     *root.Root
	Out      string           // a directory that exists; gets the module and build.log
	Archive  *archive.Archive // keeps results by their input; nil builds always
	Jobs     int              // of make; default the number of CPUs
	Limits   sandbox.Limits
	Runner   sandbox.Runner // default sandbox.Local
}

// Artifact is a built module. Its JSON is what the archive remembers.
type Artifact struct {
	Path          string          `json:"-"`
	LogPath       string          `json:"-"`
	SHA256        archive.Digest  `json:"sha256"`
	Size          int64           `json:"size"` // bytes
	File          string          `json:"file"` // base name of Path
	ModuleName    string          `json:"module_name"`
	DriverVersion string          `json:"driver_version"` // PACKAGE_VERSION of dkms.conf
	Compiler      string          `json:"compiler"`       // gcc-12
	Vermagic      string          `json:"vermagic"`
	SrcVersion    string          `json:"srcversion,omitempty"`
	APIVersion    string          `json:"api_version,omitempty"`
	SchemaVersion string          `json:"schema_version,omitempty"`
	Promises      promise.Result  `json:"promises"`      // of the kernel's configuration, what the compiler was found to keep
	Has           map[string]bool `json:"has,omitempty"` // what configure-kmod found of the kernel's API
	Seconds       float64         `json:"seconds"`       // of the build itself, also when the result is Cached
	Cached        bool            `json:"-"`
}

// Build builds the module, or finds it built from the same input. The error is a *cause.Err; a log was written
// to Request.Out if make was run.
func Build(ctx context.Context, r Request) (*Artifact, error) {
	if r.Runner == nil {
		r.Runner = sandbox.Local{}
	}
	headers, err := r.headers()
	if err != nil {
		return nil, err
	}
	compiler, err := r.compiler()
	if err != nil {
		return nil, err
	}
	key := r.key()
	if a, err := r.recall(key); err != nil || a != nil {
		return a, err
	}
	kept, err := r.promises(ctx, compiler)
	if err != nil {
		return nil, err
	}
	scratch, err := os.MkdirTemp(r.Out, ".build-")
	if err != nil {
		return nil, writeErr(err)
	}
	b := &build{Request: r, headers: headers, compiler: compiler, promises: *kept, scratch: scratch}
	a, err := b.run(ctx)
	if rm := os.RemoveAll(scratch); rm != nil && err == nil {
		err = writeErr(rm)
	}
	if keep := r.remember(ctx, key, a, err); keep != nil {
		return nil, keep
	}
	if err != nil {
		return nil, err
	}
	return a, nil
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

// compiler makes sure that the root holds the compiler that built the kernel: another major misreads its headers
// (falcosecurity/falco#3054: asm_inline).
func (r *Request) compiler() (kernels.Compiler, error) {
	c, err := r.Kernel.Config.Compiler()
	if err != nil {
		return c, err
	}
	if r.Root.Has(c.Command) {
		return c, nil
	}
	have := r.Root.Compilers()
	if len(have) == 0 {
		return c, cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root has no compiler").
			With(cause.Evidence{Text: "kernel: " + c.Text})
	}
	return c, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "kernel %s was built with %s, the build root has %s",
		r.Kernel.Kernel.Release, c.Command, strings.Join(have, ", ")).
		With(cause.Evidence{File: "config-" + r.Kernel.Kernel.Release, Text: "CONFIG_CC_VERSION_TEXT=" + c.Text}).
		Advise("make the build root from a suite that has %s", c.Command)
}

// promises tries the compiler before anything is built: what it lacks would fail somewhere in the kernel's headers.
func (r *Request) promises(ctx context.Context, c kernels.Compiler) (kept *promise.Result, err error) {
	scratch, err := os.MkdirTemp(r.Out, ".promise-")
	if err != nil {
		return nil, writeErr(err)
	}
	defer func() {
		if rm := os.RemoveAll(scratch); rm != nil && err == nil {
			err = writeErr(rm)
		}
	}()
	return promise.Check(ctx, promise.Request{Kernel: r.Kernel, Root: r.Root.Dir, RootKey: r.Root.Key, Compiler: c.Command,
		Scratch: scratch, Limits: r.Limits, Runner: r.Runner})
}

type build struct {
	Request
	headers  string // inside the sandbox
	compiler kernels.Compiler
	promises promise.Result
	scratch  string // sandbox.ScratchAt inside
}

func (b *build) run(ctx context.Context) (*Artifact, error) {
	log, err := os.Create(filepath.Join(b.Out, LogName))
	if err != nil {
		return nil, writeErr(err)
	}
	defer log.Close()
	base, err := b.Source.unpack(ctx, b.scratch)
	if err != nil {
		return nil, err
	}
	in, err := os.OpenRoot(b.scratch)
	if err != nil {
		return nil, writeErr(err)
	}
	defer in.Close()
	source := path.Join(sandbox.ScratchAt, "usr/src", base)
	rec, err := openRecipe(in, base, b.variables(source))
	if err != nil {
		return nil, err
	}
	seconds, err := b.make(ctx, log, source, rec)
	if err != nil {
		return nil, err
	}
	built := path.Join("usr/src", base, rec.location, rec.module+".ko")
	if _, err := in.Stat(built); err != nil {
		return nil, cause.Failf(cause.CompileError, cause.FaultDriver, "make ended well without the %s.ko that dkms.conf promises", rec.module).
			With(cause.Evidence{File: "dkms.conf", Text: err.Error()})
	}
	if err := b.strip(ctx, path.Join(sandbox.ScratchAt, built)); err != nil {
		return nil, err
	}
	out := filepath.Join(b.Out, rec.module+".ko")
	if err := copyOut(in, built, out); err != nil {
		return nil, writeErr(err)
	}
	return b.artifact(out, rec, seconds)
}

// variables are those that dkms sets for a dkms.conf.
func (b *build) variables(source string) map[string]string {
	return map[string]string{
		"kernelver":         b.Kernel.Kernel.Release,
		"kernel_source_dir": b.headers,
		"arch":              b.Kernel.Kernel.Arch,
		"dkms_tree":         path.Dir(path.Dir(source)),
		"source_tree":       path.Dir(source),
		"PACKAGE_NAME":      "", "PACKAGE_VERSION": "",
	}
}

// make runs make in the sandbox. KERNELDIR is what driverkit hands to the same Makefiles.
func (b *build) make(ctx context.Context, log *os.File, source string, rec *recipe) (seconds float64, err error) {
	jobs := b.Jobs
	if jobs == 0 {
		jobs = runtime.NumCPU()
	}
	kept := sandbox.NewCapLog(log, maxLog)
	spec := b.spec(kept, append([]string{"/usr/bin/make", fmt.Sprintf("-j%d", jobs), "-C", b.headers, "M=" + source, "KERNELDIR=" + b.headers}, rec.make...))
	res, err := b.Runner.Run(ctx, spec)
	if full := kept.Close(); full != nil && err == nil {
		err = writeErr(full)
	}
	switch {
	case err != nil:
		return 0, err
	case res.ExitCode != 0:
		return 0, b.classify(log, source, res)
	}
	return res.Elapsed.Seconds(), nil
}

func (b *build) spec(log io.Writer, argv []string) sandbox.Spec {
	return sandbox.Spec{Root: b.Root.Dir, RootKey: b.Root.Key, Overlay: []string{b.Kernel.Headers}, Scratch: b.scratch, Limits: b.Limits, Argv: argv, Log: log}
}

func (b *build) classify(log *os.File, source string, res *sandbox.Result) error {
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return writeErr(err)
	}
	facts := classify.Facts{ExitCode: res.ExitCode, LogName: LogName, Source: source, CompilerMajor: b.compiler.Major, KernelMajor: b.compiler.Major}
	if res.TimedOut {
		facts.TimedOut = res.Elapsed.Round(time.Second)
	} else {
		facts.Killed = res.Signal == syscall.SIGKILL
	}
	return classify.Log(log, facts)
}

// strip takes the debug information off, as dkms does: it is three quarters of the file. BTF stays.
func (b *build) strip(ctx context.Context, module string) error {
	var said bytes.Buffer
	res, err := b.Runner.Run(ctx, b.spec(&said, []string{"/usr/bin/strip", "--strip-debug", module}))
	if err != nil {
		return err
	}
	if res.ExitCode != 0 {
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "strip of %s: %s", path.Base(module), res).With(cause.Text(said.String())...)
	}
	return nil
}

func (b *build) artifact(file string, rec *recipe, seconds float64) (*Artifact, error) {
	m, err := inspect.Read(file)
	if err != nil {
		return nil, err
	}
	log := filepath.Join(b.Out, LogName)
	has, err := configured(log)
	if err != nil {
		return nil, writeErr(err)
	}
	return &Artifact{
		Path: file, File: filepath.Base(file), LogPath: log, SHA256: archive.Digest(m.SHA256), Size: m.Size, ModuleName: m.Name, DriverVersion: rec.version,
		Compiler: b.compiler.Command, Vermagic: m.Vermagic, SrcVersion: m.SrcVersion, APIVersion: m.APIVersion,
		SchemaVersion: m.SchemaVersion, Promises: b.promises, Has: has, Seconds: seconds,
	}, nil
}

// flag is what configure-kmod prints of each trial build: the first form when it went well, the second when not.
var flag = regexp.MustCompile(`^\[configure-kmod\] (?:Setting HAS_(\S+) flag|Build output for HAS_(\S+):)`)

// configured reads what the driver's configure step found of the kernel's API: a fingerprint of the kernel.
func configured(log string) (map[string]bool, error) {
	f, err := os.Open(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	has := map[string]bool{}
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxLog)
	for in.Scan() {
		if m := flag.FindStringSubmatch(in.Text()); m != nil {
			has[m[1]+m[2]] = m[1] != ""
		}
	}
	return has, in.Err()
}

// copyOut copies a file that hostile code made: in does not let its links lead elsewhere.
func copyOut(in *os.Root, name, to string) error {
	from, err := in.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	return writeFile(to, from)
}

func writeFile(to string, from io.Reader) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

func writeErr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "build: %w", err).Advise("free some space")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "build: %w", err)
}
