// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestCause(t *testing.T) {
	for log, want := range map[string]cause.Cause{
		"": cause.VerifierRejection,
		"0: (79) r0 = *(u64 *)(r9 +0)\nR9 !read_ok":                                      cause.VerifierRejection,
		"unknown func bpf_get_current_task_btf#158":                                      cause.UnsupportedHelper,
		"invalid func unknown#9999":                                                      cause.UnsupportedHelper,
		"program of this type cannot use helper bpf_d_path#147":                          cause.UnsupportedHelper,
		"BPF program is too large. Processed 1000001 insn":                               cause.VerifierComplexity,
		"The sequence of 8193 jumps is too complex.":                                     cause.VerifierComplexity,
		"combined stack size of 2 calls is 544. Too large":                               cause.VerifierComplexity,
		"12: (85) call unknown func 7\nBPF program is too large. Processed 1000001 insn": cause.VerifierComplexity,
	} {
		if got := Cause(log); got != want {
			t.Errorf("%q is %s, want %s", log, got, want)
		}
	}
}
