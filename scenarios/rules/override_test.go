// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"strings"
	"testing"
)

const base = `
- list: shells
  items: [bash, sh]
- macro: spawned
  condition: evt.type = execve
- rule: R
  desc: what it is
  condition: spawned and proc.name in (shells)
  output: a shell %proc.name
  priority: NOTICE
  tags: [one]
  exceptions:
    - name: parents
      fields: [proc.pname, fd.name]
      comps: [=, startswith]
      values:
        - [cron, /etc]
`

// Each change of the base rule, as a second file.
func TestOverride(t *testing.T) {
	const expr = `evt.type = execve and proc.name in (bash, sh) and not (proc.pname = cron and fd.name startswith /etc)`
	for _, c := range []struct{ name, change, want string }{
		{"nothing", "# nothing\n", expr},
		{"list, the old way", "- list: shells\n  items: [zsh]\n  append: true\n", strings.Replace(expr, "sh)", "sh, zsh)", 1)},
		{"list, append", "- list: shells\n  items: [zsh]\n  override: {items: append}\n", strings.Replace(expr, "sh)", "sh, zsh)", 1)},
		{"list, replace", "- list: shells\n  items: [zsh]\n  override: {items: replace}\n", strings.Replace(expr, "bash, sh", "zsh", 1)},
		{"macro, the old way", "- macro: spawned\n  condition: or evt.type = x\n  append: true\n", `(evt.type = execve or evt.type = x)` + expr[len(`evt.type = execve`):]},
		{"macro, append", "- macro: spawned\n  condition: and evt.type = x\n  override: {condition: append}\n", `evt.type = execve and evt.type = x` + expr[len(`evt.type = execve`):]},
		{"macro, replace", "- macro: spawned\n  condition: evt.type = x\n  override: {condition: replace}\n", strings.Replace(expr, "execve", "x", 1)},
		{"rule, the old way", "- rule: R\n  condition: and a.b = 1\n  append: true\n", strings.Replace(expr, ") and", ") and a.b = 1 and", 1)},
		{"rule, append: or binds looser", "- rule: R\n  condition: or a.b = 1\n  override: {condition: append}\n",
			`(evt.type = execve and proc.name in (bash, sh) or a.b = 1) and not (proc.pname = cron and fd.name startswith /etc)`},
		{"rule, replace", "- rule: R\n  condition: a.b = 1\n  override: {condition: replace}\n", `a.b = 1 and not (proc.pname = cron and fd.name startswith /etc)`},
		{"values, the old way", "- rule: R\n  append: true\n  exceptions:\n    - name: parents\n      values: [[at, [/a, /b]]]\n", ""},
		{"values, append", "- rule: R\n  exceptions:\n    - name: parents\n      values: [[at, /x]]\n  override: {exceptions: append}\n",
			strings.Replace(expr, "startswith /etc)", "startswith /etc or proc.pname = at and fd.name startswith /x)", 1)},
		{"exception, a second one", "- rule: R\n  exceptions:\n    - name: more\n      fields: proc.name\n      values: [shells, 'a b', \"'it\"]\n  override: {exceptions: append}\n", ""},
		{"exception, a single field", "- rule: R\n  exceptions:\n    - name: more\n      fields: proc.name\n      values: [shells, 'a b']\n  override: {exceptions: append}\n",
			expr + ` and not proc.name in (bash, sh, "a b")`},
		{"exception, pmatch", "- rule: R\n  exceptions:\n    - name: more\n      fields: fd.name\n      comps: pmatch\n      values: [/a]\n  override: {exceptions: append}\n",
			expr + ` and not fd.name pmatch (/a)`},
		{"exceptions, replace", "- rule: R\n  exceptions:\n    - name: more\n      fields: [proc.name, proc.pname]\n      comps: [in, in]\n      values: [[shells, '(a, b)'], [[c, 'd e'], shells]]\n  override: {exceptions: replace}\n",
			`evt.type = execve and proc.name in (bash, sh) and not (proc.name in (bash, sh) and proc.pname in (a, b) or proc.name in (c, "d e") and proc.pname in (bash, sh))`},
		{"exceptions, default operators", "- rule: R\n  exceptions:\n    - name: more\n      fields: [proc.name]\n      values: [[x]]\n  override: {exceptions: replace}\n",
			`evt.type = execve and proc.name in (bash, sh) and not proc.name = x`},
		{"exceptions without values", "- rule: R\n  exceptions:\n    - name: more\n      fields: [proc.name]\n    - name: single\n      fields: proc.name\n  override: {exceptions: replace}\n",
			`evt.type = execve and proc.name in (bash, sh)`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Load(files(base, c.change)...)
			if c.want == "" {
				if err == nil {
					t.Fatal("was accepted")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r, err := s.Rule("R")
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Expr.String(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOverrideKeys(t *testing.T) {
	r, err := load(t, base, `
- rule: R
  desc: and more
  output: by %proc.pname
  tags: [two, one]
  priority: ALERT
  enabled: false
  warn_evttypes: false
  skip-if-unknown-filter: true
  override: {desc: append, output: append, tags: append, priority: replace, enabled: replace, warn_evttypes: replace, skip-if-unknown-filter: replace}
`).Rule("R")
	if err != nil {
		t.Fatal(err)
	}
	if r.Description != "what it is and more" || r.Output != "a shell %proc.name by %proc.pname" || strings.Join(r.Tags, " ") != "one two" ||
		r.Priority != "Alert" || !r.Disabled || !r.SkipUnknown {
		t.Errorf("%+v", r)
	}
	r, err = load(t, base, "- rule: R\n  tags: [two]\n  desc: else\n  output: o\n  override: {tags: replace, desc: replace, output: replace}\n").Rule("R")
	if err != nil || r.Description != "else" || r.Output != "o" || strings.Join(r.Tags, " ") != "two" || r.Disabled {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = load(t, base, "- rule: R\n  enabled: false\n").Rule("R")
	if err != nil || !r.Disabled {
		t.Errorf("switched off: %+v, %v", r, err)
	}
	r, err = load(t, base, "- rule: R\n  enabled: false\n", "- rule: R\n  enabled: true\n").Rule("R")
	if err != nil || r.Disabled {
		t.Errorf("switched on again: %+v, %v", r, err)
	}
}

func TestOverrideRefuses(t *testing.T) {
	const except = "- rule: R\n  override: {exceptions: append}\n  exceptions:\n"
	for _, c := range []struct{ name, change, want string }{
		{"list to append to", "- list: shels\n  items: [x]\n  append: true\n", `b.yaml:1:9: no list is named "shels" to append to; did you mean "shells"?`},
		{"macro to append to", "- macro: spawnd\n  condition: or a.b = 1\n  append: true\n", `b.yaml:1:10: no macro is named "spawnd" to append to; did you mean "spawned"?`},
		{"rule to append to", "- rule: Q\n  condition: or a.b = 1\n  append: true\n", `b.yaml:1:9: no rule is named "Q" to change`},
		{"rule to switch", "- rule: Q\n  enabled: false\n", `no rule is named "Q" to change`},
		{"both ways", "- list: shells\n  items: [x]\n  append: true\n  override: {items: append}\n", `append: true and override cannot stand together`},
		{"operation", "- list: shells\n  items: [x]\n  override: {items: add}\n", `b.yaml:3:21: override of items is append or replace, not "add"`},
		{"key", "- list: shells\n  items: [x]\n  override: {item: append}\n", `b.yaml:3:14: override cannot append "item"; did you mean "items"? (it can: items)`},
		{"priority", "- rule: R\n  priority: INFO\n  override: {priority: append}\n", `override cannot append "priority"`},
		{"nothing to append", "- rule: R\n  override: {condition: append}\n", `b.yaml:2:14: override says append for condition, and there is no condition`},
		{"nothing to replace", "- rule: R\n  override: {enabled: replace}\n", `override says replace for enabled, and there is no enabled`},
		{"a key without override", "- rule: R\n  desc: x\n  tags: [a]\n  override: {desc: append}\n", `rule "R" has tags, and its override does not say whether`},
		{"a key of append", "- rule: R\n  desc: x\n  append: true\n", `append: true takes a condition and exceptions alone, not desc`},
		{"another source", strings.Replace(rule("a.b = 1"), "- rule: R", "- rule: R\n  source: k8s_audit", 1), `rule "R" is of source k8s_audit, and was of source syscall`},
		{"broken by what is appended", "- rule: R\n  condition: and\n    a.b =\n  append: true\n", `b.yaml:2:14: rule "R": condition:1:10: expected a value after a.b =, not "the end"`},
		{"broken before what is appended", "- macro: spawned\n  condition: or (a.b = 1\n  append: true\n", `b.yaml:2:14: macro "spawned": condition:1:12: expected and, or, or the )`},
		{"exception twice", except + "    - {name: x, fields: a.b}\n    - {name: x, fields: a.b}\n", `b.yaml:5:14: exception "x" of rule "R" is there twice`},
		{"fields of what is there", except + "    - {name: parents, fields: a.b}\n", `exception "parents" of rule "R" is there: values can be appended to it, not fields or comps`},
		{"no fields", except + "    - {name: parent, values: [[a, b]]}\n", `exception "parent" of rule "R" has no fields; did you mean "parents"?`},
		{"field of lists", except + "    - {name: x, fields: [[a.b]]}\n", `exception "x": a field is no list`},
		{"single comps", except + "    - {name: x, fields: [a.b], comps: =}\n", `fields and comps are both single, or both lists`},
		{"single operator", except + "    - {name: x, fields: a.b, comps: startswith}\n", `the operator of a single field is in, pmatch or intersects, not "startswith"`},
		{"operator", except + "    - {name: x, fields: [a.b], comps: [startwith]}\n", `operator "startwith" is not supported; did you mean "startswith"?`},
		{"comps", except + "    - {name: x, fields: [a.b, c.d], comps: [=]}\n", `2 fields and 1 comps; each field has one`},
		{"values", except + "    - {name: parents, values: [[a]]}\n", `b.yaml:4:32: exception "parents" has 2 fields, and a value of 1`},
		{"values, flat", except + "    - {name: parents, values: [a]}\n", `exception "parents" has a list of fields: each of its values is a list of as many`},
		{"values, nested", except + "    - {name: x, fields: a.b, values: [[a]]}\n", `exception "x" has a single field, whose values are no lists`},
		{"values, too deep", except + "    - {name: x, fields: [a.b], comps: [in], values: [[[[a]]]]}\n", `cannot be a list within a list`},
		{"a value's list", except + "    - {name: x, fields: [a.b], comps: [in], values: [['(a']]}\n", `b.yaml:4:55: exception "x" of rule "R": condition:1:10: expected , or ) after "a"`},
		{"a value's quotes", except + "    - {name: x, fields: [a.b], values: [['\"a']]}\n", `has no end`},
		{"not a field", except + "    - {name: x, fields: [a], values: [[b]]}\n", `exception "x" of rule "R"`},
		{"exception key", except + "    - {name: x, field: [a], values: [[b]]}\n", `b.yaml:4:17: unknown key "field"; did you mean "fields"?`},
		{"an item's quotes", "- list: l\n  items: ['\"a\" b']\n", `b.yaml:2:11: the item "\"a\" b" goes on after its closing quote`},
		{"engine", "- required_engine_version: next\n", `b.yaml:1:28: required_engine_version is a number or a version such as 0.57.0, not "next"`},
		{"plug-in", "- required_plugin_versions: [{name: k8s, version: 1}]\n", `plug-in k8s needs a version such as 0.4.0, not "1"`},
		{"plug-in twice", "- required_plugin_versions: [{name: k8s, version: 1.0.0, alternatives: [{name: k8s, version: 2.0.0}]}]\n", `plug-in k8s is an alternative of itself`},
		{"plug-in without version", "- required_plugin_versions: [{name: k8s}]\n", `key "version" is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(files(base, c.change)...)
			if err == nil {
				t.Fatal("was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestRequirements(t *testing.T) {
	n := load(t, "- required_engine_version: 26\n- required_plugin_versions:\n    - name: container\n      version: 0.4.0\n    - name: a\n      version: 1.0.0\n      alternatives: [{name: b, version: 2.0.0}]\n",
		"- required_engine_version: 0.9.0\n- required_engine_version: 0.57.0\n").Requires()
	if n.Engine != "0.57.0" || len(n.Plugins) != 2 || n.Plugins[0][0] != (Plugin{"container", "0.4.0"}) || n.Plugins[1][1] != (Plugin{"b", "2.0.0"}) {
		t.Errorf("%+v", n)
	}
}

// What Falco takes the text of an item for: in quotes of its own it is what they hold, without any it is what it says.
func TestItemValue(t *testing.T) {
	for in, want := range map[string]string{
		`a`: `a`, `a b`: `a b`, `"a b"`: `a b`, `'a "b"'`: `a "b"`, `"a\tb"`: "a\tb", `<NA>`: `<NA>`, ``: ``,
	} {
		if got, err := itemValue(in); err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", in, got, err, want)
		}
	}
	r, err := load(t, "- list: l\n  items: [x]\n- list: k\n  items: ['\"l\"', l, '\"sh -c x\"']\n"+rule("a.b in (k)")).Rule("R")
	if err != nil || r.Expr.String() != `a.b in (l, x, "sh -c x")` {
		t.Errorf("%v, %v", r, err)
	}
}
