// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

func TestLoadedCountsTheWorst(t *testing.T) {
	left := agent.Program{Name: "openat2", Finding: cause.Finding{State: cause.Unsupported, Cause: cause.CORERelocation, Fault: cause.FaultKernel}}
	refused := agent.Program{Name: "sched_process_exec", Finding: cause.Finding{State: cause.Fail, Cause: cause.VerifierRejection, Fault: cause.FaultDriver}}
	sound := agent.Program{Name: "sys_exit", Loaded: true}
	for _, c := range []struct {
		name     string
		programs []agent.Program
		want     cause.Cause
	}{
		{"all", []agent.Program{sound}, ""},
		{"without one whose types are missing", []agent.Program{left, sound}, ""},
		{"a refusal behind one that is left out", []agent.Program{left, refused, sound}, cause.VerifierRejection},
		{"none at all", []agent.Program{left}, cause.NoEvents},
	} {
		t.Run(c.name, func(t *testing.T) {
			note, err := loaded(agent.ProbeReport{Programs: c.programs})
			if got := cause.Of(err).Cause; got != c.want {
				t.Errorf("cause %q, want %q", got, c.want)
			}
			if c.want == "" && len(c.programs) == 2 && !strings.Contains(note, "without openat2") {
				t.Errorf("the note does not name what is left out: %q", note)
			}
		})
	}
}

func TestDeedDone(t *testing.T) {
	report := func(r scenarios.Result) agent.DeedReport {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return agent.DeedReport{Result: b}
	}
	refused := func(by cause.Cause) agent.DeedReport {
		return report(scenarios.Result{Want: 1, Steps: []scenarios.StepResult{{Action: "open", Errno: int(syscall.ENOSYS), Error: "openat2: function not implemented", Refused: by, Proof: "the proof"}}})
	}
	openat2 := scenarios.Needs{Syscalls: []string{"openat2"}}
	for _, c := range []struct {
		name  string
		rep   agent.DeedReport
		needs scenarios.Needs
		state cause.State
		cause cause.Cause
	}{
		{"done", report(scenarios.Result{Want: 1, Steps: []scenarios.StepResult{{Action: "open", OK: true}}}), scenarios.Needs{}, cause.Pass, ""},
		{"a call that the kernel lacks", refused(cause.SyscallMissing), openat2, cause.Unsupported, cause.SyscallMissing},
		{"the same, and nobody said that it is needed", refused(cause.SyscallMissing), scenarios.Needs{}, cause.Error, cause.ScenarioBroken},
		{"a call that the kernel has, and nobody gets", refused(cause.SyscallDenied), openat2, cause.Fail, cause.SyscallDenied},
		{"what the kernel does not know", refused(cause.KernelLacks), scenarios.Needs{Capabilities: []string{"CAP_BPF"}}, cause.Unsupported, cause.KernelLacks},
		{"what is forbidden", refused(cause.PolicyDenied), scenarios.Needs{}, cause.Unsupported, cause.PolicyDenied},
		{"a word of its own", refused(cause.RuleSilent), openat2, cause.Error, cause.ScenarioBroken},
		{"half done", report(scenarios.Result{Want: 2, Steps: []scenarios.StepResult{{OK: true}}}), scenarios.Needs{}, cause.Error, cause.ScenarioBroken},
		{"nothing said", agent.DeedReport{}, scenarios.Needs{}, cause.Error, cause.ScenarioBroken},
		{"garbage", agent.DeedReport{Result: json.RawMessage("{")}, scenarios.Needs{}, cause.Error, cause.ScenarioBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := cause.Of(deedDone(c.rep, c.needs))
			if f.State != c.state || f.Cause != c.cause {
				t.Errorf("%s %s, want %s %s", f.State, f.Cause, c.state, c.cause)
			}
			if proven := f.State == cause.Unsupported || f.State == cause.Fail; proven && !strings.Contains(fmt.Sprint(f.Evidence), "the proof") {
				t.Errorf("the evidence %v lacks the proof", f.Evidence)
			}
		})
	}
}

// The console is a second witness: the log's ring may have been overwritten.
func TestComplaints(t *testing.T) {
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	known := func(until string) []matrix.Allowed {
		str := func(s string) matrix.Str { return matrix.Str{V: s} }
		return []matrix.Allowed{{
			Match: str("kernel/x.c"), Reason: str("known"), Until: str(until),
			Kernels: []matrix.Str{str("debian-7*"), str("debian:6.1.0-*")}, Drivers: []matrix.Str{str("falco-*")},
		}}
	}
	k61 := &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64"}}
	quiet := []agent.KernelLine{{Text: "scap: driver loading"}}
	warning := "WARNING: CPU: 0 PID: 7 at kernel/x.c:1 f+0x1/0x2"
	loud := append(quiet, agent.KernelLine{Text: warning})
	echo := []splat.Splat{{Kind: splat.Warning, Title: warning}}
	for _, c := range []struct {
		name           string
		log            []agent.KernelLine
		console        []splat.Splat
		allow          []matrix.Allowed
		kernel, driver string
		note           string
		fails          bool
	}{
		{"a quiet kernel", quiet, nil, nil, "", "", "", false},
		{"in the log", loud, nil, nil, "", "", "", true},
		{"on the console", quiet, []splat.Splat{{Kind: splat.Oops, Title: "BUG: unable to handle page fault"}}, nil, "", "", "", true},
		{"allowed by its entry", loud, echo, known("2027-01-31"), "debian-7", "falco-kmod", "; allowed to 2027-01-31 (known): " + warning, false},
		{"allowed by its release", loud, echo, known("2027-01-31"), "", "falco-kmod", "; allowed to 2027-01-31 (known): " + warning, false},
		{"expired", loud, echo, known("2027-01-30"), "debian-7", "falco-kmod", "", true},
		{"another driver", loud, echo, known("2027-01-31"), "debian-7", "mews-modern", "", true},
		{"a second complaint beside it", loud, []splat.Splat{{Kind: splat.Oops, Title: "BUG: y"}}, known("2027-01-31"), "debian-7", "falco-kmod", "; allowed to 2027-01-31 (known): " + warning, true},
	} {
		note, err := complaints(c.log, c.console, allowances(c.allow, matrix.Kernel{Name: c.kernel}, k61, c.driver), now)
		if f := cause.Of(err); note != c.note || c.fails != (f.State == cause.Fail && f.Cause == cause.KernelSplat) || !c.fails && err != nil {
			t.Errorf("%s: note %q, %+v", c.name, note, err)
		}
	}
	k512 := &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: "6.12.1-cloud-amd64"}}
	if a := allowances(known("2027-01-31"), matrix.Kernel{Name: "debian-6.12"}, k512, "falco-kmod"); a != nil {
		t.Errorf("another kernel has %+v", a)
	}
}

func TestClock(t *testing.T) {
	for _, c := range []struct {
		guest, host time.Duration
		wild        bool
	}{
		{3 * time.Second, 4 * time.Second, false},
		{1098 * time.Second, 24 * time.Second, true},
		{6 * time.Second, time.Second, false}, // a second or two say nothing
		{20 * time.Second, 5 * time.Second, true},
	} {
		if err := clock(c.guest, c.host); errors.Is(err, errClock) != c.wild {
			t.Errorf("%s in the guest, %s here: %v", c.guest, c.host, err)
		}
	}
}
