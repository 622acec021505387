// SPDX-License-Identifier: Apache-2.0

// Package classify knows what the log of a failed module build means: whether the driver, the tool chain or the
// machine fell short, and which lines prove it.
package classify

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// Facts are what is known of a build besides its log.
type Facts struct {
	ExitCode int           // of make; -1 when a signal ended it
	TimedOut time.Duration // how long it was let run, when it was stopped for that; else 0
	Killed   bool          // SIGKILL came from outside
	LogName  string        // names the log in the evidence
	Source   string        // the directory of the driver's source as the build saw it: evidence names its files without it
	// The majors of the compiler in the root and of the one that built the kernel; 0 when not known. Between equal
	// compilers an option that is not recognised is the driver's own, not a mismatch.
	CompilerMajor, KernelMajor int
}

// maxEvidence bounds the lines that are kept for one class.
const maxEvidence = 8

// class is one meaning that a line can have, weightiest first: what broke the tools also breaks the code.
type class int

const (
	diskFull class = iota
	outOfMemory
	headers
	mismatch
	option   // mismatch or driver, by the compilers
	broken   // the line that says which tool is not there
	insane   // configure's own verdict, without the reason
	asserted // errors of a compiler in the driver or in what it includes
	modpost
	classes // their number
)

// patterns are tried in their order; the first that matches gives a line its class. Quotes are plain in all of them.
// The examples they were made from are in testdata.
var patterns = []struct {
	is class
	re *regexp.Regexp
}{
	{diskFull, regexp.MustCompile(`No space left on device|Disk quota exceeded`)},
	{outOfMemory, regexp.MustCompile(`virtual memory exhausted|failed to map segment from shared object|out of memory allocating|Cannot allocate memory|Killed signal terminated program|memory exhausted`)},
	{headers, regexp.MustCompile(`Kernel configuration is invalid|\*\*\* /\S*: No such file or directory\.  Stop|Kernel (?:headers|source) (?:for .* )?(?:not found|cannot be found)|include/generated/\S+: No such file or directory`)},
	{mismatch, regexp.MustCompile(`expected '\(' before '__inline'|error: .*\basm_inline\b|error: .*asm.goto|compiler.*lacks asm-goto|error: code model kernel does not support|gcc plugins? .*(?:was built|incompatible)|plugin .* is not compatible`)},
	{option, regexp.MustCompile(`unrecognized (?:command[- ]line )?option|unrecognised option`)},
	{broken, regexp.MustCompile(`(?:^|[ /])(?:sh|bash|make(?:\[\d+\])?|env): (?:line )?(?:\d+: )?\S+: (?:command )?not found|make(?:\[\d+\])?: \S+: (?:No such file or directory|Permission denied)|Command not found|error while loading shared libraries|cannot execute binary file|Exec format error|read_stack_limit|/proc/\S*: No such file|fixdep: .*(?:error|No such)|objtool: .*(?:open|fopen|read) failed|cannot execute 'cc1'|fatal error: cannot execute|internal compiler error|installation problem|FAILED: load BTF from vmlinux`)},
	{insane, regexp.MustCompile(`Build system is broken|The build system is broken`)},
	{modpost, regexp.MustCompile(`ERROR: (?:modpost: )?"[^"]+" \[[^\]]+\] undefined!|ERROR: modpost: .*(?:GPL-incompatible|uses symbol|namespace)|WARNING: modpost: .* undefined!`)},
	{asserted, compilerError},
}

// compilerError is gcc's and clang's form: file:line:column: error: text.
var compilerError = regexp.MustCompile(`^(\S[^:\n]*):(\d+):(?:\d+:)? (?:fatal )?error: (.*)`)

// drift are the lines that tell an API change; they are kept before others when there are too many to keep.
var drift = regexp.MustCompile(`class_create|fd_is_open|implicit declaration of function|too (?:many|few) arguments to function|has no member named|incompatible pointer type|undeclared|requires \d+ arguments`)

// probe are lines that configure-kmod prints of its trial builds. They fail where an API is not there: that is their purpose.
var (
	probeOf   = regexp.MustCompile(`^\[configure-kmod\] Build output for HAS_(\S+):`)
	probePath = regexp.MustCompile(`/configure/([^/\s]+)/`)
	// From 6.13 on kbuild works in the module's directory and names files without one; all trial builds are of test.c.
	ownStep = regexp.MustCompile(`^  (?:CC|LD)(?: \[M\])? +(?:\S*/)?(?:[^t/\s]|t[^e]|te[^s]|tes[^t])\S*$`)
)

// sanity is the one trial build that must succeed.
const sanity = "0__SANITY"

type finder struct {
	logName string
	source  string // with a slash behind; "" when not known
	probe   string // the trial build whose output is being read; "" outside
	found   [classes][]cause.Evidence
	drifts  []cause.Evidence
}

// line sorts one line of the log, its number counted from 1.
func (f *finder) line(n int, text string) {
	if m := probeOf.FindStringSubmatch(text); m != nil {
		f.probe = m[1]
	} else if m := probePath.FindStringSubmatch(text); m != nil {
		f.probe = m[1]
	} else if strings.HasPrefix(text, "[configure-kmod] Setting") || ownStep.MatchString(text) {
		f.probe = ""
	}
	if !telling(text) {
		return
	}
	text = plain.Replace(text)
	verdict := strings.Contains(text, "uild system is broken")
	if f.probe != "" && f.probe != sanity && !verdict {
		return
	}
	for _, p := range patterns {
		at := p.re.FindStringIndex(text)
		if at == nil {
			continue
		}
		if p.is == asserted && f.probe != "" {
			return // the sanity check's own code: why it failed is in another line or not known
		}
		ev := f.evidence(p.is, n, text, at[0])
		if p.is == asserted && drift.MatchString(text) && len(f.drifts) < maxEvidence {
			f.drifts = append(f.drifts, ev)
		}
		if len(f.found[p.is]) < maxEvidence {
			f.found[p.is] = append(f.found[p.is], ev)
		}
		return
	}
}

