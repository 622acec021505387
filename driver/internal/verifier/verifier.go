// SPDX-License-Identifier: Apache-2.0

// Package verifier knows what the words of the kernel's verifier mean.
package verifier

import (
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// words are what a verifier says of a refusal that is not one of the program's own reasoning, by what that comes to.
var words = map[cause.Cause][]string{
	cause.VerifierComplexity: {"BPF program is too large", "too complex", "combined stack size"},
	cause.UnsupportedHelper:  {"unknown func ", "invalid func ", "program of this type cannot use helper"},
}

// Cause reads out of a verifier's log why it refused a program. Complexity comes first: the log of a program that is too large
// may name anything.
func Cause(log string) cause.Cause {
	for _, c := range []cause.Cause{cause.VerifierComplexity, cause.UnsupportedHelper} {
		for _, w := range words[c] {
			if strings.Contains(log, w) {
				return c
			}
		}
	}
	return cause.VerifierRejection
}
