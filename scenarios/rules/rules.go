// SPDX-License-Identifier: Apache-2.0

// Package rules knows Falco's rule language: how its files are read, and what a condition means.
//
// What it does not know is an error with its place, and never something that is passed over. A rule that is sound, and
// uses a field that a consumer lacks, is unsupported by name, and the others are not touched ([Set.Compile]).
package rules

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/mews-farm/mews/internal/nearest"
)

// maxFile bounds a rule file, in bytes. Falco's own are below 200 KiB.
const maxFile = 4 << 20

// File is a rule file: its name, for positions in errors, and its text.
type File struct {
	Name string
	Data []byte
}

// Rule is one rule of a [Set], its condition expanded.
type Rule struct {
	Name        string
	Description string
	Condition   string // as written, without the exceptions
	Output      string // with %fields
	Priority    string // one of [Priorities]
	Source      string // "syscall" unless the rule says otherwise
	Tags        []string
	Disabled    bool // enabled: false
	// SkipUnknown is skip-if-unknown-filter: Falco leaves the rule out when it lacks one of the fields. mews says so of
	// each such rule, and takes note of the key alone.
	SkipUnknown bool
	Expr        Expr // macros inlined, lists expanded in place, exceptions taken off
}

// Priorities are Falco's, the gravest first, as its alerts spell them.
var Priorities = []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

// Set is what rule files define.
type Set struct {
	lists  map[string]*list
	macros map[string]Expr // not expanded
	rules  map[string]*Rule
	needs  Requirements
}

func newSet() *Set {
	return &Set{lists: map[string]*list{}, macros: map[string]Expr{}, rules: map[string]*Rule{}}
}

// Requires is what the files say they need of an engine.
func (s *Set) Requires() Requirements { return s.needs }

// Rule returns the rule of that name; the error names the nearest one.
func (s *Set) Rule(name string) (*Rule, error) {
	if r, ok := s.rules[name]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("no rule is named %q%s", name, nearest.Hint(name, sortedKeys(s.rules)))
}

// Rules returns every rule, sorted by name.
func (s *Set) Rules() []*Rule {
	out := make([]*Rule, 0, len(s.rules))
	for _, r := range s.rules {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Rule) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Fields returns the fields, with their arguments, that the condition and the output mention; sorted.
func (r *Rule) Fields() []string {
	out := outputFields(r.Output)
	checks(r.Expr, func(c *Check) {
		out = append(out, c.Name())
		if c.Right != nil {
			out = append(out, c.Right.Name())
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}
