// SPDX-License-Identifier: Apache-2.0

// Package strictyaml decodes YAML into structs and refuses what it does not know, with file, line and column.
//
// It exists because a configuration that is half understood is worse than one that is refused: an unknown key
// that is ignored is a check that silently does not run.
package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/internal/nearest"
)

// Pos is a place in a file; lines and columns count from 1.
type Pos struct {
	File         string
	Line, Column int
}

func (p Pos) String() string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// Error is one thing that is wrong, and where.
type Error struct {
	Pos
	Msg string
}

func (e *Error) Error() string { return e.Pos.String() + ": " + e.Msg }

// Str is a string that remembers where it stood, so that a check made later can point at it.
type Str struct {
	V   string
	Pos Pos
}

// Errorf makes an error at s.
func (s Str) Errorf(format string, args ...any) error {
	return &Error{s.Pos, fmt.Sprintf(format, args...)}
}

// At is a value that remembers where it stood.
type At[T any] struct {
	V   T
	Pos Pos
}

// Errorf makes an error at a.
func (a At[T]) Errorf(format string, args ...any) error {
	return &Error{a.Pos, fmt.Sprintf(format, args...)}
}

func (a *At[T]) decode(d *decoder, n *yaml.Node) {
	a.Pos = d.pos(n)
	d.value(n, reflect.ValueOf(&a.V).Elem())
}

// Entry is one key of a mapping that keeps its order.
type Entry[T any] struct {
	Key   Str
	Value T
}

// Map is a mapping in the order of the file.
type Map[T any] []Entry[T]

// Get returns the value at key.
func (m Map[T]) Get(key string) (T, bool) {
	for _, e := range m {
		if e.Key.V == key {
			return e.Value, true
		}
	}
	var zero T
	return zero, false
}

// Keys returns the keys in the order of the file.
func (m Map[T]) Keys() []string {
	out := make([]string, 0, len(m))
	for _, e := range m {
		out = append(out, e.Key.V)
	}
	return out
}

func (m *Map[T]) decode(d *decoder, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		d.expected(n, "a mapping")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		e := Entry[T]{Key: Str{k.Value, d.pos(k)}}
		if slices.Contains(m.Keys(), k.Value) {
			d.errorf(k, "%q is defined twice", k.Value)
			continue
		}
		d.value(n.Content[i+1], reflect.ValueOf(&e.Value).Elem())
		*m = append(*m, e)
	}
}

type mapping interface{ decode(*decoder, *yaml.Node) }

// Decode reads the one YAML document of data into out, a pointer to a struct whose fields carry `yaml:"key"`
// tags (`yaml:"key,required"` for one that must be there). Fields may be string, int, bool, [Str], [Map], [Raw], slices,
// structs and pointers to structs. All errors found are joined; each is an [*Error].
func Decode(file string, data []byte, out any) error {
	r, err := Parse(file, data)
	if err != nil {
		return err
	}
	return r.Decode(out)
}

type decoder struct {
	file string
	errs []error
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.file, n.Line, n.Column} }

func (d *decoder) errorf(n *yaml.Node, format string, args ...any) {
	d.errs = append(d.errs, &Error{d.pos(n), fmt.Sprintf(format, args...)})
}

// syntax gives the YAML library's "yaml: line N: text" the form of every other error.
func (d *decoder) syntax(err error) error {
	var line int
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	if _, e := fmt.Sscanf(msg, "line %d:", &line); e == nil {
		_, msg, _ = strings.Cut(msg, ": ")
	}
	return &Error{Pos{d.file, max(line, 1), 1}, "not YAML: " + msg}
}

func (d *decoder) expected(n *yaml.Node, what string) {
	got := map[yaml.Kind]string{yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: fmt.Sprintf("%q", n.Value), yaml.AliasNode: "an alias"}[n.Kind]
	d.errorf(n, "%s was expected, not %s", what, got)
}

var strType = reflect.TypeFor[Str]()

func (d *decoder) value(n *yaml.Node, v reflect.Value) {
	// Aliases are refused, not followed: a few nested ones grow without bound, and no file of ours needs them.
	if n.Kind == yaml.AliasNode {
		d.errorf(n, "YAML aliases are not supported; write the value out")
		return
	}
	if m, ok := v.Addr().Interface().(mapping); ok {
		m.decode(d, n)
		return
	}
	if v.Type() == rawType {
		v.Set(reflect.ValueOf(Raw{d.file, n}))
		return
	}
	if v.Type() == strType {
		var s string
		d.scalar(n, reflect.ValueOf(&s).Elem())
		v.Set(reflect.ValueOf(Str{s, d.pos(n)}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem())
	case reflect.Struct:
		d.structure(n, v)
	case reflect.Slice:
		if n.Kind != yaml.SequenceNode {
			d.expected(n, "a list")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			d.value(c, v.Index(i))
		}
	default:
		d.scalar(n, v)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value) {
	what := map[reflect.Kind]string{reflect.String: "text", reflect.Int: "a whole number", reflect.Bool: "true or false"}[v.Kind()]
	if what == "" {
		panic(fmt.Sprintf("strictyaml: cannot decode into %s", v.Type()))
	}
	if n.Kind != yaml.ScalarNode {
		d.expected(n, what)
		return
	}
	// A bare 5.10 or yes is text where text is wanted: YAML would make a number or a bool of it.
	if v.Kind() == reflect.String {
		v.SetString(n.Value)
		return
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		d.expected(n, what)
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.MappingNode {
		d.expected(n, "a mapping")
		return
	}
	fields, required := map[string]int{}, []string{}
	for i := range v.NumField() {
		tag, opt, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if tag == "" {
			continue
		}
		fields[tag] = i
		if opt == "required" {
			required = append(required, tag)
		}
	}
	known := make([]string, 0, len(fields))
	for k := range fields {
		known = append(known, k)
	}
	slices.Sort(known)
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		f, ok := fields[k.Value]
		switch {
		case !ok:
			d.errorf(k, "unknown key %q%s (known: %s)", k.Value, nearest.Hint(k.Value, known), strings.Join(known, ", "))
		case seen[k.Value]:
			d.errorf(k, "%q is given twice", k.Value)
		default:
			seen[k.Value] = true
			d.value(n.Content[i+1], v.Field(f))
		}
	}
	for _, r := range required {
		if !seen[r] {
			d.errorf(n, "key %q is missing", r)
		}
	}
}
