// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
)

// Program is a compiled condition. It is safe for concurrent use.
type Program struct{ match func(Event) bool }

// Match evaluates the condition.
//
// A check of a field that the event lacks is false, whatever its operator, so that `fd.name != x` is false and
// `not fd.name = x` is true for an event without a file: libsinsp extracts the value first and gives up there
// (sinsp_filter_check::compare_nocache in userspace/libsinsp/sinsp_filtercheck.cpp). A value whose kind is not
// the schema's, and a list without members, count as lacking.
func (p *Program) Match(ev Event) bool { return p.match(ev) }

// Compile checks e against the fields of s: an unknown field, an operator that does not fit the field's
// type or a bad number is an [*Error] with its position, and never a condition that is quietly false.
func Compile(e Expr, s Schema) (*Program, error) {
	m, err := compile(e, s)
	if err != nil {
		return nil, err
	}
	return &Program{m}, nil
}

func compile(e Expr, s Schema) (func(Event) bool, error) {
	switch e := e.(type) {
	case *And:
		terms, err := compileAll(e.Terms, s)
		return func(ev Event) bool {
			for _, t := range terms {
				if !t(ev) {
					return false
				}
			}
			return true
		}, err
	case *Or:
		terms, err := compileAll(e.Terms, s)
		return func(ev Event) bool {
			for _, t := range terms {
				if t(ev) {
					return true
				}
			}
			return false
		}, err
	case *Not:
		t, err := compile(e.Term, s)
		return func(ev Event) bool { return !t(ev) }, err
	case *Check:
		return compileCheck(e, s)
	}
	return nil, markOf(e).errorf("macro %q is not expanded", e)
}

func compileAll(terms []Expr, s Schema) ([]func(Event) bool, error) {
	out := make([]func(Event) bool, len(terms))
	for i, t := range terms {
		m, err := compile(t, s)
		if err != nil {
			return nil, err
		}
		out[i] = m
	}
	return out, nil
}

func compileCheck(c *Check, s Schema) (func(Event) bool, error) {
	kind, err := kindOf(c, s)
	if err != nil {
		return nil, err
	}
	field, arg := c.Field, c.Arg
	if c.Op == Exists {
		return func(ev Event) bool {
			v, ok := ev.Field(field, arg)
			return ok && v.Kind == kind && (kind != List || len(v.List) > 0)
		}, nil
	}
	var test func(Value) bool
	switch kind {
	case String:
		test, err = stringTest(c)
	case Number:
		test, err = numberTest(c)
	case Bool:
		test, err = boolTest(c)
	case List:
		test, err = anyTest(c)
	}
	if err != nil {
		return nil, c.at.errorf("%s %s: %v", c.Name(), c.Op, err)
	}
	return func(ev Event) bool {
		v, ok := ev.Field(field, arg)
		return ok && v.Kind == kind && test(v)
	}, nil
}

// kindOf is the kind of the field with its argument, once field, argument and operator are known to fit.
func kindOf(c *Check, s Schema) (Kind, error) {
	ft, known := s.Field(c.Field)
	if !known {
		hint := ""
		if l, ok := s.(Lister); ok {
			hint = nearest.Hint(c.Field, l.Fields())
		}
		return 0, c.at.errorf("unknown field %q%s", c.Field, hint)
	}
	switch {
	case ft.Arg == ArgNone && c.Arg != "":
		return 0, c.at.errorf("field %s takes no argument, and is given [%s]", c.Field, c.Arg)
	case ft.Arg == ArgRequired && c.Arg == "":
		return 0, c.at.errorf("field %s needs an argument, as in %s[...]", c.Field, c.Field)
	}
	if ft.ArgIndex && c.Arg != "" {
		if _, err := strconv.ParseUint(c.Arg, 10, 16); err != nil {
			return 0, c.at.errorf("the argument of field %s is a number, not %q", c.Field, c.Arg)
		}
	}
	kind := ft.Kind
	if c.Arg != "" && ft.WithArg != 0 {
		kind = ft.WithArg
	}
	ops, ok := operators[kind]
	if !ok {
		return 0, c.at.errorf("the schema gives field %s an %s", c.Field, kind)
	}
	if !slices.Contains(ops, c.Op) {
		return 0, c.at.errorf("operator %s does not fit %s, a %s (that takes %s)", c.Op, c.Name(), kind, join(ops))
	}
	return kind, nil
}

