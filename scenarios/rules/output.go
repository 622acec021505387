// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
)

// outputField is a field of an output format, as libsinsp's event formatter reads it.
var outputField = lazy.Regexp(`%([a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)+(?:\[[^\[\]"'\s]+\])?)`)

// outputFields are the fields that an output mentions, in order. A * at its beginning is no field: it says that an
// alert is to be printed even if one of the fields is absent.
func outputFields(output string) []string {
	var out []string
	for _, m := range outputField().FindAllStringSubmatch(output, -1) {
		out = append(out, m[1])
	}
	return out
}

// checkOutput finds a % that no field follows.
func checkOutput(output string) error {
	if left := outputField().ReplaceAllString(output, ""); strings.Contains(left, "%") {
		_, after, _ := strings.Cut(left, "%")
		return fmt.Errorf("the output has a %% that no field follows: %q", "%"+after[:min(len(after), 20)])
	}
	return nil
}
