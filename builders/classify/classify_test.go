// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

func TestShapes(t *testing.T) {
	for _, c := range []struct {
		name, log string
		want      cause.Cause
	}{
		{"empty", "", cause.Internal},
		{"unknown", "something went wrong\n", cause.Internal},
		{"UTF-8 quotes", "/b/a.c:1:2: error: expected ‘(’ before ‘__inline’\n", cause.ToolchainMismatch},
		{"not UTF-8", "\xff\xfe/b/x\n/b/a.c:3:1: error: implicit \xff declaration\n", cause.CompileError},
		{"clang", "/b/a.c:3:1: fatal error: too many arguments to function call\n", cause.CompileError},
		{"a tool is gone, and so the code is in error", "/bin/sh: 1: pahole: not found\n/b/a.c:3:1: error: x\n", cause.ToolchainBroken},
		{"a note is no error", "/b/a.c:3:1: note: declared here\n/b/a.c:3:1: warning: x\n", cause.Internal},
		{"killed compiler", "gcc-12: fatal error: Killed signal terminated program cc1\n", cause.OutOfMemory},
		{"make is gone", "/bin/sh: 1: make: not found\n", cause.ToolchainBroken},
		{"very long line", strings.Repeat("x", 1<<20) + "\n/b/a.c:3:1: error: x", cause.CompileError},
		{"probe of 7.x names no directory", "[configure-kmod] Build output for HAS_X:\n  CC [M]  test.o\ntest.c:1:2: error: x\n  CC [M]  main.o\n", cause.Internal},
		{"what a probe lacks is not missed", "[configure-kmod] Build output for HAS_X:\n/bin/sh: 1: x: not found\n  CC [M]  main.o\nmain.c:3:1: error: y\n", cause.CompileError},
		{"the sanity check's code is not the driver's", "/b/configure/0__SANITY/test.c:1:2: error: x\n", cause.Internal},
		{"driver after a probe of 7.x", "[configure-kmod] Build output for HAS_X:\n  CC [M]  test.o\ntest.c:1:2: error: x\n  CC [M]  main.o\nmain.c:3:1: error: y\n", cause.CompileError},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Log(strings.NewReader(c.log), Facts{ExitCode: 2}); got.Cause != c.want {
				t.Errorf("got %+v, want %s", got, c.want)
			}
		})
	}
}

// What is known besides the log decides where the log alone does not.
func TestFacts(t *testing.T) {
	const option = "gcc: error: unrecognized command-line option '-fx'\n"
	for _, c := range []struct {
		name, log string
		facts     Facts
		cause     cause.Cause
		fault     cause.Fault
	}{
		{"option, another compiler", option, Facts{Compiler: "gcc-10", KernelCompiler: "gcc-12"}, cause.ToolchainMismatch, cause.FaultToolchain},
		{"option, the kernel's compiler not known", option, Facts{Compiler: "gcc-10"}, cause.ToolchainMismatch, cause.FaultToolchain},
		{"option, nothing known", option, Facts{}, cause.ToolchainMismatch, cause.FaultToolchain},
		{"option, equal compilers", option, Facts{Compiler: "gcc-12", KernelCompiler: "gcc-12"}, cause.CompileError, cause.FaultDriver},
		{"option, equal majors of two families", option, Facts{Compiler: "clang-14", KernelCompiler: "gcc-14"}, cause.ToolchainMismatch, cause.FaultToolchain},
		{"killed, and it does not say so", "  CC [M] main.o\n", Facts{Killed: true}, cause.OutOfMemory, cause.FaultInfra},
		{"stopped for its time, which kills too", "/b/a.c:3:1: error: x\n", Facts{Killed: true, TimedOut: time.Second}, cause.BuildTimeout, cause.FaultInfra},
		{"the driver's own file", "/b/gen/Makefile:3: *** missing separator.  Stop.\n", Facts{Source: "/b"}, cause.CompileError, cause.FaultDriver},
		{"somebody's file", "/c/Makefile:3: *** missing separator.  Stop.\n", Facts{Source: "/b"}, cause.Internal, cause.FaultHarness},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Log(strings.NewReader(c.log), c.facts); got.Cause != c.cause || got.Fault != c.fault {
				t.Errorf("got %+v, want %s/%s", got, c.cause, c.fault)
			}
		})
	}
}

// Of more errors than are kept, the first and those that tell the change of the API are kept.
func TestDriftIsKept(t *testing.T) {
	log := strings.Repeat("/b/a.c:3:1: error: x\n", 20) + "/b/a.c:9:1: error: implicit declaration of function 'fd_is_open'\n"
	got := Log(strings.NewReader(log), Facts{}).Evidence
	if len(got) > maxEvidence || got[0].Line != 3 || got[1].Line != 9 {
		t.Errorf("%v", got)
	}
}

// repeated yields text n times, without the room that a string of it would take.
type repeated struct {
	text string
	n    int
	rest string
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.n == 0 {
			return 0, io.EOF
		}
		r.n--
		r.rest = r.text
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// What is kept of a log is bounded, however long it and its lines are, and whatever they say: 500 MB of lines that all match
// leave some evidence, and the room of one line is needed to read them.
func TestHugeLog(t *testing.T) {
	const most = 64 << 10                                    // bytes of evidence
	long := strings.Repeat("\xf0noise without end ", 64_000) // far longer than what is looked at of a line
	for _, c := range []struct {
		name, text string
		n          int
	}{
		{"long lines", long + "\n", 500 << 20 / len(long)},
		{"every line a compiler error", "/b/a.c:3:1: error: x" + long[:2000] + "\n", 500},
		{"one line", long, 100},
	} {
		var room int
		got := Log(io.MultiReader(&repeated{text: c.text, n: c.n}, strings.NewReader("\n/b/a.c:3:1: error: x\n")), Facts{LogName: "log"})
		for _, ev := range got.Evidence {
			room += len(ev.Text) + len(ev.File)
		}
		if got.Cause != cause.CompileError || got.Evidence[0].Line != 3 || room > most || len(got.Error()) > most {
			t.Errorf("%s: %d bytes of evidence: %v", c.name, room, got)
		}
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte("/b/a.c:3:1: error: x\n"), 0)
	f.Add([]byte("[configure-kmod] Build output for HAS_0__SANITY:\n\xff"), 12)
	f.Fuzz(func(t *testing.T, log []byte, major int) {
		got := Log(bytes.NewReader(log), Facts{ExitCode: 2, Compiler: fmt.Sprintf("gcc-%d", major), KernelCompiler: "gcc-12"})
		if err := got.Check(); err != nil {
			t.Error(err)
		}
	})
}
