// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"strings"
	"testing"
)

type grove struct {
	Values Tree  `yaml:"values"`
	Absent *Tree `yaml:"absent"`
}

func TestTree(t *testing.T) {
	var g grove
	if err := Decode("t.yaml", []byte("values: [a, [b, [5]], []]\n"), &g); err != nil {
		t.Fatal(err)
	}
	v := g.Values
	if !v.IsList || len(v.Items) != 3 || v.Items[0].V != "a" || v.Items[0].IsList || v.Items[1].Items[1].Items[0].V != "5" || !v.Items[2].IsList {
		t.Errorf("%+v", v)
	}
	if got := v.Items[1].Items[0].Pos.String(); got != "t.yaml:1:14" {
		t.Errorf("position of b = %s", got)
	}
	if g.Absent != nil {
		t.Errorf("what is not there is %+v", g.Absent)
	}
}

func TestTreeRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"values: {a: b}\n":        `t.yaml:1:9: text or a list was expected, not a mapping`,
		"values: [[{a: b}]]\n":    `t.yaml:1:11: text or a list was expected, not a mapping`,
		"values: [&a [x], [*a]]":  `t.yaml:1:19: YAML aliases are not supported`,
		"values: &a [*a]\n":       `aliases are not supported`,
		"values: x\nabsent: {}\n": `t.yaml:2:9: text or a list was expected`,
	} {
		if err := Decode("t.yaml", []byte(in), new(grove)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}
