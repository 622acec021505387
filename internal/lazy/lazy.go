// SPDX-License-Identifier: Apache-2.0

// Package lazy knows how to make what is rarely needed when it is first needed. The agent starts anew for each program of a deed,
// under an emulator, and what every start makes every guest pays for.
package lazy

import (
	"regexp"
	"sync"
)

// Regexp is a regular expression that is compiled at the first call. One that does not compile panics then.
func Regexp(expr string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })
}
