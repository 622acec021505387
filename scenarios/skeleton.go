// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
)

// placeholder begins and ends a text that its author has still to write.
const placeholder = "<"

// unwritten reports whether text is a placeholder of [Skeleton]'s.
func unwritten(text string) bool {
	text = strings.TrimSpace(text)
	return strings.HasPrefix(text, placeholder) && strings.HasSuffix(text, ">")
}

//go:embed skeleton.txt
var skeleton string

// Skeleton is the file of a new scenario: all that is known by itself is in it, and a placeholder for all that its author
// must say, which [Lint] refuses. Without a rule that is a placeholder too.
func Skeleton(name, rule string) ([]byte, error) {
	if !nameForm().MatchString(name) {
		return nil, fmt.Errorf("a scenario cannot be named %q: small letters, digits and hyphens, as in read-boot-config", name)
	}
	priority := "<the rule's>"
	if rule != "" {
		set, err := Rules()
		if err != nil {
			return nil, err
		}
		r, err := set.Rule(rule)
		if err != nil {
			var known []string
			for _, r := range set.Rules() {
				known = append(known, r.Name)
			}
			return nil, fmt.Errorf("no shipped rule is named %q%s", rule, nearest.Hint(rule, known))
		}
		priority = r.Priority
	} else {
		rule = "<a rule of scenarios/rules/falco.yaml, word for word>"
	}
	return []byte(strings.NewReplacer("NAME", name, "RULE", strconv.Quote(rule), "PRIORITY", strconv.Quote(priority)).Replace(skeleton)), nil
}
