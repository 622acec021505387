// SPDX-License-Identifier: Apache-2.0

package kbuild

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Make runs make for the driver in dir, inside the sandbox, with more arguments, and says how long it took. A failed make
// is what its log means.
func (b *Build) Make(ctx context.Context, dir string, more ...string) (seconds float64, err error) {
	kept := sandbox.NewCapLog(b.log, maxLog)
	res, err := b.Runner.Run(ctx, b.spec(kept, b.arguments(dir, more)))
	if full := kept.Close(); full != nil && err == nil {
		err = WriteErr(full)
	}
	switch {
	case err != nil:
		return 0, err
	case res.ExitCode != 0:
		return 0, b.classify(dir, res)
	}
	return res.Elapsed.Seconds(), nil
}

// Try runs make as Make does, for something besides the driver, and tells whether it went well and how long it took: nobody
// is told what it printed.
func (b *Build) Try(ctx context.Context, dir string, more ...string) (ok bool, seconds float64, err error) {
	res, err := b.Runner.Run(ctx, b.spec(io.Discard, b.arguments(dir, more)))
	if err != nil {
		return false, 0, err
	}
	return res.ExitCode == 0, res.Elapsed.Seconds(), nil
}

func (b *Build) spec(log io.Writer, argv []string) sandbox.Spec {
	return sandbox.Spec{Root: b.Root.Dir, RootKey: b.Root.Key, Overlay: []string{b.Kernel.Headers}, Scratch: b.scratch, Limits: b.Limits, Argv: argv, Log: log}
}

func (b *Build) classify(dir string, res *sandbox.Result) error {
	if _, err := b.log.Seek(0, io.SeekStart); err != nil {
		return WriteErr(err)
	}
	return b.forced(classify.Log(b.log, b.facts(dir, res)))
}

// facts are what is known of a failed make besides its log.
func (b *Build) facts(dir string, res *sandbox.Result) classify.Facts {
	f := classify.Facts{ExitCode: res.ExitCode, LogName: LogName, Source: dir, Compiler: edition(b.Compiler.Family, b.Compiler.Major), KernelCompiler: edition(b.Own.Family, b.Own.Major)}
	if res.TimedOut {
		f.TimedOut = res.Elapsed.Round(time.Second)
	} else {
		f.Killed = res.OutOfMemory || res.Signal == syscall.SIGKILL
	}
	return f
}

// edition is what tells two compilers apart, where their commands may differ by a target's prefix or a distro's habit; "" when
// it is not known.
func edition(family string, major int) string {
	if family == "" || major == 0 {
		return ""
	}
	return family + "-" + strconv.Itoa(major)
}

// forced says of a failed build whose compiler broke a promise that this is why: whatever its log shows, nobody can tell
// what it would show of a compiler that keeps it. What befell the machine stays what it is.
func (b *Build) forced(found *cause.Err) error {
	if b.kept.broken == nil || found.Fault == cause.FaultInfra {
		return found
	}
	e := cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "%s", b.kept.broken.What)
	return e.With(b.kept.broken.Evidence...).With(cause.Evidence{Text: "forced to build all the same: " + found.What}).With(found.Evidence...).
		Advise("%s", b.kept.finding.Hint)
}

// maxSaid bounds what a small tool may print, in bytes.
const maxSaid = 64 << 10

// Tool runs a small tool in the sandbox and returns what it printed. That it fails is the tool chain's fault.
func (b *Build) Tool(ctx context.Context, argv ...string) (string, error) {
	var said bytes.Buffer
	log := sandbox.NewCapLog(&said, maxSaid)
	res, err := b.Runner.Run(ctx, b.spec(log, argv))
	if full := log.Close(); full != nil && err == nil {
		err = WriteErr(full)
	}
	if err != nil {
		return "", err
	}
	if res.ExitCode != 0 {
		return "", cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s: %s", strings.Join(argv, " "), res).With(cause.Text(said.String())...)
	}
	return said.String(), nil
}

// CopyOut copies what make left at name, relative to the source, to the file in Out. Hostile code made it: links
// do not lead elsewhere.
func (b *Build) CopyOut(name, to string) error {
	from, err := b.Scratch.Open(filepath.Join(b.In, name))
	if err != nil {
		return WriteErr(err)
	}
	defer from.Close()
	return WriteErrOr(writeFile(filepath.Join(b.Out, to), from))
}

// WriteErrOr is [WriteErr] of an error that may be nil.
func WriteErrOr(err error) error {
	if err == nil {
		return nil
	}
	return WriteErr(err)
}

func writeFile(to string, from io.Reader) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}

// Artifact is what every driver's says, whatever its variant. version is what the compiler said of itself.
func (b *Build) Artifact(seconds float64, version string) (*product.Artifact, error) {
	has, err := configured(b.log)
	if err != nil {
		return nil, WriteErr(err)
	}
	log, err := digest(b.log)
	if err != nil {
		return nil, WriteErr(err)
	}
	a := &product.Artifact{
		LogPath: b.log.Name(), Variant: b.Kind.Variant, Kernel: b.Kernel.Kernel, DriverVersion: b.Source.Version, Source: b.Source.Digest,
		Compiler: b.Compiler, Root: b.Root.Key, Headers: b.Kernel.Packages, HeaderSums: b.Kernel.Sums,
		Promises: b.kept.Result, Broken: b.kept.broken, Substitution: b.Substitution, Has: has, Log: log, Seconds: seconds,
	}
	a.Compiler.Text, _, _ = strings.Cut(strings.TrimSpace(strings.ToValidUTF8(version, "?")), "\n")
	return a, nil
}

func digest(f *os.File) (archive.Digest, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, 2*maxLog))
	return archive.DigestOf(text), err
}

// flag is what the driver's configure step prints of each trial build: the first form when it went well, the second when not.
var flag = regexp.MustCompile(`^\[configure-(?:kmod|bpf)\] (?:Setting HAS_(\S+) flag|Build output for HAS_(\S+):)`)

// configured reads what the driver's configure step found of the kernel's API: a fingerprint of the kernel.
func configured(log *os.File) (map[string]bool, error) {
	if _, err := log.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	has := map[string]bool{}
	in := bufio.NewScanner(log)
	in.Buffer(nil, maxLog)
	for in.Scan() {
		if m := flag.FindStringSubmatch(in.Text()); m != nil {
			has[m[1]+m[2]] = m[1] != ""
		}
	}
	return has, in.Err()
}
