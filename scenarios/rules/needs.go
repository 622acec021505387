// SPDX-License-Identifier: Apache-2.0

package rules

import "slices"

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

// Compared lists the values that a condition compares a field with, field as it is written with its argument; sorted.
func Compared(e Expr, field string) []string {
	var values []string
	checks(e, func(c *Check) {
		if c.Name() == field {
			values = append(values, c.Values...)
		}
	})
	slices.Sort(values)
	return slices.Compact(values)
}
