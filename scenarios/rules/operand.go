// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"
)

// operand is a field with its transforms, compiled.
type operand struct {
	name  string // as it is written
	field string
	arg   string
	kind  Kind   // after the transforms
	typ   string // libsinsp's name of it, likewise; empty if not known
	asked FieldType
	get   func(Event, *scratch) (Value, bool)
	plain bool // without transforms: needs no scratch
}

// scratch is where transforms write, so that an event that matches nothing costs no allocation.
type scratch struct{ buf []byte }

var scratches = sync.Pool{New: func() any { return &scratch{make([]byte, 0, 4096)} }}

// write returns the text that f appends. It is good until the scratch goes back to the pool: no test keeps a value.
func (s *scratch) write(f func(dst []byte) ([]byte, error)) (string, bool) {
	start := len(s.buf)
	out, err := f(s.buf)
	if err != nil {
		return "", false
	}
	s.buf = out
	text := out[start:]
	return unsafe.String(unsafe.SliceData(text), len(text)), true
}

func compileOperand(o *Operand, s Schema) (*operand, error) {
	ft, kind, err := fieldType(o.Field, o.Arg, o.at, s)
	if err != nil {
		return nil, err
	}
	out := &operand{name: written(o), field: o.Field, arg: o.Arg, kind: kind, typ: ft.Type, asked: ft, plain: len(o.Transforms) == 0}
	field, arg := o.Field, o.Arg
	has := kind
	if kind == Network {
		has = Address
	}
	out.get = func(ev Event, _ *scratch) (Value, bool) {
		v, ok := ev.Field(field, arg)
		return v, ok && (v.Kind == has || has == Dynamic && (v.Kind == String || v.Kind == Number))
	}
	for _, t := range slices.Backward(o.Transforms) {
		if err := out.transform(t, ft); err != nil {
			return nil, o.at.errorf("%s: %v", out.name, err)
		}
	}
	return out, nil
}

func written(o *Operand) string {
	var b strings.Builder
	writeOperand(&b, o.Name(), o.Transforms)
	return b.String()
}

// transform puts t around what there is. Which types each takes was tried on sysdig 0.41.4.
func (o *operand) transform(t Transform, ft FieldType) error {
	takes := map[Transform][]Kind{
		ToLower: {String}, ToUpper: {String}, Basename: {String}, B64: {String, Bytes}, Len: {String, Bytes, Members},
	}[t]
	if ft.Bare || ft.Kind == List || ft.Kind == Numbers || !slices.Contains(takes, o.kind) {
		return fmt.Errorf("%s() does not take a %s", t, o.kind)
	}
	inner := o.get
	if t == Len {
		o.kind, o.typ = Number, "UINT64"
		o.get = func(ev Event, s *scratch) (Value, bool) {
			v, ok := inner(ev, s)
			if v.Kind == Members {
				return NumberValue(int64(len(v.List))), ok
			}
			return NumberValue(int64(len(v.Str))), ok
		}
		return nil
	}
	f := functions[t]
	o.get = func(ev Event, s *scratch) (Value, bool) {
		v, ok := inner(ev, s)
		if !ok {
			return v, false
		}
		v.Str, ok = f(v.Str, s)
		return v, ok
	}
	return nil
}

// functions of strings. Letters are ASCII alone, as in the C locale.
var functions = map[Transform]func(string, *scratch) (string, bool){
	ToLower: func(v string, s *scratch) (string, bool) { return mapped(v, s, lower) },
	ToUpper: func(v string, s *scratch) (string, bool) { return mapped(v, s, upper) },
	Basename: func(v string, _ *scratch) (string, bool) {
		return v[strings.LastIndexByte(v, '/')+1:], true
	},
	B64: func(v string, s *scratch) (string, bool) {
		return s.write(func(dst []byte) ([]byte, error) {
			// AppendDecode takes bytes; the text is only read.
			in := strings.TrimRight(v, "=")
			return base64.RawStdEncoding.AppendDecode(dst, unsafe.Slice(unsafe.StringData(in), len(in)))
		})
	},
}

func mapped(v string, s *scratch, f func(byte) byte) (string, bool) {
	i := 0
	for i < len(v) && f(v[i]) == v[i] {
		i++
	}
	if i == len(v) {
		return v, true
	}
	return s.write(func(dst []byte) ([]byte, error) {
		for i := range len(v) {
			dst = append(dst, f(v[i]))
		}
		return dst, nil
	})
}

