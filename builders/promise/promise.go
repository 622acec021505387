// SPDX-License-Identifier: Apache-2.0

// Package promise knows whether a compiler can do what a kernel's configuration says that its compiler could.
//
// Kconfig tries the compiler when a kernel is configured, and its headers are then used as they came out
// (CONFIG_CC_HAS_ASM_INLINE=y): a compiler that cannot do the same fails somewhere in them, far from the reason
// (falcosecurity/falco#3054).
package promise

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Request is one compiler to try.
type Request struct {
	Kernel   *kernels.Files // its headers hold the .config that a module is compiled with
	Root     string         // the build root
	RootKey  string         // of root.Root
	Compiler string         // its name in the root's /usr/bin: gcc-12
	Linker   string         // likewise; default ld
	Scratch  string         // a directory for the trials, empty
	Limits   sandbox.Limits
	Runner   sandbox.Runner // default sandbox.Local
}

// Result is what was found of a compiler. Symbols are without CONFIG_, in the configuration's order.
type Result struct {
	Kept    []string `json:"kept,omitempty"`
	Idle    []string `json:"idle,omitempty"`    // not kept, and no module of this configuration relies on it
	Broken  []string `json:"broken,omitempty"`  // not kept, and relied on
	Untried []string `json:"untried,omitempty"` // no way to try it is known here, or Kconfig did not try it either but asked for a version
}

// Check tries all promises in one run of the sandbox. A broken one is TOOLCHAIN_MISMATCH, which names the feature and
// comes with the Result: who builds all the same can record both. Of a compiler that compiles nothing at all there is no
// Result, and the error is TOOLCHAIN_BROKEN. Headers without a .config promise nothing.
func Check(ctx context.Context, r Request) (*Result, error) {
	if r.Runner == nil {
		r.Runner = sandbox.Local{}
	}
	if r.Linker == "" {
		r.Linker = "ld"
	}
	c, err := openConfig(r.Kernel)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "headers of %s: %w", r.Kernel.Kernel.Release, err)
	}
	trials, untried := c.trials()
	if len(trials) == 0 {
		return &Result{Untried: untried}, nil
	}
	in, err := os.OpenRoot(r.Scratch)
	if err != nil {
		return nil, writeErr(err)
	}
	defer in.Close()
	all := append(slices.Clone(trials), sanity, linkerSanity)
	said, err := r.try(ctx, in, all)
	if err != nil {
		return nil, err
	}
	kept, err := parse(said, all)
	if err != nil {
		return nil, r.unable(r.Compiler, err.Error())
	}
	for tool, t := range map[string]trial{r.Compiler: sanity, r.Linker: linkerSanity} {
		if !kept[t.Symbol] {
			return nil, r.unable(tool, complaint(in, t.Symbol))
		}
	}
	res := &Result{Untried: untried}
	var broken []trial
	for _, t := range trials {
		switch {
		case kept[t.Symbol] && t.emitted(in):
			res.Kept = append(res.Kept, t.Symbol)
		case c.uses(t):
			broken = append(broken, t)
			res.Broken = append(res.Broken, t.Symbol)
		default:
			res.Idle = append(res.Idle, t.Symbol)
		}
	}
	if len(broken) > 0 {
		return res, r.mismatched(in, c, broken)
	}
	return res, nil
}

func openConfig(f *kernels.Files) (*config, error) {
	none := &config{}
	if f.Headers == "" || f.HeaderDir == "" {
		return none, nil
	}
	in, err := os.OpenRoot(f.Headers)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	file, err := in.Open(path.Join(strings.TrimPrefix(f.HeaderDir, "/"), ".config"))
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readConfig(file)
}

// maxSaid bounds what the script may print, and what is read of a trial's files, in bytes.
const maxSaid = 64 << 10

// try writes the trials' files and runs them.
func (r *Request) try(ctx context.Context, in *os.Root, trials []trial) (said string, err error) {
	files := map[string]string{scriptName: script(trials)}
	for _, t := range trials {
		files[t.source()] = t.text()
	}
	for name, text := range files {
		if text == "" {
			continue
		}
		if err := in.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", writeErr(err)
		}
	}
	var out bytes.Buffer
	log := sandbox.NewCapLog(&out, maxSaid)
	res, err := r.Runner.Run(ctx, sandbox.Spec{
		Root: r.Root, RootKey: r.RootKey, Scratch: r.Scratch, Limits: r.Limits, Log: log,
		Argv: []string{"/usr/bin/sh", path.Join(sandbox.ScratchAt, scriptName), "/usr/bin/" + r.Compiler, "/usr/bin/" + r.Linker},
	})
	if full := log.Close(); full != nil && err == nil {
		err = cause.Errorf(cause.Internal, cause.FaultHarness, "try the compiler: %w", full)
	}
	switch {
	case err != nil:
		return "", err
	case res.TimedOut:
		return "", cause.Errorf(cause.BuildTimeout, cause.FaultInfra, "trying %s was stopped after %s", r.Compiler, res.Elapsed.Round(time.Second)).
			Advise("give it more time")
	case res.ExitCode != 0:
		return "", r.unable(r.Compiler, res.String()+": "+out.String())
	}
	return out.String(), nil
}

func writeErr(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "try the compiler: %w", err).Advise("free some space")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "try the compiler: %w", err)
}

func (r *Request) unable(tool, text string) error {
	return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s of the build root does not work", tool).With(cause.Text(text)...)
}

func (r *Request) mismatched(in *os.Root, c *config, broken []trial) error {
	var features []string
	for _, t := range broken {
		features = append(features, t.Feature)
	}
	e := cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "%s: promised by the configuration of kernel %s, not kept by %s",
		strings.Join(features, ", "), r.Kernel.Kernel.Release, r.Compiler)
	for _, t := range broken {
		text := complaint(in, t.Symbol)
		if text == "" {
			text = fmt.Sprintf("%q is not in what it makes of %s", t.Emits, t.C)
		}
		e.With(cause.Evidence{File: path.Join(r.Kernel.HeaderDir, ".config"), Line: c.lines[t.Symbol], Text: "CONFIG_" + t.Symbol + "=y"},
			cause.Evidence{Text: text})
	}
	return e.Advise("build with the compiler that CONFIG_CC_VERSION_TEXT names")
}

// emitted reports whether what must come out of the compiler did.
func (t trial) emitted(in *os.Root) bool {
	return t.Emits == "" || strings.Contains(head(in, t.output()), t.Emits)
}

// complaint is the first line of a compiler that names an error, or else its first line.
func complaint(in *os.Root, symbol string) string {
	text := strings.TrimSpace(strings.ToValidUTF8(head(in, symbol+".out"), "?"))
	for line := range strings.Lines(text) {
		if strings.Contains(line, "rror: ") {
			return strings.TrimSpace(line)
		}
	}
	first, _, _ := strings.Cut(text, "\n")
	return first
}

// head reads the beginning of a file that came out of the sandbox; one that did not is empty.
func head(in *os.Root, name string) string {
	f, err := in.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSaid))
	if err != nil {
		return ""
	}
	return string(text)
}
