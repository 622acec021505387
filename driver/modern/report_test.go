// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/results/cause"
)

func TestProgramError(t *testing.T) {
	verifier := func(errno unix.Errno, log ...string) error {
		return fmt.Errorf("program openat2: %w", &ebpf.VerifierError{Cause: fmt.Errorf("load program: %w", errno), Log: log})
	}
	for _, tt := range []struct {
		name     string
		err      error
		cause    cause.Cause
		fault    cause.Fault
		evidence string
	}{
		{"poisoned relocation", verifier(unix.EINVAL, "; how.flags", "278: (85) call unknown#195896080", "invalid func unknown#195896080", "processed 232 insns (limit 1000000)"),
			cause.CORERelocation, cause.FaultDriver, "how.flags"},
		{"too long a way", verifier(unix.E2BIG, "BPF program is too large. Processed 1000001 insn", "processed 1000001 insns (limit 1000000)"),
			cause.VerifierComplexity, cause.FaultDriver, "too large"},
		{"too many jumps", verifier(unix.EFAULT, "The sequence of 8193 jumps is too complex."), cause.VerifierComplexity, cause.FaultDriver, "too complex"},
		{"a helper it lacks", verifier(unix.EINVAL, "10: (85) call bpf_loop#181", "invalid func bpf_loop#181"), cause.UnsupportedHelper, cause.FaultDriver, "bpf_loop"},
		{"anything else", verifier(unix.EACCES, "R1 invalid mem access 'scalar'", "processed 3 insns"), cause.VerifierRejection, cause.FaultDriver, "invalid mem access"},
		{"no permission", fmt.Errorf("load program: %w", unix.EPERM), cause.PolicyDenied, cause.FaultKernel, ""},
		{"no raw tracepoints", fmt.Errorf("RawTracepoint: %w", ebpf.ErrNotSupported), cause.UnsupportedProgramType, cause.FaultKernel, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := programError("openat2", tt.err)
			if e.Cause != tt.cause || e.Fault != tt.fault || e.State != cause.Fail {
				t.Errorf("%s %s %s, want fail %s %s", e.State, e.Cause, e.Fault, tt.cause, tt.fault)
			}
			if !strings.Contains(fmt.Sprint(e.Evidence), tt.evidence) {
				t.Errorf("evidence %v lacks %q", e.Evidence, tt.evidence)
			}
			if !strings.Contains(e.Error(), "openat2") {
				t.Errorf("%q does not name the program", e)
			}
		})
	}
}

// rhel8 is the BTF of a real RHEL 8 kernel that has the ring buffer and no struct open_how.
func rhel8(t *testing.T) *btf.Spec {
	t.Helper()
	shared := os.Getenv("MEWS_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	f, err := os.Open(filepath.Join(shared, "btf", "rhel8_4.18_x86_64_2022-03.btf.gz"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("the types of a RHEL 8 kernel are not here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := btf.LoadSpecFromReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func TestOpenat2NeedsOpenHow(t *testing.T) {
	err := missingType(bpf.ProbeProgOpenat2, rhel8(t))
	f := cause.Of(err)
	if f.State != cause.Unsupported || f.Cause != cause.CORERelocation || f.Fault != cause.FaultKernel {
		t.Errorf("openat2 on RHEL 8 of 2022: %s %s %s", f.State, f.Cause, f.Fault)
	}
	if err := f.Check(); err != nil {
		t.Error(err)
	}
	if err := missingType(bpf.ProbeProgOpens, rhel8(t)); err != nil {
		t.Errorf("opens needs no open_how: %v", err)
	}
}

// TestLoadForRHEL8 relocates every program of the probe against a foreign kernel, and loads it: this kernel's verifier
// must find no trace of a member that does not exist there.
func TestLoadForRHEL8(t *testing.T) {
	d, reports, err := Load(Options{BTF: rhel8(t), RingSize: 1 << 16})
	skipWithoutRights(t, err)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer d.Close()
	for _, r := range reports {
		if want := r.Name != bpf.ProbeProgOpenat2; r.Loaded != want {
			t.Errorf("program %s: loaded %t, want %t: %v\n%s", r.Name, r.Loaded, want, r.Err, r.Log)
		}
	}
}

// TestBadOpenHowForRHEL8 has the fault of falco#3417 met by the kernel that it was found on, and refused by this one's
// verifier for it.
func TestBadOpenHowForRHEL8(t *testing.T) {
	d, reports, err := Load(Options{Edition: BadOpenHow, BTF: rhel8(t), RingSize: 1 << 16})
	skipWithoutRights(t, err)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	defer d.Close()
	for _, r := range reports {
		if r.Name != bpf.ProbeProgOpenat2 {
			if !r.Loaded {
				t.Errorf("program %s: %v", r.Name, r.Err)
			}
			continue
		}
		f := cause.Of(r.Err)
		if r.Loaded || f.State != cause.Fail || f.Cause != cause.CORERelocation || f.Fault != cause.FaultDriver {
			t.Errorf("openat2: loaded %t, %s %s %s", r.Loaded, f.State, f.Cause, f.Fault)
		}
		if text := fmt.Sprint(f.Evidence); !strings.Contains(text, "program openat2: struct open_how.flags is not in") || strings.Contains(text, "resolve is not") {
			t.Errorf("evidence %s", text)
		}
		t.Log(f.Evidence)
	}
}

func skipWithoutRights(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		t.Skipf("loading eBPF programs needs root: %v", err)
	}
}
