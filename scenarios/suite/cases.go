// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// maxTests bounds what the cases of a suite come to.
const maxTests = 1000

type caseForm struct {
	Strategy strictyaml.Str                 `yaml:"strategy,required"`
	Values   strictyaml.Map[strictyaml.Raw] `yaml:"values,required"`
}

// filled is a test with its templates filled.
type filled struct {
	test   strictyaml.Raw
	values map[string]string
}

// expand makes of a test one for each of its cases; of one without cases, itself.
func expand(test strictyaml.Raw) ([]filled, error) {
	if test.Node.Kind != yaml.MappingNode {
		return nil, test.Errorf("a test is a mapping")
	}
	bare := *test.Node
	bare.Content = nil
	var list *yaml.Node
	for i := 0; i+1 < len(test.Node.Content); i += 2 {
		if k := test.Node.Content[i]; k.Value == "cases" && list == nil {
			list = test.Node.Content[i+1]
			continue
		}
		bare.Content = append(bare.Content, test.Node.Content[i], test.Node.Content[i+1])
	}
	if list == nil {
		return fill(strictyaml.Raw{File: test.File, Node: &bare}, []map[string]strictyaml.Raw{nil})
	}
	var forms []caseForm
	if err := (strictyaml.Raw{File: test.File, Node: list}).Decode(&forms); err != nil {
		return nil, err
	}
	var items []map[string]strictyaml.Raw
	for _, f := range forms {
		more, err := f.items()
		if err != nil {
			return nil, err
		}
		if items = append(items, more...); len(items) > maxTests {
			return nil, f.Strategy.Errorf("the test has more than %d cases", maxTests)
		}
	}
	if len(items) == 0 {
		return nil, test.Errorf("the list of cases is empty")
	}
	return fill(strictyaml.Raw{File: test.File, Node: &bare}, items)
}

// items are the values of each case: with strategy vector it is one, with matrix every combination, the last key
// changing first.
func (f caseForm) items() ([]map[string]strictyaml.Raw, error) {
	if err := one(f.Strategy, "strategy", []string{"vector", "matrix"}); err != nil {
		return nil, err
	}
	if len(f.Values) == 0 {
		return nil, f.Strategy.Errorf("the case has no values")
	}
	out := []map[string]strictyaml.Raw{{}}
	for _, e := range f.Values {
		choices := []strictyaml.Raw{e.Value}
		if f.Strategy.V == "matrix" {
			choices = nil
			if err := e.Value.Decode(&choices); err != nil {
				return nil, err
			}
			if len(choices) == 0 {
				return nil, e.Key.Errorf("the key %q has no values", e.Key.V)
			}
		}
		if len(out)*len(choices) > maxTests {
			return nil, e.Key.Errorf("the matrix has more than %d cases", maxTests)
		}
		var next []map[string]strictyaml.Raw
		for _, m := range out {
			for _, c := range choices {
				n := map[string]strictyaml.Raw{e.Key.V: c}
				for k, v := range m {
					n[k] = v
				}
				next = append(next, n)
			}
		}
		out = next
	}
	return out, nil
}

func fill(test strictyaml.Raw, items []map[string]strictyaml.Raw) ([]filled, error) {
	var out []filled
	for _, item := range items {
		t := template{file: test.File, item: item}
		node := t.node(test.Node)
		if t.err != nil {
			return nil, t.err
		}
		f := filled{test: strictyaml.Raw{File: test.File, Node: node}}
		if item != nil {
			f.values = map[string]string{}
		}
		for k, v := range item {
			f.values[k] = brief(v.Node)
		}
		out = append(out, f)
	}
	return out, nil
}

// brief is a value as text: as it was written if that was on one line.
func brief(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return n.Value
	}
	flow := *n
	flow.Style |= yaml.FlowStyle
	text, err := yaml.Marshal(&flow)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// template fills %{item.key} of a test.
type template struct {
	file string
	item map[string]strictyaml.Raw
	size int   // of what was put in, in bytes
	err  error // the first
}

// maxFilled bounds what is put into the text of one test, in bytes.
const maxFilled = 64 << 10

var (
	parameter = lazy.Regexp(`%\{([^{}]*)\}`)
	whole     = lazy.Regexp(`^%\{([^{}]*)\}$`)
)

// node is a copy of n that is filled. What is put in is not filled again.
func (t *template) node(n *yaml.Node) *yaml.Node {
	out := *n
	if n.Kind == yaml.ScalarNode {
		if m := whole().FindStringSubmatch(n.Value); m != nil {
			if v := t.value(n, m[1]); v != nil {
				at := *v
				at.Line, at.Column = n.Line, n.Column
				return &at
			}
		}
		out.Value = parameter().ReplaceAllStringFunc(n.Value, func(p string) string {
			v := t.value(n, parameter().FindStringSubmatch(p)[1])
			if v == nil {
				return p
			}
			if v.Kind != yaml.ScalarNode {
				t.fail(n, "%s is no text that could stand within other text", p)
			}
			if t.size += len(v.Value); t.size > maxFilled {
				t.fail(n, "more than %d KiB are put into the test", maxFilled>>10)
				return ""
			}
			return v.Value
		})
		return &out
	}
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out.Content[i] = t.node(c)
	}
	return &out
}

// value is what a parameter stands for.
func (t *template) value(at *yaml.Node, name string) *yaml.Node {
	key, ok := strings.CutPrefix(strings.TrimSpace(name), "item.")
	if !ok {
		t.fail(at, "%%{%s}: a parameter begins with item.", name)
		return nil
	}
	if v, ok := t.item[key]; ok {
		return v.Node
	}
	// A value may be a mapping: item.key.part.
	key, rest, _ := strings.Cut(key, ".")
	v, ok := t.item[key]
	if !ok {
		known := make([]string, 0, len(t.item))
		for k := range t.item {
			known = append(known, k)
		}
		t.fail(at, "no case has a value %q%s", key, nearest.Hint(key, known))
		return nil
	}
	node := v.Node
	for part := range strings.SplitSeq(rest, ".") {
		next := member(node, part)
		if next == nil {
			t.fail(at, "%%{%s}: the value has no %q", name, part)
			return nil
		}
		node = next
	}
	return node
}

func member(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (t *template) fail(at *yaml.Node, format string, args ...any) {
	if t.err == nil {
		t.err = strictyaml.Raw{File: t.file, Node: at}.Errorf(format, args...)
	}
}
