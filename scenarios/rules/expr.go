// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strings"
)

// Expr is a condition: an [And], [Or], [Not] or [Check]. Its String is a libsinsp filter, with every list and
// macro expanded, that [Parse] reads back to an equal tree.
type Expr interface {
	String() string
	write(b *strings.Builder)
}

// And holds if all terms do. No term is an And itself, and there are two or more.
type And struct{ Terms []Expr }

// Or holds if one of the terms does. No term is an Or itself, and there are two or more.
type Or struct{ Terms []Expr }

// Not holds if Term does not. Term is not a Not itself.
type Not struct{ Term Expr }

// Check compares a field with constants.
type Check struct {
	Field  string
	Arg    string // of proc.aname[2]: "2"; empty for none
	Op     Op
	Values []string // none for exists, any number for in, intersects and pmatch, one otherwise

	at mark
	// What only a condition of a rule file has, until lists are expanded: values that were written without
	// quotes may name a list; a list operator's operand without parentheses must.
	bare     []bool
	listName bool
}

// macro is a reference, in a condition that is not expanded yet.
type macro struct {
	name string
	at   mark
}

// Op is an operator of a [Check].
type Op string

// The operators.
const (
	Eq         Op = "=" // == is read as the same
	Ne         Op = "!="
	Lt         Op = "<"
	Le         Op = "<="
	Gt         Op = ">"
	Ge         Op = ">="
	Contains   Op = "contains"
	IContains  Op = "icontains"
	StartsWith Op = "startswith"
	EndsWith   Op = "endswith"
	Glob       Op = "glob"
	In         Op = "in"
	Intersects Op = "intersects"
	PMatch     Op = "pmatch"
	Exists     Op = "exists"
)

// words are the operators written as a word.
var words = []string{"contains", "icontains", "startswith", "endswith", "glob", "in", "intersects", "pmatch", "exists"}

func (o Op) takesList() bool   { return o == In || o == Intersects || o == PMatch }
func (o Op) takesNumber() bool { return o == Lt || o == Le || o == Gt || o == Ge }

// Equal reports whether a and b are the same condition, wherever each was written.
func Equal(a, b Expr) bool {
	switch a := a.(type) {
	case *And:
		b, ok := b.(*And)
		return ok && slices.EqualFunc(a.Terms, b.Terms, Equal)
	case *Or:
		b, ok := b.(*Or)
		return ok && slices.EqualFunc(a.Terms, b.Terms, Equal)
	case *Not:
		b, ok := b.(*Not)
		return ok && Equal(a.Term, b.Term)
	case *Check:
		b, ok := b.(*Check)
		return ok && a.Field == b.Field && a.Arg == b.Arg && a.Op == b.Op && slices.Equal(a.Values, b.Values)
	}
	return false
}

// newAnd, newOr and newNot keep the one shape that each condition has: flat, and without double negation.
func newAnd(terms []Expr) Expr {
	var flat []Expr
	for _, t := range terms {
		if a, ok := t.(*And); ok {
			flat = append(flat, a.Terms...)
			continue
		}
		flat = append(flat, t)
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return &And{flat}
}

func newOr(terms []Expr) Expr {
	var flat []Expr
	for _, t := range terms {
		if o, ok := t.(*Or); ok {
			flat = append(flat, o.Terms...)
			continue
		}
		flat = append(flat, t)
	}
	if len(flat) == 1 {
		return flat[0]
	}
	return &Or{flat}
}

func newNot(term Expr) Expr {
	if n, ok := term.(*Not); ok {
		return n.Term
	}
	return &Not{term}
}

func (e *And) String() string   { return text(e) }
func (e *Or) String() string    { return text(e) }
func (e *Not) String() string   { return text(e) }
func (e *Check) String() string { return text(e) }
func (e *macro) String() string { return text(e) }

func text(e Expr) string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *And) write(b *strings.Builder) {
	for i, t := range e.Terms {
		if i > 0 {
			b.WriteString(" and ")
		}
		writeIn(b, t, isOr(t))
	}
}

// write leaves the parentheses around and away: and binds tighter, and each pair costs a reader a level.
func (e *Or) write(b *strings.Builder) {
	for i, t := range e.Terms {
		if i > 0 {
			b.WriteString(" or ")
		}
		t.write(b)
	}
}

func (e *Not) write(b *strings.Builder) {
	b.WriteString("not ")
	_, and := e.Term.(*And)
	writeIn(b, e.Term, and || isOr(e.Term))
}

func isOr(e Expr) bool { _, ok := e.(*Or); return ok }

func writeIn(b *strings.Builder, e Expr, parens bool) {
	if !parens {
		e.write(b)
		return
	}
	b.WriteByte('(')
	e.write(b)
	b.WriteByte(')')
}

func (e *Check) write(b *strings.Builder) {
	b.WriteString(e.Name() + " " + string(e.Op))
	if e.Op == Exists {
		return
	}
	b.WriteByte(' ')
	if !e.Op.takesList() {
		b.WriteString(quote(e.Values[0]))
		return
	}
	b.WriteByte('(')
	for i, v := range e.Values {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(v))
	}
	b.WriteByte(')')
}

// Name is the field with its argument, as it is written.
func (e *Check) Name() string {
	switch {
	case e.Arg == "":
		return e.Field
	case strings.IndexFunc(e.Arg, notArg) < 0:
		return e.Field + "[" + e.Arg + "]"
	}
	return e.Field + "[" + quoted(e.Arg) + "]"
}

func (e *macro) write(b *strings.Builder) { b.WriteString(e.name) }

// parens is the depth of parentheses that e needs when written.
func parens(e Expr) int {
	deepest := func(terms []Expr) int {
		n := 0
		for _, t := range terms {
			n = max(n, parens(t))
		}
		return n
	}
	switch e := e.(type) {
	case *And:
		n := 0
		for _, t := range e.Terms {
			d := parens(t)
			if isOr(t) {
				d++
			}
			n = max(n, d)
		}
		return n
	case *Or:
		return deepest(e.Terms)
	case *Not:
		d := parens(e.Term)
		if _, and := e.Term.(*And); and || isOr(e.Term) {
			d++
		}
		return d
	}
	return 0
}

// checks calls f for every check of e, from left to right.
func checks(e Expr, f func(*Check)) {
	switch e := e.(type) {
	case *And:
		for _, t := range e.Terms {
			checks(t, f)
		}
	case *Or:
		for _, t := range e.Terms {
			checks(t, f)
		}
	case *Not:
		checks(e.Term, f)
	case *Check:
		f(e)
	}
}
