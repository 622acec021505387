// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
)

// maxExpanded bounds the checks and values of one expanded condition: a dozen macros that each use the one
// before twice would else grow a condition without bound.
const maxExpanded = 1 << 16

// expander inlines macros and lists. Names are looked up when they are used, so that a later file's definition
// holds for what the earlier files define as well.
type expander struct {
	set   *Set
	stack []string // macros being expanded, the outermost first
	size  int
}

// rule expands the condition of a rule.
func (x *expander) rule(e Expr) (Expr, error) {
	x.size = 0
	return x.bounded(e)
}

// macro expands the macro of that name by itself.
func (x *expander) macro(name string) (Expr, error) {
	x.size = 0
	x.stack = append(x.stack, name)
	defer func() { x.stack = x.stack[:0] }()
	return x.bounded(x.set.macros[name])
}

func (x *expander) bounded(e Expr) (Expr, error) {
	out, err := x.expr(e)
	if err != nil {
		return nil, err
	}
	if parens(out) > maxDepth {
		return nil, markOf(e).errorf("with its macros expanded, the condition nests parentheses deeper than %d", maxDepth)
	}
	return out, nil
}

// markOf is where e begins.
func markOf(e Expr) mark {
	switch e := e.(type) {
	case *And:
		return markOf(e.Terms[0])
	case *Or:
		return markOf(e.Terms[0])
	case *Not:
		return markOf(e.Term)
	case *macro:
		return e.at
	}
	return e.(*Check).at
}

func (x *expander) expr(e Expr) (Expr, error) {
	switch e := e.(type) {
	case *And:
		return x.terms(e.Terms, newAnd)
	case *Or:
		return x.terms(e.Terms, newOr)
	case *Not:
		t, err := x.expr(e.Term)
		if err != nil {
			return nil, err
		}
		return newNot(t), nil
	case *macro:
		return x.reference(e)
	}
	return x.check(e.(*Check))
}

func (x *expander) terms(terms []Expr, join func([]Expr) Expr) (Expr, error) {
	out := make([]Expr, len(terms))
	for i, t := range terms {
		e, err := x.expr(t)
		if err != nil {
			return nil, err
		}
		out[i] = e
	}
	return join(out), nil
}

func (x *expander) reference(m *macro) (Expr, error) {
	def, ok := x.set.macros[m.name]
	if !ok {
		return nil, m.at.errorf("no macro is named %q%s", m.name, nearest.Hint(m.name, sortedKeys(x.set.macros)))
	}
	if slices.Contains(x.stack, m.name) {
		return nil, m.at.errorf("macro %q uses itself: %s", m.name, strings.Join(append(x.stack, m.name), " -> "))
	}
	if len(x.stack) > maxDepth {
		return nil, m.at.errorf("macros are nested deeper than %d", maxDepth)
	}
	x.stack = append(x.stack, m.name)
	e, err := x.expr(def)
	x.stack = x.stack[:len(x.stack)-1]
	return e, err
}

func (x *expander) check(c *Check) (Expr, error) {
	out := &Check{Field: c.Field, Arg: c.Arg, Transforms: c.Transforms, Op: c.Op, Right: c.Right, at: c.at}
	for i, v := range c.Values {
		_, isList := x.set.lists[v]
		switch {
		case c.listName && !isList:
			return nil, c.at.errorf("no list is named %q%s", v, nearest.Hint(v, sortedKeys(x.set.lists)))
		case !c.bare[i] || !isList:
			out.Values = append(out.Values, v)
		case !c.Op.takesList():
			return nil, c.at.errorf("%s %s %s compares with a list; use in (%s), or quote the word", c.Name(), c.Op, v, v)
		default:
			items, err := x.items(v, nil, c.at)
			if err != nil {
				return nil, err
			}
			out.Values = append(out.Values, items...)
		}
	}
	if x.size += 1 + len(out.Values); x.size > maxExpanded {
		return nil, c.at.errorf("with its macros and lists expanded, the condition has more than %d checks and values", maxExpanded)
	}
	return out, nil
}

// items are the values of a list, those of the lists that it names in their place.
func (x *expander) items(name string, stack []string, at mark) ([]string, error) {
	if slices.Contains(stack, name) {
		return nil, at.errorf("list %q (%s) contains itself: %s", name, x.set.lists[name].at, strings.Join(append(stack, name), " -> "))
	}
	// Counted by list and not by value alone: lists of lists of nothing would else take exponential time.
	if x.size++; x.size > maxExpanded {
		return nil, at.errorf("list %q expands to more than %d values", name, maxExpanded)
	}
	stack = append(stack, name)
	var out []string
	for _, v := range x.set.lists[name].items {
		if _, ok := x.set.lists[v.text]; !ok || !v.bare {
			out = append(out, v.text)
			continue
		}
		sub, err := x.items(v.text, stack, at)
		if err != nil {
			return nil, err
		}
		out = append(out, sub...)
		if len(out) > maxExpanded {
			return nil, at.errorf("list %q expands to more than %d values", name, maxExpanded)
		}
	}
	return out, nil
}
