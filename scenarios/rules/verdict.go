// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/mews-farm/mews/internal/nearest"
)

// State says what a consumer can do with a rule.
type State uint8

// The states. The zero value is invalid.
const (
	Compiled    State = iota + 1
	Unsupported       // the rule is sound, and the consumer lacks something that it uses
	Broken            // the rule is wrong, for whatever consumer
	Disabled          // enabled: false
)

func (s State) String() string {
	switch s {
	case Compiled:
		return "compiled"
	case Unsupported:
		return "unsupported"
	case Broken:
		return "broken"
	case Disabled:
		return "disabled"
	}
	return "invalid state"
}

// Result is what became of one rule.
type Result struct {
	Rule    *Rule
	State   State
	Program *Program // of a compiled rule
	// Reason says why a rule is not compiled, with its place; its Field is the field that is lacking, if that is why.
	// Nil for a rule that is compiled or disabled.
	Reason *Error
	// Lacks are the fields of the output that the consumer does not have, sorted. The rule fires without them.
	Lacks []string
}

// Compile compiles each rule for a consumer with the fields of s, sorted by name. What is wrong with a rule, or is not to
// be had for it, is told in its result and leaves the others alone. Fields that neither s nor [Falco] know are mistakes.
func (s *Set) Compile(fields Schema) []Result {
	var out []Result
	for _, r := range s.Rules() {
		out = append(out, r.Compile(fields))
	}
	return out
}

// Compile compiles one rule, as [Set.Compile] does all.
func (r *Rule) Compile(fields Schema) Result {
	res := Result{Rule: r}
	if r.Disabled {
		res.State = Disabled
		return res
	}
	if r.Source != "syscall" {
		res.State, res.Reason = Unsupported, &Error{Where: markOf(r.Expr).where(), Msg: "its source " + r.Source + " is not the kernel's events"}
		return res
	}
	if err := sound(r.Expr, known{fields}); err != nil {
		res.State, res.Reason = Broken, err
		return res
	}
	p, err := Compile(r.Expr, fields)
	if err != nil {
		res.State, res.Reason = Unsupported, AsError(err)
		if res.Reason.Field != "" {
			res.Reason.Msg = "the consumer has no field " + res.Reason.Field
		}
		return res
	}
	res.State, res.Program = Compiled, p
	for _, f := range outputFields(r.Output) {
		name, _, _ := strings.Cut(f, "[")
		if _, ok := fields.Field(name); !ok {
			res.Lacks = append(res.Lacks, f)
		}
	}
	slices.Sort(res.Lacks)
	res.Lacks = slices.Compact(res.Lacks)
	return res
}

// AsError is what [Compile] and [Dialect.Filter] fail with.
func AsError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return &Error{Msg: err.Error()}
	}
	return e
}

// known are the fields that a rule may use: Falco's, and what a consumer has beyond them.
type known struct{ own Schema }

func (k known) Field(name string) (FieldType, bool) {
	if ft, ok := Falco.Field(name); ok {
		return ft, true
	}
	return k.own.Field(name)
}

func (k known) Fields() []string {
	names := Falco.(Lister).Fields()
	if l, ok := k.own.(Lister); ok {
		names = append(names, l.Fields()...)
	}
	return names
}

var eventName = sync.OnceValue(func() map[string]bool { return setOf(eventNames()) })

// sound finds what is wrong with a condition in any consumer. A type of event that does not exist would be a check that
// is quietly false; libsinsp refuses one whatever the operator.
func sound(e Expr, fields Schema) *Error {
	if _, err := compile(e, fields); err != nil {
		return AsError(err)
	}
	var wrong *Error
	checks(e, func(c *Check) {
		if c.Field != eventType || wrong != nil {
			return
		}
		for _, v := range c.Values {
			if !eventName()[v] {
				wrong = c.at.errorf("no type of event is named %q%s", v, nearest.Hint(v, eventNames()))
				return
			}
		}
	})
	return wrong
}
