// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// item is an entry of a rule file: the first of the names that is there says which.
type item struct {
	List      strictyaml.Str   `yaml:"list"`
	Items     []strictyaml.Str `yaml:"items"`
	Macro     strictyaml.Str   `yaml:"macro"`
	Rule      strictyaml.Str   `yaml:"rule"`
	Desc      strictyaml.Str   `yaml:"desc"`
	Condition strictyaml.Str   `yaml:"condition"`
	Output    strictyaml.Str   `yaml:"output"`
	Priority  strictyaml.Str   `yaml:"priority"`
	Source    strictyaml.Str   `yaml:"source"`
	Tags      []strictyaml.Str `yaml:"tags"`

	Enabled    *bool                          `yaml:"enabled"`
	Exceptions []exceptionItem                `yaml:"exceptions"`
	Append     bool                           `yaml:"append"`
	Override   strictyaml.Map[strictyaml.Str] `yaml:"override"`

	SkipUnknown *bool          `yaml:"skip-if-unknown-filter"`
	WarnTypes   *bool          `yaml:"warn_evttypes"`
	Capture     *bool          `yaml:"capture"`
	CaptureTime strictyaml.Str `yaml:"capture_duration"`

	EngineVersion  strictyaml.Str `yaml:"required_engine_version"`
	PluginVersions []pluginItem   `yaml:"required_plugin_versions"`
}

// list is a list as its entries left it.
type list struct {
	at    strictyaml.Pos
	items []listItem
}

type listItem struct {
	text string
	bare bool // without quotes of its own: may name a list
}

// Load reads files in their order. A later list, macro or rule of a name replaces the earlier one, also for
// what the earlier files define with it, or changes it where it says append or override. All mistakes found are
// joined, each an [*Error] or a *strictyaml.Error.
func Load(files ...File) (*Set, error) {
	l := &loader{set: newSet(), macros: map[string]*source{}, rules: map[string]*draft{}}
	for _, f := range files {
		l.file(f)
	}
	l.parse()
	if len(l.errs) > 0 {
		return nil, errors.Join(unique(l.errs)...)
	}
	x := &expander{set: l.set}
	// Macros are expanded for their own sake too: one that nothing uses yet must not hide a mistake.
	for _, name := range sortedKeys(l.set.macros) {
		if _, err := x.macro(name); err != nil {
			l.errs = append(l.errs, err)
		}
	}
	for _, name := range sortedKeys(l.set.rules) {
		r := l.set.rules[name]
		e, err := x.rule(r.Expr)
		if err != nil {
			l.errs = append(l.errs, err)
			continue
		}
		r.Expr = e
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(unique(l.errs)...)
	}
	return l.set, nil
}

// unique drops what was said already: a macro's mistake comes up again in each rule that uses it.
func unique(errs []error) []error {
	seen := map[string]bool{}
	return slices.DeleteFunc(errs, func(e error) bool {
		was := seen[e.Error()]
		seen[e.Error()] = true
		return was
	})
}

// loader collects what the files define before anything is parsed: what is appended to a condition is text, that only
// together with what was there makes sense.
type loader struct {
	set    *Set
	macros map[string]*source
	rules  map[string]*draft
	errs   []error
}

func (l *loader) errorf(at strictyaml.Str, format string, args ...any) {
	l.errs = append(l.errs, at.Errorf(format, args...))
}

func (l *loader) file(f File) {
	if len(f.Data) > maxFile {
		l.errs = append(l.errs, &Error{Where: f.Name, Msg: "the file is larger than 4 MiB"})
		return
	}
	if commentsAlone(f.Data) {
		return // what Falco ships as falco_rules.local.yaml
	}
	var items []item
	if err := strictyaml.Decode(f.Name, f.Data, &items); err != nil {
		l.errs = append(l.errs, err)
		return
	}
	for i := range items {
		switch it := &items[i]; {
		case it.EngineVersion.V != "":
			l.engine(it.EngineVersion)
		case it.PluginVersions != nil:
			l.plugins(it.PluginVersions)
		case it.List.V != "":
			l.list(it)
		case it.Macro.V != "":
			l.macro(it)
		case it.Rule.V != "":
			l.rule(it)
		default:
			l.errs = append(l.errs, &Error{Where: f.Name, Msg: fmt.Sprintf("entry %d is no list, macro or rule", i+1)})
		}
	}
}

func commentsAlone(data []byte) bool {
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return false
		}
	}
	return len(data) > 0
}

