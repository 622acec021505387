// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"regexp"
	"strings"
)

// class is one meaning that a line can have, weightiest first: what broke the tools also breaks the code.
type class int

const (
	diskFull class = iota
	outOfMemory
	headers
	mismatch
	option   // mismatch or driver, by the compilers
	reach    // the driver's own build steps ask for what no build is given
	broken   // the line that says which tool is not there
	insane   // configure's own verdict, without the reason
	asserted // errors of a compiler in the driver or in what it includes
	refused  // errors of modpost in what the driver declares
	modpost  // in what it uses
	classes  // their number
)

type pattern struct {
	is class
	re *regexp.Regexp
}

// own stands in a line for the directory of the driver's source: patterns can tell its files from the kernel's by it.
const own = "SOURCE/"

// kernels is the beginning of a file's name that belongs to the kernel's headers; relative ones are kbuild's.
const kernels = `(?:/usr/src/(?:linux|kernels)|/usr/lib/(?:linux-kbuild|modules)|/lib/modules|\./|(?:arch|include|scripts|tools)/)`

// patterns are tried in their order; the first that matches gives a line its class. Quotes are plain in all of them.
// Each is needed by a log in testdata/corpus that a real build printed; a test holds that.
var patterns = compile([]struct {
	is      class
	pattern string
}{
	{diskFull, `No space left on device`},

	{outOfMemory, `virtual memory exhausted`},                      // cc1 at RLIMIT_AS
	{outOfMemory, `failed to map segment from shared object`},      // the loader at RLIMIT_AS
	{outOfMemory, `LLVM ERROR: out of memory`},                     // clang at RLIMIT_AS
	{outOfMemory, `fatal error: Killed signal terminated program`}, // gcc whose cc1 the kernel killed

	// make, of a directory or an included file that is not there
	{headers, `\*\*\* /\S*: No such file or directory\.  Stop`},
	{headers, `No rule to make target '` + kernels},
	{headers, `Kernel configuration is invalid`},
	// a header of the kernel's that lacks another; what the driver includes itself may have moved
	{headers, `(?:` + kernels + `\S*|<built-in>):\d+:\d+: fatal error: \S+(?:: No such file or directory| file not found)`},
	{headers, `(?:sh: \d+|make(?:\[\d+\])?): ` + kernels + `\S+: (?:not found|No such file or directory)`}, // a host program of linux-kbuild
	{headers, `ld: cannot open linker script file \S+: No such file`},
	{headers, `WARNING: (?:modpost: )?(?:Symbol version dump "?\S*|\S*)Module\.symvers"? is missing`},

	{mismatch, `expected '\(' before '__inline'`},                     // gcc 8 and older on headers that use asm inline (falcosecurity/falco#3054)
	{mismatch, kernels + `\S*:\d+: error: expected '\(' after 'asm'`}, // clang 10 and older on the same
	{mismatch, `unrecognised emulation mode`},                         // ld of another architecture
	// options that the kernel's Makefile gives for its architecture, and that gcc for another one refuses
	{mismatch, `unrecognized (?:command-line option|argument in option) '-m(?:64|little-endian|no-red-zone|cmodel=kernel)'`},
	{option, `unrecognized command[- ]line option`},
	{option, `error: unknown argument: '-`},
	{option, `error: unsupported option '-`},

	{reach, `(?:sh: \d+|make(?:\[\d+\])?): (?:curl|wget|git|svn|pip3?|go|cargo|npm): (?:not found|No such file or directory)`},
	{reach, `Could not resolve host`},
	{reach, `Read-only file system`},
	{reach, `(?:sh: \d+|make(?:\[\d+\])?): ` + own + `\S*: Permission denied`},

	{broken, `sh: \d+: \S+: not found`},
	{broken, `make(?:\[\d+\])?: [^\s:]+: No such file or directory`},
	{broken, `error while loading shared libraries`},
	{broken, `version 'GLIBC_\S+' not found`}, // kbuild's host programs are of a newer suite than the root
	{broken, `Exec format error`},
	{broken, `fatal error: cannot execute '`}, // gcc without cc1 or as
	{broken, `internal compiler error`},
	{broken, `error: unknown target triple`},
	{broken, `\(Producer: '.*' Reader: '`},              // llc of another LLVM than clang's
	{broken, `objtool \S+ read_stack_limit: .* failed`}, // without /proc

	{insane, `Build system is broken`},

	{modpost, `"[^"]+" \[[^\]]+\] undefined!`},
	// The second form is that of 7.x, which names the module first.
	{modpost, `modpost: \S+: symbol '\S+' undefined!`},
	{modpost, `modpost: GPL-incompatible module`},
	{modpost, `modpost: \S+: GPL-incompatible module`},
	{modpost, `modpost: module \S+ uses symbol \S+ from namespace`},
	{modpost, `modpost: \S+: module uses symbol \S+ from namespace`},
	{refused, `modpost: missing MODULE_LICENSE`},
	{refused, `modpost: \S+: missing MODULE_LICENSE`},
	{refused, `multiple definition of '`}, // ld
	{refused, `cc1: fatal error: ` + own}, // of a source file that no step has made
	// make, in a Makefile of the driver's or of a file that it names
	{refused, own + `\S*:\d+: \*\*\* .*  Stop\.`},
	{refused, `No rule to make target '`},
	{asserted, compilerError.String()},
})

func compile(from []struct {
	is      class
	pattern string
}) []pattern {
	var out []pattern
	for _, p := range from {
		out = append(out, pattern{p.is, regexp.MustCompile(p.pattern)})
	}
	return out
}

// compilerError is the form of gcc, clang and the assembler: file:line:column: error: text.
var compilerError = regexp.MustCompile(`^(\S[^:\n]*):(\d+):(?:\d+:)? (?:fatal )?[eE]rror: (.*)`)

// drift are the lines that tell an API change; they are kept before others when there are too many to keep.
var drift = regexp.MustCompile(`class_create|fd_is_open|implicit declaration of function|too (?:many|few) arguments to function|has no member named|no member named|incompatible pointer type|undeclared|requires \d+ arguments`)

// words are such that every match of patterns holds one of them; a test holds that.
var words = []string{
	"rror", "No such file", "not found", "No space", "out of memory", "memory exhausted", "shared object", "Kernel ", "ymvers", "No rule",
	"emulation", "esolve host", "Read-only", "denied", "shared libraries", "Exec format", "read_stack_limit",
	"broken", "undefined", "GPL-incompatible", "namespace", "MODULE_LICENSE", "multiple definition", "Stop.",
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
