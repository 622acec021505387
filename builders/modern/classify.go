// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/builders/classify"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

// The warnings of the checkout's own cmake about the tools, which it goes on after.
var warnings = []string{
	"is too old for compiling the modern BPF probe",
	"bpftool does not support gen command",
}

// classify says what a failed make means. configured is what cmake printed before it, said what make did.
func (b *build) classify(res *sandbox.Result, configured, said string) error {
	facts := classify.Facts{ExitCode: res.ExitCode, LogName: kbuild.LogName, Source: libsAt,
		// No compiler is the kernel's here: what clang does not know, the checkout asks for.
		Compiler: b.Compiler.Command, KernelCompiler: b.Compiler.Command}
	if res.TimedOut {
		facts.TimedOut = res.Elapsed.Round(time.Second)
	} else {
		facts.Killed = res.OutOfMemory || res.Signal == syscall.SIGKILL
	}
	// Lines are counted as the log has them.
	found := classify.Log(strings.NewReader(configured+said), facts)
	if found.Fault == cause.FaultInfra {
		return found
	}
	link := linked(said)
	if found.Cause == cause.Internal && len(link) > 0 {
		found = cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "bpftool does not link what %s compiled: %s", b.Compiler.Command, link[len(link)-1].Text).
			With(link...).Advise("build with the bpftool and the clang of another suite: whether they or the driver are at fault is not proven")
	}
	for _, w := range warnings {
		if line := lineWith(configured, w); line != "" {
			return cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "the checkout's own cmake warns of a tool that is too old, and the build fails").
				With(cause.Text(line)...).With(found.Evidence...).Advise("build with a newer clang and bpftool")
		}
	}
	return found
}

func lineWith(text, what string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, what) {
			return strings.TrimSpace(strings.ToValidUTF8(line, "?"))
		}
	}
	return ""
}

// maxLines bounds the evidence of a failed link.
const maxLines = 8

// linked are the last lines of bpftool and its libbpf, up to its verdict.
func linked(said string) []cause.Evidence {
	var out []cause.Evidence
	failed := false
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(strings.ToValidUTF8(line, "?"))
		verdict := strings.HasPrefix(line, "Error: ")
		if !verdict && !strings.HasPrefix(line, "libbpf: ") {
			continue
		}
		failed = failed || verdict
		if out = append(out, cause.Evidence{File: kbuild.LogName, Text: line[:min(len(line), 400)]}); len(out) > maxLines {
			out = out[1:]
		}
		if verdict {
			break
		}
	}
	if !failed {
		return nil
	}
	return out
}