var identifier = lazy.Regexp(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// alien refuses keys that belong to another kind of entry.
func (l *loader) alien(it *item, kind string, own ...string) {
	name := map[string]strictyaml.Str{"list": it.List, "macro": it.Macro, "rule": it.Rule}[kind]
	for _, k := range it.keys() {
		if k != kind && !slices.Contains(own, k) {
			at := name
			if v, ok := it.text(k); ok {
				at = v
			}
			l.errorf(at, "a %s has no %s", kind, k)
		}
	}
}

// text is the value of a key that holds text.
func (it *item) text(key string) (strictyaml.Str, bool) {
	v, ok := map[string]strictyaml.Str{
		"list": it.List, "macro": it.Macro, "rule": it.Rule, "desc": it.Desc, "condition": it.Condition, "output": it.Output,
		"priority": it.Priority, "source": it.Source, "capture_duration": it.CaptureTime,
	}[key]
	return v, ok
}

// keys are the keys that the entry has, apart from those of versions.
func (it *item) keys() []string {
	var out []string
	has := func(key string, there bool) {
		if there {
			out = append(out, key)
		}
	}
	for _, k := range []string{"list", "macro", "rule", "desc", "condition", "output", "priority", "source", "capture_duration"} {
		v, _ := it.text(k)
		has(k, v.Pos.Line > 0)
	}
	has("items", it.Items != nil)
	has("tags", it.Tags != nil)
	has("enabled", it.Enabled != nil)
	has("exceptions", it.Exceptions != nil)
	has("append", it.Append)
	has("override", it.Override != nil)
	has("skip-if-unknown-filter", it.SkipUnknown != nil)
	has("warn_evttypes", it.WarnTypes != nil)
	has("capture", it.Capture != nil)
	return out
}

// overrides reads the override of an entry: what to append, and what to replace, each key one of those that can be.
func (l *loader) overrides(it *item, appendable, replaceable []string) (toAppend, toReplace []string) {
	for _, o := range it.Override {
		known, to := appendable, &toAppend
		if o.Value.V == "replace" {
			known, to = replaceable, &toReplace
		}
		switch key := o.Key.V; {
		case o.Value.V != "append" && o.Value.V != "replace":
			l.errorf(o.Value, "override of %s is append or replace, not %q", key, o.Value.V)
		case !slices.Contains(known, key):
			l.errorf(o.Key, "override cannot %s %q%s (it can: %s)", o.Value.V, key, nearest.Hint(key, known), strings.Join(known, ", "))
		case !slices.Contains(it.keys(), key):
			l.errorf(o.Key, "override says %s for %s, and there is no %s", o.Value.V, key, key)
		default:
			*to = append(*to, key)
		}
	}
	if it.Append && len(it.Override) > 0 {
		l.errorf(it.Override[0].Key, "append: true and override cannot stand together; override says it all")
	}
	return toAppend, toReplace
}

func (l *loader) list(it *item) {
	l.alien(it, "list", "items", "append", "override")
	name := it.List.V
	if strings.IndexFunc(name, notBare) >= 0 {
		l.errorf(it.List, "the list name %q holds a blank, a quote, a comma, = or a parenthesis", name)
	}
	if it.Items == nil {
		l.errorf(it.List, "list %q has no items; an empty list is written []", name)
	}
	items := make([]listItem, 0, len(it.Items))
	for _, v := range it.Items {
		text, err := itemValue(v.V)
		if err != nil {
			l.errorf(v, "%v", err)
		}
		items = append(items, listItem{text, text == v.V})
	}
	toAppend, _ := l.overrides(it, []string{"items"}, []string{"items"})
	if !it.Append && toAppend == nil {
		l.set.lists[name] = &list{it.List.Pos, items}
		return
	}
	have, ok := l.set.lists[name]
	if !ok {
		l.errorf(it.List, "no list is named %q to append to%s", name, nearest.Hint(name, sortedKeys(l.set.lists)))
		return
	}
	have.items = append(have.items, items...)
}

// itemValue is what an item of a list, or a value of an exception, means. Falco puts its text into the condition, in
// quotes if it holds a blank and none of its own: '"sh -c x"' and "sh -c x" are the same, and an item may have escapes.
func itemValue(item string) (string, error) {
	if item == "" {
		return "", nil
	}
	v := item
	if item[0] == '"' || item[0] == '\'' {
		p := parser{src: &source{text: item}}
		text, _, err := p.operand(notBare)
		switch {
		case err != nil:
			return "", fmt.Errorf("the item %q: %w", item, err)
		case !p.end():
			return "", fmt.Errorf("the item %q goes on after its closing quote", item)
		}
		v = text
	}
	return v, writable(v)
}

func (l *loader) macro(it *item) {
	l.alien(it, "macro", "condition", "append", "override")
	name := it.Macro.V
	switch {
	case !identifier().MatchString(name) || name == "and" || name == "or" || name == "not":
		l.errorf(it.Macro, "%q cannot name a macro: a letter, then letters, digits and _, and not and, or, not", name)
		return
	case it.Condition.V == "":
		l.errorf(it.Macro, "macro %q has no condition", name)
		return
	}
	toAppend, _ := l.overrides(it, []string{"condition"}, []string{"condition"})
	src := l.macros[name]
	switch {
	case !it.Append && toAppend == nil:
		src = &source{}
		l.macros[name] = src
	case src == nil:
		l.errorf(it.Macro, "no macro is named %q to append to%s", name, nearest.Hint(name, sortedKeys(l.macros)))
		return
	}
	src.from(where(it.Condition, "macro", name), it.Condition.V)
}

func where(v strictyaml.Str, kind, name string) string {
	return fmt.Sprintf("%s: %s %q", v.Pos, kind, name)
}

// parse reads the conditions, now that nothing is appended any more.
func (l *loader) parse() {
	for _, name := range sortedKeys(l.macros) {
		e, err := parse(l.macros[name])
		if err != nil {
			l.errs = append(l.errs, err)
			continue
		}
		l.set.macros[name] = e
	}
	for _, name := range sortedKeys(l.rules) {
		if r := l.rules[name].finish(l); r != nil {
			l.set.rules[name] = r
		}
	}
}