// exists holds for an event that has a value, or a list with a member.
func (o *operand) exists() func(Event) bool {
	return o.with(func(v Value) bool { return v.Kind != List && v.Kind != Numbers && v.Kind != Members || len(v.List) > 0 })
}

// each holds for an event if t does for the value. The common kinds are handed over by themselves: the copy of a whole
// value costs more than most tests.
func (o *operand) each(t *test) func(Event) bool {
	if !o.plain {
		return o.with(t.holds)
	}
	field, arg := o.field, o.arg
	switch text, number, truth := t.text, t.number, t.truth; o.kind {
	case String:
		return func(ev Event) bool {
			v, ok := ev.Field(field, arg)
			return ok && v.Kind == String && text(v.Str)
		}
	case Number:
		return func(ev Event) bool {
			v, ok := ev.Field(field, arg)
			return ok && v.Kind == Number && number(v.Num)
		}
	case Bool:
		return func(ev Event) bool {
			v, ok := ev.Field(field, arg)
			return ok && v.Kind == Bool && truth(v.Bool)
		}
	}
	return o.with(t.holds)
}

// with applies test to the value of an event, with the scratch that its transforms need.
func (o *operand) with(test func(Value) bool) func(Event) bool {
	get := o.get
	if o.plain {
		return func(ev Event) bool {
			v, ok := get(ev, nil)
			return ok && test(v)
		}
	}
	return func(ev Event) bool {
		s := scratches.Get().(*scratch)
		v, ok := get(ev, s)
		holds := ok && test(v)
		s.buf = s.buf[:0]
		scratches.Put(s)
		return holds
	}
}

// compareFields is a check with a field on its right-hand side. What libsinsp refuses there is refused.
func compareFields(c *Check, left *operand, s Schema) (func(Event) bool, error) {
	right, err := compileOperand(c.Right, s)
	if err != nil {
		return nil, err
	}
	at := c.Right.at
	alone := func(ft FieldType) bool {
		return ft.Bare || slices.Contains([]Kind{List, Numbers, Members, Dynamic, Network}, ft.Kind)
	}
	switch {
	case alone(left.asked):
		return nil, c.at.errorf("field %s cannot be compared with a field", left.name)
	case alone(right.asked):
		return nil, at.errorf("field %s cannot stand on the right-hand side", right.name)
	case left.kind != right.kind:
		return nil, at.errorf("%s is a %s and cannot be compared with %s, a %s", left.name, left.kind, right.name, right.kind)
	case left.typ != "" && right.typ != "" && left.typ != right.typ:
		return nil, at.errorf("%s is of type %s and cannot be compared with %s, of type %s", left.name, left.typ, right.name, right.typ)
	}
	compare := comparison(c.Op, left.kind)
	if compare == nil {
		return nil, c.at.errorf("operator %s takes no field on its right-hand side here", c.Op)
	}
	l, r := left.get, right.get
	return func(ev Event) bool {
		s := scratches.Get().(*scratch)
		a, ok := l(ev, s)
		if ok {
			var b Value
			b, ok = r(ev, s)
			ok = ok && compare(a, b)
		}
		s.buf = s.buf[:0]
		scratches.Put(s)
		return ok
	}, nil
}

// comparison compares two values of the kind; nil where there is no such comparison.
func comparison(op Op, kind Kind) func(a, b Value) bool {
	same := func(a, b Value) bool { return a.Str == b.Str }
	switch kind {
	case Number:
		same = func(a, b Value) bool { return a.Num == b.Num }
	case Bool:
		same = func(a, b Value) bool { return a.Bool == b.Bool }
	case Address, Network:
		same = func(a, b Value) bool { return a.Addr == b.Addr }
	}
	switch op {
	case Eq, In, Intersects:
		return same
	case Ne:
		return func(a, b Value) bool { return !same(a, b) }
	}
	if kind == Number {
		switch op {
		case Lt:
			return func(a, b Value) bool { return a.Num < b.Num }
		case Le:
			return func(a, b Value) bool { return a.Num <= b.Num }
		case Gt:
			return func(a, b Value) bool { return a.Num > b.Num }
		case Ge:
			return func(a, b Value) bool { return a.Num >= b.Num }
		}
		return nil
	}
	switch op {
	case Contains:
		return func(a, b Value) bool { return strings.Contains(a.Str, b.Str) }
	case IContains:
		return func(a, b Value) bool { return containsFold(a.Str, b.Str) }
	case StartsWith:
		return func(a, b Value) bool { return strings.HasPrefix(a.Str, b.Str) }
	case EndsWith:
		return func(a, b Value) bool { return strings.HasSuffix(a.Str, b.Str) }
	}
	return nil
}
