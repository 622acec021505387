// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strings"
)

// Needs lists the types of events that a condition asks for by name and may hold for, sorted. A driver that does not tell
// of one of them makes the condition quietly false for it. `not evt.type = x` needs nothing of x.
func Needs(e Expr, fields Schema) []string {
	var types []string
	checks(e, func(c *Check) {
		if asksType(c) {
			types = append(types, c.Values...)
		}
	})
	slices.Sort(types)
	return slices.DeleteFunc(slices.Compact(types), func(t string) bool {
		rest, holds := given(e, typeOnly(t), fields)
		return rest == nil && !holds
	})
}

// noType is what no event's type is, and no condition names.
const noType typeOnly = "\x00"

// Types is [Needs], and whether the condition holds for events of no other type.
func Types(e Expr, fields Schema) (types []string, only bool) {
	exact := true
	checks(e, func(c *Check) {
		if asksType(c) && (!slices.Contains([]Op{Eq, Ne, In}, c.Op) || len(c.Transforms) > 0) {
			exact = false // it may hold for types that it does not name
		}
	})
	rest, holds := given(e, noType, fields)
	return Needs(e, fields), exact && rest == nil && !holds
}

// Unsaid is an [*Error] if a condition looks in a field for one of the words that a consumer never says of it; words are by
// field, with its argument. Where libsinsp says them, the condition would mean something else there.
func Unsaid(e Expr, words map[string][]string) error {
	var wrong *Error
	checks(e, func(c *Check) {
		for _, value := range c.Values {
			for _, word := range words[c.Name()] {
				if wrong == nil && strings.Contains(value, word) {
					wrong = c.at.errorf("%s never says %s to the consumer", c.Name(), word)
				}
			}
		}
	})
	if wrong == nil {
		return nil
	}
	return wrong
}
