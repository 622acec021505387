// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
)

const (
	// maxCondition bounds the text of one condition, in bytes. The longest of Falco's own is below 8 KiB.
	maxCondition = 1 << 20
	// maxDepth bounds nested parentheses, in what is read and in what macros expand to.
	maxDepth = 64
)

// Parse reads a condition that uses no macros and no lists by name, such as [Expr].String prints.
func Parse(cond string) (Expr, error) {
	e, err := parse(&source{text: cond})
	if err != nil {
		return nil, err
	}
	// An empty set knows no name: what refers to one is told so.
	return (&expander{set: newSet()}).expr(e)
}

func parse(src *source) (Expr, error) {
	p := &parser{src: src}
	if len(src.text) > maxCondition {
		return nil, &Error{Where: src.at(0).where, Msg: "the condition is longer than 1 MiB"}
	}
	if i := strings.IndexByte(src.text, 0); i >= 0 {
		return nil, mark{src, i}.errorf("a condition cannot hold a NUL byte")
	}
	p.blank()
	if p.end() {
		return nil, p.errorf("the condition is empty")
	}
	e, err := p.or()
	if err != nil {
		return nil, err
	}
	if !p.end() {
		word := p.peek()
		return nil, p.errorf("expected and, or, or the end, not %q%s", word, nearest.Hint(word, []string{"and", "or"}))
	}
	return e, nil
}

// parser reads the grammar of libsinsp's filters (userspace/libsinsp/filter/parser.h): or binds loosest, then
// and, then not. Every method leaves the blanks after what it read behind.
type parser struct {
	src   *source
	off   int
	depth int
}

func (p *parser) mark() mark { return mark{p.src, p.off} }

func (p *parser) errorf(format string, args ...any) error { return p.mark().errorf(format, args...) }

func (p *parser) end() bool { return p.off == len(p.src.text) }

func (p *parser) rest() string { return p.src.text[p.off:] }

func (p *parser) blank() {
	for !p.end() && isBlank(p.src.text[p.off]) {
		p.off++
	}
}

// peek is what stands next, for an error to show: a word, or one character.
func (p *parser) peek() string {
	rest := p.rest()
	n := strings.IndexFunc(rest, notBare)
	switch {
	case rest == "":
		return "the end"
	case n < 0:
		n = len(rest)
	case n == 0:
		n = 1
	}
	return rest[:min(n, 40)]
}

// symbol reads one of the characters of the grammar.
func (p *parser) symbol(c byte) bool {
	if p.end() || p.src.text[p.off] != c {
		return false
	}
	p.off++
	p.blank()
	return true
}

// keyword reads and, or, not: a word before a blank or a parenthesis.
func (p *parser) keyword(word string) bool {
	rest, ok := strings.CutPrefix(p.rest(), word)
	if !ok || rest == "" || rest[0] != '(' && !isBlank(rest[0]) {
		return false
	}
	p.off += len(word)
	p.blank()
	return true
}

func (p *parser) or() (Expr, error)  { return p.terms("or", p.and, newOr) }
func (p *parser) and() (Expr, error) { return p.terms("and", p.not, newAnd) }

func (p *parser) terms(word string, term func() (Expr, error), join func([]Expr) Expr) (Expr, error) {
	var terms []Expr
	for {
		t, err := term()
		if err != nil {
			return nil, err
		}
		terms = append(terms, t)
		if !p.keyword(word) {
			return join(terms), nil
		}
	}
}

func (p *parser) not() (Expr, error) {
	negated := false
	for p.keyword("not") {
		negated = !negated
	}
	e, err := p.primary()
	if err != nil {
		return nil, err
	}
	if negated {
		e = newNot(e)
	}
	return e, nil
}