func (f *finder) evidence(is class, n int, text string, at int) cause.Evidence {
	if is == asserted || is == mismatch {
		if m := compilerError.FindStringSubmatch(text); m != nil {
			var line int
			if _, err := fmt.Sscan(m[2], &line); err == nil {
				return cause.Evidence{File: strings.TrimPrefix(m[1], f.source), Line: line, Text: "error: " + m[3]}
			}
		}
	}
	return cause.Evidence{File: f.logName, Line: n, Text: around(text, at)}
}

// around keeps evidence readable: configure-kmod prints a whole trial build as one line, of which only what is near
// the match says anything.
func around(s string, at int) string {
	const before, most = 100, 400
	from, to := max(0, at-before), min(len(s), at+most-before)
	out := strings.TrimSpace(strings.ToValidUTF8(s[from:to], ""))
	if from > 0 {
		out = "... " + out
	}
	if to < len(s) {
		out += " ..."
	}
	return out
}

// telling is a cheap look at a line before the expensive ones: nearly all of a long log is not telling.
func telling(text string) bool {
	for _, word := range words {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// words are such that every match of patterns holds one of them; a test holds that.
var words = []string{
	"rror", "ERROR", "No such file", "not found", "No space", "exceeded", "memory", "shared object", "Killed", "Kernel ",
	"asm", "gcc", "plugin", "nrecogni", "denied", "cannot", "shared libraries", "Exec format", "read_stack_limit", "failed",
	"broken", "problem", "FAILED", "undefined", "model", "lacks",
}

// compile errors first to last, the drift's lines among them for sure.
func (f *finder) compileErrors() []cause.Evidence {
	out := f.found[asserted][:1:1]
	for _, ev := range append(f.drifts, f.found[asserted][1:]...) {
		if len(out) == maxEvidence {
			break
		}
		seen := false
		for _, o := range out {
			seen = seen || o == ev
		}
		if !seen {
			out = append(out, ev)
		}
	}
	return out
}

// Log reads the log of a failed build and says what it means. It never returns nil: a log of no known class is
// error/INTERNAL, because a guess would put the blame on somebody.
func Log(r io.Reader, facts Facts) *cause.Err {
	f := &finder{logName: facts.LogName}
	if facts.Source != "" {
		f.source = facts.Source + "/"
	}
	tail, err := eachLine(r, f.line)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultInfra, "reading the build log %s: %w", facts.LogName, err)
	}
	return f.verdict(facts, tail)
}

func (f *finder) verdict(facts Facts, tail []cause.Evidence) *cause.Err {
	for i := range tail {
		tail[i].File = facts.LogName
	}
	if facts.TimedOut > 0 {
		return cause.Errorf(cause.BuildTimeout, cause.FaultInfra, "the build was stopped after %s", facts.TimedOut).With(tail...).
			Advise("give it more time, or fewer jobs at once")
	}
	got := f.found
	foreign := facts.CompilerMajor == 0 || facts.CompilerMajor != facts.KernelMajor
	switch {
	case len(got[diskFull]) > 0:
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "the disk was full during the build").With(got[diskFull]...)
	case len(got[outOfMemory]) > 0, facts.Killed:
		return cause.Errorf(cause.OutOfMemory, cause.FaultInfra, "the build was killed for want of memory").With(append(got[outOfMemory], tail...)...).
			Advise("fewer jobs at once, or a larger memory limit")
	case len(got[headers]) > 0:
		return cause.Errorf(cause.HeadersMissing, cause.FaultKernel, "the kernel's headers are incomplete").With(got[headers]...)
	case len(got[mismatch]) > 0:
		return mismatched(got[mismatch])
	case len(got[option]) > 0 && foreign:
		return mismatched(got[option])
	case len(got[broken]) > 0:
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root lacks something: %s", got[broken][0].Text).
			With(append(got[broken], got[insane]...)...)
	case len(got[insane]) > 0:
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the driver's own check found that nothing can be built").
			With(append(got[insane], tail...)...)
	case len(got[asserted]) > 0:
		first := got[asserted][0]
		return cause.Failf(cause.CompileError, cause.FaultDriver, "the driver does not compile: %s", first).With(f.compileErrors()...)
	case len(got[modpost]) > 0:
		return cause.Failf(cause.ModpostUnresolved, cause.FaultDriver, "the driver uses what this kernel does not export: %s", got[modpost][0].Text).
			With(got[modpost]...)
	case len(got[option]) > 0:
		return cause.Failf(cause.CompileError, cause.FaultDriver, "the driver asks for a compiler option that the kernel's own compiler does not know").
			With(got[option]...)
	}
	return cause.Errorf(cause.Internal, cause.FaultHarness, "the build ended with status %d and its log names no error that is known here", facts.ExitCode).With(tail...).
		Advise("please report this log, so that it gets a class")
}

func mismatched(lines []cause.Evidence) *cause.Err {
	return cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "this compiler does not understand the kernel's headers").With(lines...).
		Advise("build with the compiler that CONFIG_CC_VERSION_TEXT names")
}
