// SPDX-License-Identifier: Apache-2.0

package strictyaml

import (
	"strings"
	"testing"
)

type inner struct {
	Suites []Str  `yaml:"suites,required"`
	Match  string `yaml:"match"`
	Latest int    `yaml:"latest"`
	Warn   bool   `yaml:"warn"`
}

type outer struct {
	Version int        `yaml:"version,required"`
	Kernels Map[inner] `yaml:"kernels"`
}

func TestDecode(t *testing.T) {
	var o outer
	err := Decode("m.yaml", []byte("version: 1\nkernels:\n  b: {suites: [sid], match: 5.10, latest: 2, warn: true}\n  a: {suites: []}\n"), &o)
	if err != nil {
		t.Fatal(err)
	}
	b, ok := o.Kernels.Get("b")
	if !ok || b.Match != "5.10" || b.Latest != 2 || !b.Warn || len(b.Suites) != 1 || b.Suites[0].V != "sid" {
		t.Errorf("b = %+v", b)
	}
	if got := b.Suites[0].Pos.String(); got != "m.yaml:3:16" {
		t.Errorf("position of sid = %s", got)
	}
	if got := strings.Join(o.Kernels.Keys(), " "); got != "b a" {
		t.Errorf("order of keys = %q, want that of the file", got)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown key", "version: 1\nkernel: {}\n", `m.yaml:2:1: unknown key "kernel"; did you mean "kernels"? (known: kernels, version)`},
		{"wrong type", "version: one\n", `m.yaml:1:10: a whole number was expected, not "one"`},
		{"list for mapping", "version: 1\nkernels: [a]\n", `m.yaml:2:10: a mapping was expected, not a list`},
		{"scalar for list", "version: 1\nkernels: {a: {suites: sid}}\n", `m.yaml:2:23: a list was expected, not "sid"`},
		{"missing key", "version: 1\nkernels: {a: {match: x}}\n", `m.yaml:2:14: key "suites" is missing`},
		{"twice", "version: 1\nversion: 2\n", `m.yaml:2:1: "version" is given twice`},
		{"name twice", "version: 1\nkernels:\n  a: {suites: []}\n  a: {suites: []}\n", `m.yaml:4:3: "a" is defined twice`},
		{"alias", "version: &v 1\nkernels: *v\n", `m.yaml:2:10: YAML aliases are not supported; write the value out`},
		{"empty", "", `m.yaml:1:1: the file is empty`},
		{"two documents", "version: 1\n---\nversion: 2\n", `m.yaml:1:1: holds more than one YAML document; one was expected`},
		{"not YAML", "version: 1\n\tkernels: {}\n", `m.yaml:2:1: not YAML: found a tab character that violates indentation`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Decode("m.yaml", []byte(c.in), new(outer))
			if err == nil {
				t.Fatal("was accepted")
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestDecodeReportsAll(t *testing.T) {
	err := Decode("m.yaml", []byte("versio: 1\nkernels: {a: {latest: x}}\n"), new(outer))
	if n := len(strings.Split(err.Error(), "\n")); n != 4 {
		t.Errorf("%d errors, want 4:\n%v", n, err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("version: 1\nkernels: {a: {suites: [x]}}\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Fuzz(func(t *testing.T, data []byte) { _ = Decode("f", data, new(outer)) })
}
