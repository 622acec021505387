// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// exceptionItem is an exception as a rule has it. Fields is a field, or a list of them; comps an operator, or a list of
// them. Each of the values is then a value, or a list of values of which each is one or a list.
type exceptionItem struct {
	Name   strictyaml.Str    `yaml:"name,required"`
	Fields *strictyaml.Tree  `yaml:"fields"`
	Comps  *strictyaml.Tree  `yaml:"comps"`
	Values []strictyaml.Tree `yaml:"values"`
}

// exception is a condition under which a rule does not fire.
type exception struct {
	name   strictyaml.Str
	single bool // one field, whose values make one list
	fields []strictyaml.Str
	comps  []string
	values []strictyaml.Tree
}

// exceptions adds those of an entry to the rule. One of a name that is there gets more values, and nothing else.
func (l *loader) exceptions(d *draft, items []exceptionItem) {
	seen := map[string]bool{}
	for _, it := range items {
		name := it.Name.V
		if seen[name] {
			l.errorf(it.Name, "exception %q of rule %q is there twice", name, d.rule.Name)
			continue
		}
		seen[name] = true
		i := slices.IndexFunc(d.exceptions, func(x *exception) bool { return x.name.V == name })
		switch {
		case i < 0:
			if x := l.exception(d, it); x != nil {
				d.exceptions = append(d.exceptions, x)
			}
		case it.Fields != nil || it.Comps != nil:
			l.errorf(it.Name, "exception %q of rule %q is there: values can be appended to it, not fields or comps", name, d.rule.Name)
		default:
			l.values(d.exceptions[i], it.Values)
		}
	}
}

func (l *loader) exception(d *draft, it exceptionItem) *exception {
	x := &exception{name: it.Name}
	if it.Fields == nil {
		var have []string
		for _, o := range d.exceptions {
			have = append(have, o.name.V)
		}
		l.errorf(it.Name, "exception %q of rule %q has no fields%s", it.Name.V, d.rule.Name, nearest.Hint(it.Name.V, have))
		return nil
	}
	if x.single = !it.Fields.IsList; x.single {
		x.fields = []strictyaml.Str{it.Fields.Str}
	}
	ok := true
	refuse := func(at strictyaml.Str, format string, args ...any) {
		l.errorf(at, "exception %q: %s", it.Name.V, fmt.Sprintf(format, args...))
		ok = false
	}
	for _, f := range it.Fields.Items {
		if f.IsList {
			refuse(f.Str, "a field is no list")
		}
		x.fields = append(x.fields, f.Str)
	}
	switch {
	case it.Comps == nil && x.single:
		x.comps = []string{string(In)}
	case it.Comps == nil:
		for range x.fields {
			x.comps = append(x.comps, string(Eq))
		}
	case it.Comps.IsList == x.single:
		refuse(it.Comps.Str, "fields and comps are both single, or both lists")
	case x.single:
		x.comps = []string{it.Comps.V}
		if !Op(it.Comps.V).takesList() {
			refuse(it.Comps.Str, "the operator of a single field is in, pmatch or intersects, not %q", it.Comps.V)
		}
	default:
		for _, c := range it.Comps.Items {
			x.comps = append(x.comps, c.V)
			if !isOperator(c.V) {
				refuse(c.Str, "operator %q is not supported%s", c.V, nearest.Hint(c.V, words))
			}
		}
	}
	if len(x.comps) != len(x.fields) {
		refuse(it.Name, "%d fields and %d comps; each field has one", len(x.fields), len(x.comps))
	}
	if !ok {
		return nil
	}
	l.values(x, it.Values)
	return x
}

func isOperator(s string) bool {
	return slices.Contains(words, s) || slices.Contains([]string{"=", "==", "!=", "<", "<=", ">", ">="}, s)
}

// values adds values, each of the shape that the fields ask for.
func (l *loader) values(x *exception, values []strictyaml.Tree) {
	for _, v := range values {
		switch {
		case x.single && v.IsList:
			l.errorf(v.Str, "exception %q has a single field, whose values are no lists", x.name.V)
		case !x.single && !v.IsList:
			l.errorf(v.Str, "exception %q has a list of fields: each of its values is a list of as many", x.name.V)
		case !x.single && len(v.Items) != len(x.fields):
			l.errorf(v.Str, "exception %q has %d fields, and a value of %d", x.name.V, len(x.fields), len(v.Items))
		default:
			x.values = append(x.values, v)
		}
	}
}

// expr is the condition under which the exception holds: nil if it has no values, and so never does.
func (x *exception) expr(rule string) (Expr, error) {
	if len(x.values) == 0 {
		return nil, nil
	}
	if x.single {
		var list []string
		for _, v := range x.values {
			text, err := itemText(v)
			if err != nil {
				return nil, err
			}
			list = append(list, text)
		}
		return x.check(rule, x.values[0], 0, "("+strings.Join(list, ", ")+")")
	}
	var any []Expr
	for _, v := range x.values {
		var all []Expr
		for i, member := range v.Items {
			text, err := x.operand(member, x.comps[i])
			if err != nil {
				return nil, err
			}
			e, err := x.check(rule, member, i, text)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		any = append(any, newAnd(all))
	}
	return newOr(any), nil
}

// operand is the text of a value as the condition has it. Falco puts the value's own text there (see itemValue), so that
// it may be the name of a list, or a list in parentheses.
func (x *exception) operand(v strictyaml.Tree, comp string) (string, error) {
	if !v.IsList {
		if Op(comp).takesList() && strings.HasPrefix(v.V, "(") {
			return v.V, nil
		}
		text, err := itemText(v)
		if Op(comp).takesList() {
			text = "(" + text + ")"
		}
		return text, err
	}
	var list []string
	for _, m := range v.Items {
		text, err := itemText(m)
		if err != nil {
			return "", err
		}
		list = append(list, text)
	}
	return "(" + strings.Join(list, ", ") + ")", nil
}

func itemText(v strictyaml.Tree) (string, error) {
	if v.IsList {
		return "", v.Errorf("a value of an exception cannot be a list within a list")
	}
	value, err := itemValue(v.V)
	if err != nil {
		return "", v.Errorf("%v", err)
	}
	// A bare word stays bare: it may name a list.
	if v.V != "" && strings.IndexFunc(v.V, notBare) < 0 {
		return v.V, nil
	}
	return quote(value), nil
}

// check parses one check, whose place in errors is that of the value.
func (x *exception) check(rule string, at strictyaml.Tree, i int, operand string) (Expr, error) {
	src := &source{}
	src.from(fmt.Sprintf("%s: exception %q of rule %q", at.Pos, x.name.V, rule), x.fields[i].V+" "+x.comps[i]+" "+operand)
	return parse(src)
}
