// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// TestRealLogs reads logs that Debian's own headers and tools printed, each with one thing taken away (the
// name says which); asm-inline-al2 holds the lines published in falcosecurity/falco#3054.
func TestRealLogs(t *testing.T) {
	same12 := Facts{ExitCode: 2, CompilerMajor: 12, KernelMajor: 12}
	same14 := Facts{ExitCode: 2, CompilerMajor: 14, KernelMajor: 14}
	for _, c := range []struct {
		log      string
		facts    Facts
		state    cause.State
		cause    cause.Cause
		fault    cause.Fault
		evidence []string // each in one of the lines
	}{
		{"api-drift-6.12", same14, cause.Fail, cause.CompileError, cause.FaultDriver,
			[]string{"/build/scap/main.c:1495: error: implicit declaration of function 'fd_is_open'", "/build/scap/main.c:2493: error: too many arguments to function 'class_create'"}},
		{"api-drift-6.12", Facts{ExitCode: 2, Source: "/build/scap"}, cause.Fail, cause.CompileError, cause.FaultDriver, []string{"\nmain.c:2493: error: too many arguments to function 'class_create'"}},
		{"no-proc-7.3", same14, cause.Error, cause.ToolchainBroken, cause.FaultToolchain, []string{"read_stack_limit", "Build system is broken"}},
		{"no-pahole-6.12", same14, cause.Error, cause.ToolchainBroken, cause.FaultToolchain, []string{"pahole: not found"}},
		{"no-gcc-6.12", same14, cause.Error, cause.ToolchainBroken, cause.FaultToolchain, []string{"gcc-14: not found"}},
		{"no-gcc-old-driver-6.12", same14, cause.Error, cause.ToolchainBroken, cause.FaultToolchain, []string{"log:3: /bin/sh: 1: x86_64-linux-gnu-gcc-14: not found"}},
		{"no-ld-6.1", same12, cause.Error, cause.ToolchainBroken, cause.FaultToolchain, []string{"ld: not found"}},
		{"no-headers-6.1", same12, cause.Error, cause.HeadersMissing, cause.FaultKernel, []string{"linux-headers-6.1.0-99-cloud-amd64"}},
		{"asm-inline-al2", Facts{ExitCode: 2}, cause.Error, cause.ToolchainMismatch, cause.FaultToolchain, []string{"compiler_types.h:210: error: expected '(' before '__inline'"}},
		{"gcc12-on-6.12", Facts{ExitCode: 2, CompilerMajor: 12, KernelMajor: 14}, cause.Error, cause.ToolchainMismatch, cause.FaultToolchain, []string{"-fmin-function-alignment=16"}},
		{"driver-option-6.1", same12, cause.Fail, cause.CompileError, cause.FaultDriver, []string{"-fno-such-option-at-all"}},
		{"driver-option-6.1", Facts{CompilerMajor: 10, KernelMajor: 12}, cause.Error, cause.ToolchainMismatch, cause.FaultToolchain, []string{"-fno-such-option-at-all"}},
		{"modpost-6.1", same12, cause.Fail, cause.ModpostUnresolved, cause.FaultDriver, []string{`"mews_no_such_symbol" [/build/scap/bad.ko] undefined!`}},
		{"disk-full-6.1", same12, cause.Error, cause.DiskFull, cause.FaultInfra, []string{"ppm_fillers.o: No space left on device"}},
		{"out-of-memory-6.1", same12, cause.Error, cause.OutOfMemory, cause.FaultInfra, []string{"virtual memory exhausted"}},
		{"out-of-memory-loader-6.1", same12, cause.Error, cause.OutOfMemory, cause.FaultInfra, []string{"failed to map segment"}},
		{"api-drift-6.12", Facts{TimedOut: time.Minute}, cause.Error, cause.BuildTimeout, cause.FaultInfra, []string{"make: Leaving directory"}},
		// Logs of builds that went well: their probes failed, as they may, and no verdict may come of that.
		{"good-6.1", same12, cause.Error, cause.Internal, cause.FaultHarness, []string{"make: Leaving directory"}},
		{"good-7.3", same14, cause.Error, cause.Internal, cause.FaultHarness, []string{"make: Leaving directory"}},
	} {
		t.Run(c.log, func(t *testing.T) {
			f, err := os.Open("testdata/" + c.log + ".log")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			c.facts.LogName = "log"
			got := Log(f, c.facts)
			if got.State != c.state || got.Cause != c.cause || got.Fault != c.fault {
				t.Errorf("got %s %s/%s, want %s %s/%s\n%+v", got.State, got.Cause, got.Fault, c.state, c.cause, c.fault, got)
			}
			var all strings.Builder
			for _, e := range got.Evidence {
				all.WriteString(e.String() + "\n")
			}
			for _, want := range c.evidence {
				if !strings.Contains(all.String(), want) {
					t.Errorf("no %q in the evidence:\n%s", want, &all)
				}
			}
			if len(got.Evidence) > 2*maxEvidence+tailLines {
				t.Errorf("%d lines of evidence", len(got.Evidence))
			}
		})
	}
}

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

// Every line of the real logs that a pattern matches must get past the cheap look.
func TestTelling(t *testing.T) {
	logs, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	matched := 0
	for _, l := range logs {
		if l.IsDir() {
			continue
		}
		b, err := os.ReadFile("testdata/" + l.Name())
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			for _, p := range patterns {
				if !p.re.MatchString(line) {
					continue
				}
				matched++
				if !telling(line) {
					t.Errorf("%s: not telling: %s", l.Name(), line)
				}
			}
		}
	}
	if matched < 20 {
		t.Errorf("only %d lines matched", matched)
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

func TestHugeLog(t *testing.T) {
	noise := &repeated{text: strings.Repeat("\xf0noise without end ", 4000) + "\n", n: 1700} // 120 MB
	got := Log(io.MultiReader(noise, strings.NewReader("/b/a.c:3:1: error: x\n")), Facts{LogName: "log"})
	if got.Cause != cause.CompileError || got.Evidence[0].Line != 3 {
		t.Errorf("%+v", got)
	}
}

func FuzzLog(f *testing.F) {
	f.Add([]byte("/b/a.c:3:1: error: x\n"), 0)
	f.Add([]byte("[configure-kmod] Build output for HAS_0__SANITY:\n\xff"), 12)
	f.Fuzz(func(t *testing.T, log []byte, major int) {
		got := Log(bytes.NewReader(log), Facts{ExitCode: 2, CompilerMajor: major, KernelMajor: 12})
		if err := got.Check(); err != nil {
			t.Error(err)
		}
	})
}
