// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func log(lines ...string) string {
	return logBegin + "\n" + strings.Join(lines, "\n") + "\n\n" + logEnd + "\nUnable to load the driver\nlibscap: bpf_load_program() event=raw_tracepoint/filler/sys_open_x: Operation not permitted\n"
}

func TestRefusal(t *testing.T) {
	for _, c := range []struct {
		name, stderr string
		state        cause.State // "": nil
		cause        cause.Cause
		fault        cause.Fault
		says         string // in what or evidence
	}{
		{"another kernel's", "BPF probe is compiled for 6.1.0-1-amd64, but running version is 6.1.0-56-cloud-amd64\n", cause.Fail, cause.VermagicMismatch, cause.FaultDriver, "6.1.0-1-amd64"},
		{"no API version", "missing api_version section\n", cause.Fail, cause.APISchemaMismatch, cause.FaultDriver, "api_version"},
		{"too new for a sysdig of 2022", "Driver supports API version 8.0.4, but running version needs 1.0.0\n", cause.Fail, cause.APISchemaMismatch, cause.FaultDriver, "8.0.4"},
		{"too old for a sysdig of today", "Minimum API version supported by scap: 1.0.0, but the running driver uses 8.0.0\n", cause.Fail, cause.APISchemaMismatch, cause.FaultDriver, "8.0.0"},
		{"map", "can't create map 3: Operation not permitted\n", cause.Fail, cause.UnsupportedMapType, cause.FaultKernel, "map 3"},
		{"perf", "unable to open the perf-buffer for cpu '0': Operation not permitted\n", cause.Fail, cause.PolicyDenied, cause.FaultKernel, "cpu '0'"},
		{"cut short", "can't read ELF header\n", cause.Error, cause.Internal, cause.FaultHarness, "ELF"},
		{"rejected", log("0: (79) r6 = *(u64 *)(r1 +8)", "R7 invalid mem access 'inv'", "processed 12 insns"), cause.Fail, cause.VerifierRejection, cause.FaultDriver, "R7 invalid mem access"},
		{"which program", log("R7 invalid mem access 'inv'"), cause.Fail, cause.VerifierRejection, cause.FaultDriver, "raw_tracepoint/filler/sys_open_x"},
		{"too large", log("BPF program is too large. Processed 1000001 insn"), cause.Fail, cause.VerifierComplexity, cause.FaultDriver, "1000001"},
		{"stack", log("combined stack size of 3 calls is 544. Too large"), cause.Fail, cause.VerifierComplexity, cause.FaultDriver, ""},
		{"helper", log("unknown func bpf_probe_read#4"), cause.Fail, cause.UnsupportedHelper, cause.FaultDriver, "bpf_probe_read#4"},
		{"helper of 6.x", log("program of this type cannot use helper bpf_get_func_ip#173"), cause.Fail, cause.UnsupportedHelper, cause.FaultDriver, "#173"},
		{"no log", log(), cause.Fail, cause.UnsupportedProgramType, cause.FaultKernel, ""},
		{"the first mark is lost", "R1 type=ctx expected=fp\n" + logEnd + "\n", cause.Fail, cause.VerifierRejection, cause.FaultDriver, "expected=fp"},
		{"a filter's fault", "filter_check called with nonexistent field foo.bar\n", "", "", "", ""},
		{"nothing", "", "", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Refusal(c.stderr)
			if c.state == "" {
				if err != nil {
					t.Fatalf("%v", err)
				}
				return
			}
			f := cause.Of(err)
			if f.State != c.state || f.Cause != c.cause || f.Fault != c.fault {
				t.Fatalf("%v: %s %s %s", err, f.State, f.Cause, f.Fault)
			}
			text := err.Error()
			for _, e := range f.Evidence {
				text += "\n" + e.String()
			}
			if !strings.Contains(text, c.says) {
				t.Errorf("%q is not in %q", c.says, text)
			}
		})
	}
}

func FuzzRefusal(f *testing.F) {
	f.Add(log("R7 invalid mem access 'inv'"))
	f.Add("can't create map 3\n" + logEnd + logBegin)
	f.Fuzz(func(t *testing.T, stderr string) {
		if err := Refusal(stderr); err != nil && cause.Of(err).Check() != nil {
			t.Errorf("%q gives a finding that is none: %+v", stderr, cause.Of(err))
		}
	})
}
