// SPDX-License-Identifier: Apache-2.0

package strictyaml

import "go.yaml.in/yaml/v3"

// Tree is a value that is either text or a list of trees, where a format lets its user choose.
type Tree struct {
	Str           // the text; of a list only the position
	IsList bool   // also of an empty list
	Items  []Tree // of a list
}

func (t *Tree) decode(d *decoder, n *yaml.Node) {
	t.Pos = d.pos(n)
	switch n.Kind {
	case yaml.ScalarNode:
		t.V = n.Value
	case yaml.SequenceNode:
		t.IsList, t.Items = true, make([]Tree, len(n.Content))
		for i, c := range n.Content {
			if c.Kind == yaml.AliasNode {
				d.errorf(c, "YAML aliases are not supported; write the value out")
				continue
			}
			t.Items[i].decode(d, c)
		}
	default:
		d.expected(n, "text or a list")
	}
}