func (p *parser) primary() (Expr, error) {
	at := p.mark()
	if p.symbol('(') {
		if p.depth++; p.depth > maxDepth {
			return nil, at.errorf("parentheses are nested deeper than %d", maxDepth)
		}
		e, err := p.or()
		if err != nil {
			return nil, err
		}
		p.depth--
		if !p.symbol(')') {
			return nil, p.errorf("expected and, or, or the ) of the ( at column %d, not %q", at.off+1, p.peek())
		}
		return e, nil
	}
	name := p.name()
	switch {
	case name == "" || slices.Contains([]string{"and", "or", "not"}, name):
		p.off = at.off
		return nil, at.errorf("expected a field, a macro or (, not %q", p.peek())
	case name == "val" && p.opens():
		return nil, at.errorf("val() stands on the right-hand side of an operator alone")
	case p.opens() && (slices.Contains(transforms, name) || slices.Contains(foreign, name)):
		p.off = at.off
		o, err := p.transformed()
		if err != nil {
			return nil, err
		}
		return p.check(o, at)
	case !strings.Contains(name, "."):
		p.blank()
		return &macro{name, at}, nil
	}
	o := &Operand{Field: name, at: at}
	if err := p.argument(o); err != nil {
		return nil, err
	}
	return p.check(o, at)
}

// opens reports whether a parenthesis follows at once, as after the name of a function.
func (p *parser) opens() bool { return strings.HasPrefix(p.rest(), "(") }

// transformed reads a field within any number of functions, tolower(basename(proc.exe)).
func (p *parser) transformed() (*Operand, error) {
	at := p.mark()
	name := p.name()
	switch {
	case name == "":
		return nil, at.errorf("expected a field, or one within %s, not %q", strings.Join(transforms, "(), ")+"()", p.peek())
	case strings.Contains(name, "."):
		o := &Operand{Field: name, at: at}
		return o, p.argument(o)
	case !p.opens():
		return nil, at.errorf("expected a field, not %q", name)
	case slices.Contains(foreign, name):
		return nil, at.errorf("the transformer %s() is not supported", name)
	case !slices.Contains(transforms, name):
		return nil, at.errorf("no transformer is named %q%s (known: %s)", name, nearest.Hint(name, transforms), strings.Join(transforms, " "))
	}
	p.symbol('(')
	if p.depth++; p.depth > maxDepth {
		return nil, at.errorf("parentheses are nested deeper than %d", maxDepth)
	}
	o, err := p.transformed()
	if err != nil {
		return nil, err
	}
	p.depth--
	o.Transforms = append([]Transform{Transform(name)}, o.Transforms...)
	o.at = at
	return o, p.closes(name)
}

func (p *parser) closes(name string) error {
	p.blank()
	if !p.end() && p.src.text[p.off] == ')' {
		p.off++
		return nil
	}
	return p.errorf("expected the ) of %s(, not %q", name, p.peek())
}

// right reads the field on the right-hand side of an operator; nil if a value stands there.
func (p *parser) right() (*Operand, error) {
	start := p.off
	name := p.name()
	isCall := p.opens()
	switch {
	case isCall && name == "val":
		p.symbol('(')
		o := &Operand{at: p.mark()}
		if o.Field = p.name(); !strings.Contains(o.Field, ".") {
			return nil, o.at.errorf("expected a field within val(), not %q", o.Field+p.peek())
		}
		if err := p.argument(o); err != nil {
			return nil, err
		}
		return o, p.closes(name)
	case isCall && (slices.Contains(transforms, name) || slices.Contains(foreign, name)):
		p.off = start
		return p.transformed()
	}
	p.off = start
	return nil, nil
}

// name reads an identifier or a field: letters, digits and _ in parts that begin with a letter.
func (p *parser) name() string {
	part := func(s string) int {
		n := 0
		for n < len(s) && (isLetter(s[n]) || n > 0 && (s[n] == '_' || s[n] >= '0' && s[n] <= '9')) {
			n++
		}
		return n
	}
	rest := p.rest()
	n := part(rest)
	for n > 0 && n < len(rest) && rest[n] == '.' {
		m := part(rest[n+1:])
		if m == 0 {
			break
		}
		n += 1 + m
	}
	p.off += n
	return rest[:n]
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }

// argument reads the [...] after a field, if there is one.
func (p *parser) argument(o *Operand) error {
	if p.end() || p.src.text[p.off] != '[' {
		return nil
	}
	p.off++
	arg, _, err := p.operand(notArg)
	switch {
	case err != nil:
		return err
	case arg == "":
		return p.errorf("expected the argument of %s, not %q", o.Field, p.peek())
	case p.end() || p.src.text[p.off] != ']':
		return p.errorf("expected ] after the argument of %s, not %q", o.Field, p.peek())
	}
	p.off++
	o.Arg = arg
	return nil
}

