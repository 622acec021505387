// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

func TestNeedsAreRefused(t *testing.T) {
	for _, c := range []struct{ needs, want string }{
		{`{syscalls: [Openat2]}`, `x.yaml:4:20: "Openat2" is no name of a system call`},
		{`{kernel: 5.6}`, `x.yaml:4:17: "5.6" is no range of kernels`},
		{`{kernel: ">= 6.1.50"}`, `a bound is >= or < with MAJOR.MINOR`},
		{`{kernel: ">= 6.1, < 5.10"}`, `no kernel is in the range`},
		{`{kernel: "< 6.1, < 99999.1"}`, `the kernel 99999.1 is none`},
		{`{config: [IO_URING]}`, `x.yaml:4:18: "IO_URING" is no option of a kernel's configuration`},
		{`{config: [CONFIG_HZ=250]}`, `"CONFIG_HZ=250" is no option`},
		{`{capability: [CAP_SYS_ADMN]}`, `x.yaml:4:22: unknown capability "CAP_SYS_ADMN"; did you mean "CAP_SYS_ADMIN"?`},
		{`{kernels: ">= 5.6"}`, `did you mean "kernel"?`},
	} {
		_, err := Parse("x.yaml", []byte("name: x\nrule: y\ncontext: host\nneeds: "+c.needs+"\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngot  %v\nwant %s", c.needs, err, c.want)
		}
	}
}

func TestLintNeeds(t *testing.T) {
	s := Scenario{Name: "x", Context: Container, Needs: Needs{Capabilities: []string{"CAP_NET_RAW", "CAP_BPF"}}}
	if errs := lintNeeds(s); len(errs) != 1 || !strings.Contains(errs[0].Error(), "needs CAP_BPF, which its container does not have") {
		t.Errorf("got %v", errs)
	}
	if !slices.ContainsFunc(Lint(s, shipped(t, "falco")), func(err error) bool { return strings.Contains(err.Error(), "needs CAP_BPF") }) {
		t.Error("lint does not say so")
	}
	s.Container.Privileged = true
	if errs := lintNeeds(s); errs != nil {
		t.Errorf("a privileged container: %v", errs)
	}
}

// options is a configuration of which every symbol is n but the given ones.
type options map[string]string

func (o options) Get(symbol string) string { return o[symbol] }

func (o options) Line(symbol string) cause.Evidence {
	return cause.Evidence{File: "config", Text: symbol + "=" + o[symbol]}
}

func TestNeedsMissing(t *testing.T) {
	set := options{"CONFIG_Y": "y", "CONFIG_M": "m", "CONFIG_N": "n"}
	for _, c := range []struct {
		needs   Needs
		release string
		config  Options
		want    string // of what is said; "": nothing is missing
	}{
		{Needs{Kernel: ">= 5.6"}, "5.10.0-46-cloud-amd64", nil, ""},
		{Needs{Kernel: ">= 5.6"}, "5.6.0", nil, ""},
		{Needs{Kernel: ">= 5.6"}, "5.5.19", nil, "the kernel is 5.5.19, and the scenario needs >= 5.6"},
		{Needs{Kernel: ">= 5.6"}, "4.18.0-372.119.1.el8_6.x86_64", nil, "the kernel is 4.18.0-372"},
		{Needs{Kernel: ">= 5.6, < 6.12"}, "6.12.117+deb13-cloud-amd64", nil, "needs >= 5.6, < 6.12"},
		{Needs{Kernel: ">= 5.6, < 6.12"}, "6.1.0-57-cloud-amd64", nil, ""},
		{Needs{Kernel: "< 6.12"}, "17800.570.5", nil, ""}, // no version, and no proof
		{Needs{Config: []string{"CONFIG_Y", "CONFIG_M", "CONFIG_M=m"}}, "6.1.0", set, ""},
		{Needs{Config: []string{"CONFIG_N"}}, "6.1.0", set, "lacks CONFIG_N, which the scenario needs (config: CONFIG_N=n)"},
		{Needs{Config: []string{"CONFIG_ELSE"}}, "6.1.0", set, "lacks CONFIG_ELSE"},
		{Needs{Config: []string{"CONFIG_M=y"}}, "6.1.0", set, "(config: CONFIG_M=m)"},
		{Needs{Config: []string{"CONFIG_N"}}, "6.1.0", nil, ""}, // nobody has seen it yet
	} {
		e := c.needs.Missing(c.release, c.config)
		switch {
		case c.want == "" && e != nil, c.want != "" && (e == nil || !strings.Contains(e.Error(), c.want)):
			t.Errorf("%+v on %s: got %v, want %q", c.needs, c.release, e, c.want)
		case e != nil && e.Check() != nil:
			t.Error(e.Check())
		}
	}
}

func TestSymbol(t *testing.T) {
	const table = `0000000000000000 T __x64_sys_openat
0000000000000000 W __x64_sys_io_uring_setup
0000000000000000 T __ia32_sys_openat2
0000000000000000 t do_sys_openat2
0000000000000000 T __x64_sys_openat2	[none]
`
	for call, want := range map[string]string{"openat": "T __x64_sys_openat", "openat2": "T __x64_sys_openat2", "io_uring_setup": "", "open": ""} {
		if got := symbol(strings.NewReader(table), []string{call}); got != want {
			t.Errorf("%s: %q, want %q", call, got, want)
		}
	}
}

// A call of which the kernel's own symbols tell, and which is answered by ENOSYS, is denied and not missing.
func TestFailedSteps(t *testing.T) {
	for _, c := range []struct {
		name  string
		needs []string
		err   error
		want  cause.Cause
	}{
		{"a call that no kernel has", []string{"mews_none"}, unix.ENOSYS, cause.SyscallMissing},
		{"a call that nobody said is needed", nil, unix.ENOSYS, ""},
		{"another errno", []string{"mews_none"}, unix.EPERM, ""},
		{"a refusal", nil, &refusal{cause.PolicyDenied, "p", unix.EPERM}, cause.PolicyDenied},
	} {
		s := failed(StepResult{}, c.needs, c.err)
		if s.Refused != c.want || (s.Proof == "") != (c.want == "") || s.Errno == 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
	s, want := failed(StepResult{}, []string{"read"}, unix.ENOSYS), cause.SyscallDenied
	if present([]string{"read"}) == "" { // a kernel that keeps its symbols to itself
		want = cause.SyscallMissing
	}
	if s.Refused != want || s.Proof == "" {
		t.Errorf("a call that is there: %+v", s)
	}
}

func TestCapabilities(t *testing.T) {
	const chown, old = 1 << 0, 38 // before CAP_PERFMON and CAP_BPF, of Linux 5.8
	for _, c := range []struct {
		name  string
		known int
		cause cause.Cause
		want  string
	}{
		{"CAP_CHOWN", old, "", ""},
		{"CAP_KILL", old, "", "the acting process has no CAP_KILL"},
		{"CAP_BPF", old, cause.KernelLacks, "this kernel has no CAP_BPF"},
		{"CAP_BPF", 41, "", "the acting process has no CAP_BPF"},
		{"CAP_NONE", 41, "", "no capability is named"},
	} {
		err := enough([]string{"CAP_CHOWN", c.name}, c.known, chown)
		var no *refusal
		if errors.As(err, &no) != (c.cause != "") || no != nil && (no.cause != c.cause || no.proof == "") {
			t.Errorf("%s of %d: %+v", c.name, c.known, err)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %d: %v, want %q", c.name, c.known, err, c.want)
		}
	}
	if err := able([]string{"CAP_NONE"}); err == nil {
		t.Error("this process has a capability that is none")
	}
}
