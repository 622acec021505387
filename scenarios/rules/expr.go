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

// Check compares a field with constants, or with another field.
type Check struct {
	Field      string
	Arg        string      // of proc.aname[2]: "2"; empty for none
	Transforms []Transform // of Field, in the order they are written: that of tolower(basename(f)) is tolower, basename
	Op         Op
	Values     []string // none for exists, any number for in, intersects and pmatch, one otherwise
	Right      *Operand // instead of Values: val(field), or a transformed field

	at mark
	// What only a condition of a rule file has, until lists are expanded: values that were written without
	// quotes may name a list; a list operator's operand without parentheses must.
	bare     []bool
	listName bool
}

// Operand is a field on the right-hand side of a check. Without Transforms it is written val(field).
type Operand struct {
	Field, Arg string
	Transforms []Transform

	at mark
}

// Transform is a function of a field's value, such as tolower.
type Transform string

// The transforms. libsinsp has had them since 0.18 (len since 0.20).
const (
	ToLower  Transform = "tolower"
	ToUpper  Transform = "toupper"
	B64      Transform = "b64"      // decodes
	Basename Transform = "basename" // what follows the last slash
	Len      Transform = "len"      // bytes of a string, members of a list
)

var transforms = []string{"tolower", "toupper", "b64", "basename", "len"}

// foreign are functions of later versions of libsinsp, known in order to say by name that they are not supported.
var foreign = []string{"join", "concat", "split"}

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
	IGlob      Op = "iglob"
	Regex      Op = "regex"
	BContains  Op = "bcontains"   // of bytes; the value is hexadecimal
	BStarts    Op = "bstartswith" // likewise
	In         Op = "in"
	Intersects Op = "intersects"
	PMatch     Op = "pmatch"
	Exists     Op = "exists"
)

// words are the operators written as a word.
var words = []string{"contains", "icontains", "bcontains", "startswith", "bstartswith", "endswith", "glob", "iglob", "regex", "in", "intersects", "pmatch", "exists"}

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
		return ok && a.Field == b.Field && a.Arg == b.Arg && slices.Equal(a.Transforms, b.Transforms) && a.Op == b.Op &&
			slices.Equal(a.Values, b.Values) && a.Right.equal(b.Right)
	}
	return false
}

func (o *Operand) equal(p *Operand) bool {
	if o == nil || p == nil {
		return o == p
	}
	return o.Field == p.Field && o.Arg == p.Arg && slices.Equal(o.Transforms, p.Transforms)
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
	writeOperand(b, e.Name(), e.Transforms)
	b.WriteString(" " + string(e.Op))
	if e.Op == Exists {
		return
	}
	b.WriteByte(' ')
	switch {
	case e.Right != nil && len(e.Right.Transforms) == 0:
		b.WriteString("val(" + e.Right.Name() + ")")
		return
	case e.Right != nil:
		writeOperand(b, e.Right.Name(), e.Right.Transforms)
		return
	case !e.Op.takesList():
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

func writeOperand(b *strings.Builder, name string, transforms []Transform) {
	for _, t := range transforms {
		b.WriteString(string(t) + "(")
	}
	b.WriteString(name + strings.Repeat(")", len(transforms)))
}

// Name is the field on the left-hand side with its argument, as it is written.
func (e *Check) Name() string { return fieldName(e.Field, e.Arg) }

// Name is the field with its argument, as it is written.
func (o *Operand) Name() string { return fieldName(o.Field, o.Arg) }

func fieldName(field, arg string) string {
	switch {
	case arg == "":
		return field
	case strings.IndexFunc(arg, notArg) < 0:
		return field + "[" + arg + "]"
	}
	return field + "[" + quoted(arg) + "]"
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