func join(ops []Op) string {
	out := make([]string, len(ops))
	for i, o := range ops {
		out[i] = string(o)
	}
	return strings.Join(out, " ")
}

// operators are those that libsinsp takes for a type, else its filter compiler says "operator not supported for
// numeric filters", which are booleans too (tried on sysdig 0.41.4). An ordering of strings is refused here: it
// takes that, and means little by it, because its grammar allows nothing but a number to follow.
var operators = map[Kind][]Op{
	String: {Eq, Ne, Contains, IContains, StartsWith, EndsWith, Glob, In, Intersects, PMatch, Exists},
	Number: {Eq, Ne, Lt, Le, Gt, Ge, In, Intersects, Exists},
	Bool:   {Eq, Ne, In, Intersects, Exists},
	List:   {Eq, Ne, Contains, IContains, StartsWith, EndsWith, Glob, In, Intersects, PMatch, Exists},
}

func stringTest(c *Check) (func(Value) bool, error) {
	switch c.Op {
	case In, Intersects: // the same for a single value
		set := setOf(c.Values)
		return func(v Value) bool { return set[v.Str] }, nil
	case PMatch:
		paths, err := compilePaths(c.Values)
		return func(v Value) bool { return paths.match(v.Str) }, err
	}
	want := c.Values[0]
	switch c.Op {
	case Eq:
		return func(v Value) bool { return v.Str == want }, nil
	case Ne:
		return func(v Value) bool { return v.Str != want }, nil
	case Contains:
		return func(v Value) bool { return strings.Contains(v.Str, want) }, nil
	case IContains:
		want = asciiLower(want)
		return func(v Value) bool { return containsFold(v.Str, want) }, nil
	case StartsWith:
		return func(v Value) bool { return strings.HasPrefix(v.Str, want) }, nil
	case EndsWith:
		return func(v Value) bool { return strings.HasSuffix(v.Str, want) }, nil
	}
	re, err := compileGlob(want)
	return func(v Value) bool { return re.MatchString(v.Str) }, err
}

func setOf(values []string) map[string]bool {
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}

// number reads what libsinsp takes for an integer: decimal alone. Its grammar has 0x too, and its values do not
// ("0x1F is not a valid number", sysdig 0.41.4 and 0.29.3).
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a whole number was expected, not %q", s)
	}
	return n, nil
}

func numberTest(c *Check) (func(Value) bool, error) {
	set := make(map[int64]bool, len(c.Values))
	var want int64
	for _, v := range c.Values {
		n, err := number(v)
		if err != nil {
			return nil, err
		}
		want, set[n] = n, true
	}
	switch c.Op {
	case Eq:
		return func(v Value) bool { return v.Num == want }, nil
	case Ne:
		return func(v Value) bool { return v.Num != want }, nil
	case Lt:
		return func(v Value) bool { return v.Num < want }, nil
	case Le:
		return func(v Value) bool { return v.Num <= want }, nil
	case Gt:
		return func(v Value) bool { return v.Num > want }, nil
	case Ge:
		return func(v Value) bool { return v.Num >= want }, nil
	}
	return func(v Value) bool { return set[v.Num] }, nil
}

func boolTest(c *Check) (func(Value) bool, error) {
	var takes [2]bool // whether false, and true, are among the values
	for _, v := range c.Values {
		switch v {
		case "true":
			takes[1] = true
		case "false":
			takes[0] = true
		default:
			return nil, fmt.Errorf("true or false was expected, not %q", v)
		}
	}
	if c.Op == Ne {
		takes[0], takes[1] = !takes[0], !takes[1]
	}
	return func(v Value) bool {
		if v.Bool {
			return takes[1]
		}
		return takes[0]
	}, nil
}

// anyTest holds if c does for one of the members, as libsinsp walks up the ancestors for a proc.aname without an
// index (compare_full_aname in sinsp_filtercheck_thread.cpp), with each operator that a string has.
func anyTest(c *Check) (func(Value) bool, error) {
	one, err := stringTest(c)
	return func(v Value) bool {
		return slices.ContainsFunc(v.List, func(m string) bool { return one(StringValue(m)) })
	}, err
}
