// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var voc = Vocabulary{
	RuleOverlays: []string{"native", "sysdig"},
	Compilers:    []string{"gcc-10", "clang-9"},
	Builtins:     []string{"modern", "modern-bad-upper", "modern-bad-openhow", "ptrace", "consumer"},
}

// The shipped matrix names files relative to itself.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		panic(err)
	}
	files, err := filepath.Glob("scenarios/data/*.yaml")
	if err != nil || len(files) == 0 {
		panic(fmt.Sprint("the shipped scenarios are not there: ", err))
	}
	for _, f := range files {
		voc.Scenarios = append(voc.Scenarios, strings.TrimSuffix(filepath.Base(f), ".yaml"))
	}
	os.Exit(m.Run())
}

func shipped(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestShippedMatrix(t *testing.T) {
	m, err := Parse("matrix.yaml", []byte(shipped(t)), voc)
	if err != nil {
		t.Fatal(err)
	}
	q, ok := m.Profiles.Get("quick")
	if !ok || len(q.Kernels) != 4 || len(q.Drivers) != 2 || len(q.Scenarios) != 2 {
		t.Errorf("profile quick is not four kernels x two drivers x two scenarios: %+v", q)
	}
	if s, _ := m.Sources.Debian.Suites.Get("sid"); s.ValidUntil.V != "warn" {
		t.Errorf("sid: valid_until = %q, want warn", s.ValidUntil.V)
	}
}

func TestBTFOverride(t *testing.T) {
	text := strings.Replace(shipped(t), "source: {builtin: modern}\n", "source: {builtin: modern}\n    btf_override: go.sum\n", 1)
	m, err := Parse("matrix.yaml", []byte(strings.Replace(text, "latest: 1\n", "latest: 1\n    btf_override: go.mod\n", 1)), voc)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := m.Drivers.Get("mews-modern")
	k, _ := m.Kernels.Get("debian-5.10")
	if d.BTF.V != "go.sum" || k.BTF.V != "go.mod" {
		t.Errorf("the driver's types are %q, the kernel's %q", d.BTF.V, k.BTF.V)
	}
}

// Each case breaks the shipped file in one place and names the error a user must then see.
func TestRefuses(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", "profiles:", "profils:", `unknown key "profils"; did you mean "profiles"?`},
		{"wrong type", "latest: 1", "latest: newest", `matrix.yaml:21:13: a whole number was expected, not "newest"`},
		{"unknown driver", "drivers: [falco-kmod, mews-modern]", "drivers: [falco-kmo, mews-modern]", `unknown driver "falco-kmo"; did you mean "falco-kmod"?`},
		{"unknown kernel", "kernels: [debian-5.10, debian-6.1, debian-6.12, debian-7]\n    drivers: [falco-kmod,", "kernels: [debian-5.1]\n    drivers: [falco-kmod,", `unknown kernel "debian-5.1"; did you mean "debian-5.10"?`},
		{"unknown scenario", "openat2-read-sensitive]\n    image: debian\n  control", "openat-read-sensitive]\n    image: debian\n  control", `unknown scenario "openat-read-sensitive"; did you mean "openat2-read-sensitive"?`},
		{"all scenarios and one more", "scenarios: [all]", "scenarios: [all, read-sensitive]", "all stands for every scenario: it leaves nothing to be named beside it"},
		{"unknown consumer", "consumer: native", "consumer: naive", `unknown consumer "naive"; did you mean "native"?`},
		{"unknown variant", "variant: modern_ebpf", "variant: modern_bpf", `unknown variant "modern_bpf"; did you mean "modern_ebpf"?`},
		{"a legacy probe with a consumer that cannot load it", "variant: ebpf\n    source: {package: falcosecurity-scap-dkms, suite: trixie}", "variant: ebpf\n    source: {package: falcosecurity-scap-dkms, suite: trixie}\n    consumer: native", "falco-ebpf-0.20: a consumer of kind native reads variants modern_ebpf, ptrace, not ebpf"},
		{"our probe with sysdig", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: sysdig", "mews-modern: a consumer of kind sysdig reads variants kmod, ebpf, not modern_ebpf"},
		{"a driver to build in a profile", "drivers: [falco-kmod-2022]", "drivers: [falco-ebpf-0.20]", "falco-ebpf-0.20 has no consumer: it can be built, and not run"},
		{"a Falco without its path", "{kind: native, userland: sid, rules: [native]}", "{kind: falco, userland: sid}", "native: a consumer of kind falco needs argv"},
		{"arguments for sysdig", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdig], argv: [sysdig]", "argv is of kinds falco and command"},
		{"rules for a command", "{kind: native, userland: sid, rules: [native]}", "{kind: command, userland: sid, rules: [native], argv: [a]}", "a consumer of kind command evaluates no rules"},
		{"a file that is not there", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdig], files: [{from: nowhere, to: /usr/bin/x}]", "nowhere is no file"},
		{"a file to nowhere", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdig], files: [{from: go.sum, to: usr/../x}]", `"usr/../x" is no absolute path`},
		{"a file twice", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdig], files: [{from: go.sum, to: /x}, {from: go.sum, to: /x}]", "/x is put there twice"},
		{"a mode that is none", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdig], files: [{from: go.sum, to: /x, mode: rwx}]", `mode "rwx" is no octal mode`},
		{"a driver that sysdig does not bring", "source: {builtin: modern}\n    consumer: native", "source: {builtin: consumer}\n    consumer: sysdig", "only a consumer of kind falco or command brings a driver"},
		{"a driver of mews without a consumer", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}", "mews-modern: a driver that mews carries needs a consumer"},
		{"unknown distro", "distro: debian", "distro: debain", `unknown distro "debain"; did you mean "debian"?`},
		{"unknown policy", "valid_until: warn", "valid_until: warm", `unknown valid_until "warm"; did you mean "warn"?`},
		{"unknown source", "sources:\n", "sources:\n  amazn: {}\n", `unknown key "amazn"; did you mean "amazon"?`},
		{"unknown signatures", "sources:\n", "sources:\n  rocky: {signatures: lax}\n", `matrix.yaml:6:23: unknown signatures "lax"`},
		{"unknown overlay", "userland: sid, rules: [sysdig]", "userland: sid, rules: [sysdg]", `unknown rule overlay "sysdg"; did you mean "sysdig"?`},
		{"bad glob", `"5.10.*-cloud-amd64"`, `"5.10.[-cloud"`, `"5.10.[-cloud" is not a pattern`},
		{"no suite", "{package: falcosecurity-scap-dkms, suite: sid}", "{package: falcosecurity-scap-dkms}", `names package "falcosecurity-scap-dkms" but no suite`},
		{"two sources", "{builtin: modern}", "{builtin: modern, package: x, suite: sid}", "either a package or builtin, not both"},
		{"empty profile", "drivers: [falco-kmod, mews-modern]", "drivers: []", "a run of nothing proves nothing"},
		{"name that is no file's", "  debian-7:", "  debian/7:", `"debian/7" cannot be part of a file's name`},
		{"types of a module", "source: {package: falcosecurity-scap-dkms, suite: sid}\n", "source: {package: falcosecurity-scap-dkms, suite: sid}\n    btf_override: go.sum\n", "btf_override is of no use to variant kmod"},
		{"no types", "source: {builtin: modern}\n", "source: {builtin: modern}\n    btf_override: nowhere.btf\n", "nowhere.btf is no file that can be read from here"},
		{"types that are a directory", "    latest: 1\n", "    latest: 1\n    btf_override: .\n", "btf_override: . is no file"},
		{"expectation of another driver", "{driver: mews-modern-bad-upper, state: fail", "{driver: mews-modern-bad-uper, state: fail", `unknown driver of this profile "mews-modern-bad-uper"; did you mean "mews-modern-bad-upper"?`},
		{"expectation that no verdict meets", "bad-upper, state: fail", "bad-upper, state: error", `state "error" cannot be expected`},
		{"pass for a cause", "bad-upper, state: fail, cause", "bad-upper, state: pass, cause", "a pass has none"},
		{"unknown cause", "cause: RULE_SILENT", "cause: RULE_SILNT", `unknown cause "RULE_SILNT"; did you mean "RULE_SILENT"?`},
		{"expected twice", "{driver: mews-modern-bad-openhow-el8, state", "{driver: mews-modern-bad-upper, state", "was said before"},
		{"a pass that is foreseen of a scenario", "falco-kmod, scenario: \"io-uring-*\", state: fail, cause: RULE_SILENT", "falco-kmod, scenario: \"io-uring-*\", state: pass", "of a scenario a fault can be foreseen: state fail, with its cause"},
		{"a fault that is foreseen without its cause", "falco-kmod, scenario: \"io-uring-*\", state: fail, cause: RULE_SILENT", "falco-kmod, scenario: \"io-uring-*\", state: fail", "of a scenario a fault can be foreseen: state fail, with its cause"},
		{"a fault of scenarios that are not there", "falco-kmod, scenario: \"io-uring-*\"", "falco-kmod, scenario: \"io-urng-*\"", `"io-urng-*" is no scenario of this profile`},
		{"a fault of a bad pattern", "falco-kmod, scenario: \"io-uring-*\"", "falco-kmod, scenario: \"io-uring-[\"", `"io-uring-[" is no pattern`},
		{"a fault foreseen twice", "{driver: mews-modern, scenario", "{driver: falco-kmod, scenario", "was said before"},
		{"another end", "until: load", "until: lode", `unknown stage to end at "lode" (known: build, load)`},
		{"a compiler that no image has", "compiler: clang-9\n    until", "compiler: clang-0\n    until", `unknown compiler "clang-0"; did you mean "clang-9"?`},
		{"a compiler of a probe that mews carries", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: native\n    compiler: clang-9", "a compiler is of no use to it"},
		{"force without a compiler", "compiler: gcc-10\n    force: true", "force: true", "scap-gcc-10-forced: force builds although a compiler broke the kernel's promises, and no compiler is named"},
		{"a build of what is not built", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: native\n    until: build", "there is no verdict to come to by then"},
		{"an error that is no verdict", "state: error, cause: TOOLCHAIN_MISMATCH, evidence: \"asm inline\"", "state: error, cause: AGENT_LOST, evidence: x", `state "error" cannot be expected but with cause TOOLCHAIN_MISMATCH`},
		{"a log that is not there", "asm-inline-al2.log", "asm-inline.log", "asm-inline.log is no file that can be read from here"},
		{"a log whose cause there is not", "cause: COMPILE_ERROR", "cause: COMPILE_EROR", `unknown cause "COMPILE_EROR"; did you mean "COMPILE_ERROR"?`},
		{"a log that is called as a driver", "name: falco-3054", "name: scap-clang-9", "scap-clang-9 is the name of another log or driver"},
		{"a log of no kernel", "kernel: 5.10.179-168.710.amzn2.x86_64", "kernel: ../x", `"../x" cannot be part of a file's name`},
		{"types that are not there", "rhel8-4.18.0-2022-03.btf\n", "rhel9.btf\n", "testdata/btf/rhel9.btf is no file that can be read from here"},
		{"fork of another word", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: native\n    fork: never", `fork "never": a driver forks unless it says false`},
		{"no fork without a reason", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: native\n    fork: false", "fork: false needs a fork_reason"},
		{"a reason for nothing", "source: {builtin: modern}\n    consumer: native", "source: {builtin: modern}\n    consumer: native\n    fork_reason: x", "fork_reason without fork: false"},
		{"version", "version: 1", "version: 2", "version 2 is not known"},
	} {
		t.Run(c.name, func(t *testing.T) {
			broken := strings.Replace(shipped(t), c.old, c.new, 1)
			if broken == shipped(t) {
				t.Fatalf("the shipped matrix no longer holds %q", c.old)
			}
			_, err := Parse("matrix.yaml", []byte(broken), voc)
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
			if !strings.HasPrefix(err.Error(), "matrix.yaml:") {
				t.Errorf("no file:line:column in %q", err)
			}
		})
	}
}