func (p *parser) check(o *Operand, at mark) (Expr, error) {
	c := &Check{Field: o.Field, Arg: o.Arg, Transforms: o.Transforms, at: at}
	p.blank()
	if err := p.operator(c); err != nil {
		return nil, err
	}
	if c.Op == Exists {
		p.blank()
		return c, nil
	}
	vat := p.mark()
	right, err := p.right()
	if err != nil {
		return nil, err
	}
	if right != nil {
		c.Right = right
		p.blank()
		return c, nil
	}
	if c.Op.takesList() {
		return c, p.list(c)
	}
	v, isQuoted, err := p.operand(notBare)
	if err != nil {
		return nil, err
	}
	if v == "" && !isQuoted {
		return nil, vat.errorf("expected a value after %s %s, not %q", c.Name(), c.Op, p.peek())
	}
	if c.Op.takesNumber() {
		if _, err := number(v); err != nil || isQuoted {
			return nil, vat.errorf("%s compares with a whole number, not %q", c.Op, v)
		}
	}
	c.Values, c.bare = []string{v}, []bool{!isQuoted}
	p.blank()
	return c, nil
}

func (p *parser) operator(c *Check) error {
	at := p.mark()
	for _, sym := range []string{"==", "=", "!=", "<=", "<", ">=", ">"} {
		if strings.HasPrefix(p.rest(), sym) {
			p.off += len(sym)
			p.blank()
			c.Op = Op(sym)
			if sym == "==" {
				c.Op = Eq
			}
			return nil
		}
	}
	word := p.name()
	switch {
	case word == "":
		return at.errorf("expected an operator after %s, not %q", c.Name(), p.peek())
	case !slices.Contains(words, word):
		return at.errorf("operator %q is not supported%s (supported: = != < <= > >= %s)", word, nearest.Hint(word, words), strings.Join(words, " "))
	}
	c.Op = Op(word)
	if next := p.rest(); c.Op != Exists && !c.Op.takesList() && (next == "" || !isBlank(next[0])) {
		return p.errorf("expected a blank after %s", word) // libsinsp insists on it
	}
	p.blank()
	return nil
}

func (p *parser) list(c *Check) error {
	if !p.symbol('(') {
		at := p.mark()
		name := p.name()
		if name == "" {
			return at.errorf("expected ( or the name of a list after %s, not %q", c.Op, p.peek())
		}
		c.Values, c.bare, c.listName = []string{name}, []bool{true}, true
		p.blank()
		return nil
	}
	if p.symbol(')') {
		return nil // nothing is in an empty list
	}
	for {
		v, isQuoted, err := p.operand(notBare)
		if err != nil {
			return err
		}
		if v == "" && !isQuoted {
			return p.errorf("expected a value of the list, not %q", p.peek())
		}
		c.Values, c.bare = append(c.Values, v), append(c.bare, !isQuoted)
		p.blank()
		if p.symbol(')') {
			return nil
		}
		if !p.symbol(',') {
			return p.errorf("expected , or ) after %q, not %q", v, p.peek())
		}
	}
}

// operand reads a quoted string, or a bare one that ends before a character that stop holds for; "" if neither.
func (p *parser) operand(stop func(rune) bool) (v string, isQuoted bool, err error) {
	rest := p.rest()
	if rest == "" {
		return "", false, nil
	}
	if delim := rest[0]; delim == '"' || delim == '\'' {
		for i := 1; i < len(rest); i++ {
			if rest[i] != delim || rest[i-1] == '\\' {
				continue
			}
			v, err := unquote(rest[1:i], delim)
			if err != nil {
				return "", true, p.errorf("%v", err)
			}
			p.off += i + 1
			return v, true, nil
		}
		return "", true, p.errorf("the string that begins with %c has no end", delim)
	}
	n := strings.IndexFunc(rest, stop)
	if n < 0 {
		n = len(rest)
	}
	p.off += n
	return rest[:n], false, nil
}
