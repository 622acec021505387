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
type Program struct {
	match  func(Event) bool
	expr   Expr
	schema Schema
}

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
	return &Program{m, e, s}, nil
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

// ends are the fields that stand for either end of a connection: a check holds if it does for one of the two, and != if
// it does for both (sinsp_filter_check_fd::compare_ip and its like).
var ends = map[string][2]string{
	"fd.ip": {"fd.cip", "fd.sip"}, "fd.port": {"fd.cport", "fd.sport"}, "fd.net": {"fd.cnet", "fd.snet"},
}

func compileCheck(c *Check, s Schema) (func(Event) bool, error) {
	if both, ok := ends[c.Field]; ok {
		if _, known := s.Field(c.Field); !known {
			return compileEnds(c, both, s)
		}
	}
	left, err := compileOperand(&Operand{c.Field, c.Arg, c.Transforms, c.at}, s)
	if err != nil {
		return nil, err
	}
	if ops := operators[left.kind]; !slices.Contains(ops, c.Op) {
		return nil, c.at.errorf("operator %s does not fit %s, a %s (that takes %s)", c.Op, left.name, left.kind, join(ops))
	}
	if c.Right != nil {
		return compareFields(c, left, s)
	}
	if c.Op == Exists {
		return left.exists(), nil
	}
	t, err := testOf(c, left.kind)
	if err != nil {
		return nil, c.at.errorf("%s %s: %v", left.name, c.Op, err)
	}
	return left.each(t), nil
}

// compileEnds is a check of either end, for a consumer that tells the two apart.
func compileEnds(c *Check, both [2]string, s Schema) (func(Event) bool, error) {
	if c.Right != nil || len(c.Transforms) > 0 {
		return nil, c.at.errorf("field %s cannot be transformed or compared with a field", c.Field)
	}
	var of [2]func(Event) bool
	for i, f := range both {
		one := *c
		one.Field = f
		m, err := compileCheck(&one, s)
		if err != nil {
			return nil, err
		}
		of[i] = m
	}
	if c.Op == Ne {
		return func(ev Event) bool { return of[0](ev) && of[1](ev) }, nil
	}
	return func(ev Event) bool { return of[0](ev) || of[1](ev) }, nil
}

// fieldType is what the schema says of the field with that argument.
func fieldType(field, arg string, at mark, s Schema) (FieldType, Kind, error) {
	ft, known := s.Field(field)
	if !known {
		hint := ""
		if l, ok := s.(Lister); ok {
			hint = nearest.Hint(field, l.Fields())
		}
		err := at.errorf("unknown field %q%s", field, hint)
		err.Field = field
		return ft, 0, err
	}
	switch {
	case ft.Arg == ArgNone && arg != "":
		return ft, 0, at.errorf("field %s takes no argument, and is given [%s]", field, arg)
	case ft.Arg == ArgRequired && arg == "":
		return ft, 0, at.errorf("field %s needs an argument, as in %s[...]", field, field)
	}
	if ft.ArgIndex && arg != "" {
		if _, err := strconv.ParseUint(arg, 10, 16); err != nil {
			return ft, 0, at.errorf("the argument of field %s is a number, not %q", field, arg)
		}
	}
	kind := ft.Kind
	if arg != "" && ft.WithArg != 0 {
		kind = ft.WithArg
	}
	if operators[kind] == nil {
		return ft, 0, at.errorf("the schema gives field %s an %s", field, kind)
	}
	return ft, kind, nil
}

func join(ops []Op) string {
	out := make([]string, len(ops))
	for i, o := range ops {
		out[i] = string(o)
	}
	return strings.Join(out, " ")
}

var (
	ofStrings = []Op{Eq, Ne, Contains, IContains, StartsWith, EndsWith, Glob, IGlob, Regex, In, Intersects, PMatch, Exists}
	ofNumbers = []Op{Eq, Ne, Lt, Le, Gt, Ge, In, Intersects, Exists}
	ofTruths  = []Op{Eq, Ne, In, Intersects, Exists}
)

// operators are those that libsinsp takes for a type, else its filter compiler says "operator not supported for
// numeric filters", which are booleans too (each tried on sysdig 0.41.4, see testdata/conditions.yaml). An ordering of
// strings is refused here: it takes that, and means little by it, because its grammar allows nothing but a number to
// follow.
var operators = map[Kind][]Op{
	String:  ofStrings,
	List:    ofStrings,
	Number:  ofNumbers,
	Numbers: ofNumbers,
	Bool:    ofTruths,
	Address: ofTruths,
	Network: ofTruths,
	Members: {In, Intersects, Exists},
	Bytes:   {Eq, Ne, Contains, StartsWith, EndsWith, BContains, BStarts, In, Intersects, Exists},
	Dynamic: {Eq, Ne, Lt, Le, Gt, Ge, Contains, IContains, StartsWith, EndsWith, Glob, IGlob, Regex, In, Intersects, PMatch, Exists},
}

// testOf compares a value of the kind, or a member of a list of them, with the constants of c.
func testOf(c *Check, kind Kind) (t *test, err error) {
	t = &test{}
	switch kind {
	case String, List, Members:
		t.text, err = stringTest(c)
	case Number, Numbers:
		t.number, err = numberTest(c)
	case Bool:
		t.truth, err = boolTest(c)
	case Address:
		t.addr, err = addressTest(c)
	case Network:
		t.addr, err = networkTest(c)
	case Bytes:
		t.text, err = bytesTest(c)
	case Dynamic:
		return dynamicTest(c)
	}
	return t, err
}

// dynamicTest goes by the kind of the value. A number is compared with the constants that are numbers.
func dynamicTest(c *Check) (*test, error) {
	t := &test{}
	numeric := *c
	numeric.Values = slices.DeleteFunc(slices.Clone(c.Values), func(v string) bool { _, err := number(v); return err != nil })
	var err error
	if slices.Contains(ofStrings, c.Op) {
		if t.text, err = stringTest(c); err != nil || len(numeric.Values) == 0 {
			return t, err
		}
	} else if len(numeric.Values) == 0 {
		numeric.Values = c.Values // to be refused
	}
	if slices.Contains(ofNumbers, c.Op) {
		t.number, err = numberTest(&numeric)
	}
	return t, err
}

// number reads what libsinsp takes for an integer: decimal alone. Its grammar has 0x and fractions too, and its values
// do not ("0x1F is not a valid number", sysdig 0.41.4 and 0.29.3), not even where the field has a fraction. A number
// that is out of range is refused, where libsinsp wraps it around.
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a whole number was expected, not %q", s)
	}
	return n, nil
}
