// SPDX-License-Identifier: Apache-2.0

// Package classify knows what the log of a failed module build means: whether the driver, the tool chain or the
// machine fell short, and which lines prove it.
package classify

import (
	"io"
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
	// The compiler in the root and the one that built the kernel, by family and major: gcc-12, clang-19; empty when not known.
	// Between equal compilers an option that is not recognised is the driver's own, not a mismatch.
	Compiler, KernelCompiler string
}

// foreign tells that the compiler is not the kernel's, or is not known to be.
func (f Facts) foreign() bool {
	return f.Compiler == "" || f.Compiler != f.KernelCompiler
}

// Log reads the log of a failed build and says what it means. It never returns nil: a log of no known class is
// error/INTERNAL, because a guess would put the blame on somebody.
func Log(r io.Reader, facts Facts) *cause.Err { return read(r, facts, patterns) }

func read(r io.Reader, facts Facts, by []pattern) *cause.Err {
	f := &finder{by: by, logName: facts.LogName}
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
	case len(got[option]) > 0 && facts.foreign():
		return mismatched(got[option])
	case len(got[reach]) > 0:
		return cause.Failf(cause.CompileError, cause.FaultDriver, "the driver's own build steps ask for what a build is not given: %s", got[reach][0].Text).
			With(got[reach]...).Advise("a build has no network and may write below its own source only")
	case len(got[broken]) > 0:
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build root lacks something: %s", got[broken][0].Text).
			With(append(got[broken], got[insane]...)...)
	case len(got[insane]) > 0:
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the driver's own check found that nothing can be built").
			With(append(got[insane], tail...)...)
	case len(got[asserted]) > 0:
		first := got[asserted][0]
		return cause.Failf(cause.CompileError, cause.FaultDriver, "the driver does not compile: %s", first).With(f.compileErrors()...)
	case len(got[refused]) > 0:
		return cause.Failf(cause.CompileError, cause.FaultDriver, "the driver's build is in error: %s", got[refused][0].Text).With(got[refused]...)
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
