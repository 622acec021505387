// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
	"testing"
)

func load(t *testing.T, text ...string) *Set {
	t.Helper()
	s, err := Load(files(text...)...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func files(text ...string) []File {
	var out []File
	for i, d := range text {
		out = append(out, File{fmt.Sprintf("%c.yaml", 'a'+i), []byte(d)})
	}
	return out
}

func rule(cond string) string {
	return "- rule: R\n  desc: d\n  condition: " + cond + "\n  output: o %proc.name\n  priority: INFO\n"
}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ name, defs, cond, want string }{
		{"macro", "- macro: m\n  condition: a.b = 1 or a.b = 2\n", "m and c.d exists", `(a.b = 1 or a.b = 2) and c.d exists`},
		{"macro and, flat", "- macro: m\n  condition: a.b = 1 and a.c = 2\n", "m and c.d exists", `a.b = 1 and a.c = 2 and c.d exists`},
		{"macro negated", "- macro: m\n  condition: not a.b = 1\n", "not m", `a.b = 1`},
		{"macro of a macro, defined later", "- macro: m\n  condition: n\n- macro: n\n  condition: a.b=x\n", "m", `a.b = x`},
		{"list in place", "- list: l\n  items: [x, 'y z', 5]\n", "a.b in (w, l)", `a.b in (w, x, "y z", 5)`},
		{"list of a list", "- list: l\n  items: [k, z]\n- list: k\n  items: [x]\n", "a.b in (l)", `a.b in (x, z)`},
		{"list by its bare name", "- list: l\n  items: [x]\n", "a.b pmatch l", `a.b pmatch (x)`},
		{"quoted is no list", "- list: l\n  items: [x]\n", "a.b in ('l')", `a.b in (l)`},
		{"empty list", "- list: l\n  items: []\n", "not a.b in (l)", `not a.b in ()`},
		{"later definition", "- list: l\n  items: [x]\n- list: l\n  items: [y]\n", "a.b in (l)", `a.b in (y)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := load(t, c.defs+rule(c.cond)).Rule("R")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Expr.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestLaterFileRedefines(t *testing.T) {
	s := load(t, "- macro: m\n  condition: a.b = old\n"+rule("m and c.d = 1"), "- macro: m\n  condition: a.b = new\n")
	r, err := s.Rule("R")
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Expr.String(); got != "a.b = new and c.d = 1" {
		t.Errorf("got %s: the overlay's macro must hold for the rule of the file before", got)
	}
}

func TestRule(t *testing.T) {
	s := load(t, `
- rule: R
  desc: |
    what it is
  condition: proc.aname[2] = x and fd.name exists
  output: "at %evt.time by %proc.name of %proc.aname[3], %fd.name."
  priority: critical
  tags: [a, b]
`)
	r, err := s.Rule("R")
	if err != nil {
		t.Fatal(err)
	}
	if r.Priority != "Critical" || r.Source != "syscall" || r.Description != "what it is" || len(r.Tags) != 2 {
		t.Errorf("%+v", r)
	}
	if got, want := strings.Join(r.Fields(), " "), "evt.time fd.name proc.aname[2] proc.aname[3] proc.name"; got != want {
		t.Errorf("fields %q, want %q", got, want)
	}
	if _, err := s.Rule("r"); err == nil || !strings.Contains(err.Error(), `no rule is named "r"; did you mean "R"?`) {
		t.Errorf("an unknown rule: %v", err)
	}
	if got := s.Rules(); len(got) != 1 || got[0] != r {
		t.Errorf("Rules = %v", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"unknown key", "- macro: m\n  conditon: a.b = 1\n", `a.yaml:2:3: unknown key "conditon"; did you mean "condition"?`},
		{"no kind", "- desc: x\n", `entry 1 is no list, macro or rule`},
		{"two kinds", "- list: l\n  items: []\n  macro: m\n", `a.yaml:3:10: a list has no macro`},
		{"macro with items", "- macro: a b\n  condition: a.b = 1\n", `"a b" cannot name a macro`},
		{"keyword macro", "- macro: not\n  condition: a.b = 1\n", `"not" cannot name a macro`},
		{"list name", "- list: a b\n  items: []\n", `the list name "a b" holds a blank`},
		{"list without items", "- list: l\n", `list "l" has no items`},
		{"macro without condition", "- macro: m\n", `macro "m" has no condition`},
		{"rule without output", "- rule: R\n  desc: d\n  condition: a.b = 1\n  priority: INFO\n", `a.yaml:1:9: rule "R" has no output`},
		{"priority", strings.Replace(rule("a.b = 1"), "INFO", "WARNIN", 1), `unknown priority "WARNIN"; did you mean "WARNING"?`},
		{"output", strings.Replace(rule("a.b = 1"), "%proc.name", "100% sure", 1), `a % that no field follows: "% sure"`},
		{"undefined macro", "- macro: spawned\n  condition: a.b = 1\n" + rule("spwned and a.c = 2"), `a.yaml:5:14: rule "R": condition:1:1: no macro is named "spwned"; did you mean "spawned"?`},
		{"undefined list", "- list: names\n  items: []\n" + rule("a.c in nams"), `condition:1:1: no list is named "nams"; did you mean "names"?`},
		{"list as a value", "- list: l\n  items: []\n" + rule("a.c = l"), `a.c = l compares with a list; use in (l), or quote the word`},
		{"macro cycle", "- macro: a\n  condition: b\n- macro: b\n  condition: not a\n", `macro "a" uses itself: a -> b -> a`},
		{"list cycle", "- list: a\n  items: [b]\n- list: b\n  items: [a]\n" + rule("x.y in (a)"), `list "a" (a.yaml:1:9) contains itself: a -> b -> a`},
		{"unused macro", "- macro: m\n  condition: nothing\n", `no macro is named "nothing"`},
		{"inexpressible value", "- list: l\n  items: ['a b\\']\n", `no way to write "a b\\"`},
		{"syntax", "- list: [\n", `a.yaml:1:1: not YAML`},
		{"alias", "- list: l\n  items: &x [a]\n- list: m\n  items: *x\n", `aliases are not supported`},
		{"position in the condition", "- macro: m\n  condition: a.b = 1 and\n    c.d containz x\n", `a.yaml:2:14: macro "m": condition:1:17: operator "containz" is not supported; did you mean "contains"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(files(c.text)...)
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

// Bombs end at a limit instead of filling memory or running for hours.
func TestLoadBombs(t *testing.T) {
	var macros, lists, empty, deep strings.Builder
	macros.WriteString("- macro: m0\n  condition: a.b = 1\n")
	lists.WriteString("- list: l0\n  items: [a]\n")
	empty.WriteString("- list: l0\n  items: []\n")
	deep.WriteString("- macro: m0\n  condition: a.b = 1\n")
	for i := 1; i < 60; i++ {
		fmt.Fprintf(&macros, "- macro: m%d\n  condition: m%d and m%d\n", i, i-1, i-1)
		fmt.Fprintf(&lists, "- list: l%d\n  items: [l%d, l%d]\n", i, i-1, i-1)
		fmt.Fprintf(&empty, "- list: l%d\n  items: [l%d, l%d]\n", i, i-1, i-1)
	}
	for i := 1; i < 200; i++ {
		fmt.Fprintf(&deep, "- macro: m%d\n  condition: m%d or a.b = 2\n", i, i-1)
	}
	nested := "- macro: m0\n  condition: a.b = 1 or a.c = 2\n"
	for i := 1; i < 40; i++ {
		nested += fmt.Sprintf("- macro: m%d\n  condition: x.y = %d or x.z = 1 and (p.q = 1 or m%d and a.b = 2)\n", i, i, i-1)
	}
	for name, c := range map[string]struct{ text, want string }{
		"macros":       {macros.String(), "more than 65536 checks"},
		"lists":        {lists.String() + rule("a.b in (l59)"), "more than 65536 values"},
		"empty lists":  {empty.String() + rule("a.b in (l59)"), "more than 65536 values"},
		"deep macros":  {deep.String(), "nested deeper than 64"},
		"parentheses":  {nested, "parentheses deeper than 64"},
		"long":         {rule("a.b = " + strings.Repeat("x", maxCondition)), "longer than 1 MiB"},
		"large":        {strings.Repeat("#", maxFile+1), "larger than 4 MiB"},
		"many parens":  {rule(strings.Repeat("(", 100) + "a.b = 1" + strings.Repeat(")", 100)), "nested deeper than 64"},
		"many negated": {rule(strings.Repeat("not ", 10001) + "a.b"), "expected an operator"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Load(files(c.text)...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %.300v, want ... %s", err, c.want)
			}
		})
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(rule("a.b = 1")))
	f.Add([]byte("- list: l\n  items: [l]\n- macro: m\n  condition: not m\n" + rule("m and x.y in (l)")))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Load(File{"f.yaml", data})
		if err != nil {
			return
		}
		for _, r := range s.Rules() {
			roundTrip(t, r.Expr)
		}
	})
}
