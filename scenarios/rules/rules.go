// SPDX-License-Identifier: Apache-2.0

// Package rules knows Falco's rule language: how its files are read, and what a condition means.
//
// It is an honest subset: what it does not know (append, override, exceptions, transformers, an operator) is an
// error with its place, and never something that is passed over.
package rules

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// maxFile bounds a rule file, in bytes. Falco's own are below 200 KiB.
const maxFile = 4 << 20

// File is a rule file: its name, for positions in errors, and its text.
type File struct {
	Name string
	Data []byte
}

// Rule is one rule of a [Set], its condition expanded.
type Rule struct {
	Name        string
	Description string
	Condition   string // as written
	Output      string // with %fields
	Priority    string // one of [Priorities]
	Source      string // "syscall" unless the rule says otherwise
	Tags        []string
	Expr        Expr // macros inlined, lists expanded in place
}

// Priorities are Falco's, the gravest first, as its alerts spell them.
var Priorities = []string{"Emergency", "Alert", "Critical", "Error", "Warning", "Notice", "Informational", "Debug"}

// Set is what rule files define.
type Set struct {
	lists  map[string]list
	macros map[string]Expr // not expanded
	rules  map[string]*Rule
}

type list struct {
	at    strictyaml.Pos
	items []strictyaml.Str
}

func newSet() *Set {
	return &Set{lists: map[string]list{}, macros: map[string]Expr{}, rules: map[string]*Rule{}}
}

// item is an entry of a rule file: the first of list, macro and rule that is there says which.
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
}

// Load reads files in their order. A later list, macro or rule of a name replaces the earlier one, also for
// what the earlier files define with it. All mistakes found are joined, each an [*Error] or a *strictyaml.Error.
func Load(files ...File) (*Set, error) {
	l := &loader{set: newSet(), pending: map[string]*pending{}}
	for _, f := range files {
		l.file(f)
	}
	if len(l.errs) > 0 {
		return nil, errors.Join(l.errs...)
	}
	x := &expander{set: l.set}
	// Macros are expanded for their own sake too: one that nothing uses yet must not hide a mistake.
	for _, name := range sortedKeys(l.set.macros) {
		if _, err := x.macro(name); err != nil {
			l.errs = append(l.errs, err)
		}
	}
	for _, name := range sortedKeys(l.pending) {
		p := l.pending[name]
		e, err := x.rule(p.raw)
		if err != nil {
			l.errs = append(l.errs, err)
			continue
		}
		p.rule.Expr = e
		l.set.rules[name] = p.rule
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

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Rule returns the rule of that name; the error names the nearest one.
func (s *Set) Rule(name string) (*Rule, error) {
	if r, ok := s.rules[name]; ok {
		return r, nil
	}
	return nil, fmt.Errorf("no rule is named %q%s", name, nearest.Hint(name, sortedKeys(s.rules)))
}

// Rules returns every rule, sorted by name.
func (s *Set) Rules() []*Rule {
	out := make([]*Rule, 0, len(s.rules))
	for _, r := range s.rules {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *Rule) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// outputField is a field of an output format, as libsinsp's event formatter reads it.
var outputField = regexp.MustCompile(`%([a-zA-Z][a-zA-Z0-9_]*(?:\.[a-zA-Z][a-zA-Z0-9_]*)+(?:\[[^\[\]"'\s]+\])?)`)

// Fields returns the fields, with their arguments, that the condition and the output mention; sorted.
func (r *Rule) Fields() []string {
	var out []string
	for _, m := range outputField.FindAllStringSubmatch(r.Output, -1) {
		out = append(out, m[1])
	}
	checks(r.Expr, func(c *Check) { out = append(out, c.Name()) })
	slices.Sort(out)
	return slices.Compact(out)
}

// loader collects what the files define before anything is expanded.
type loader struct {
	set     *Set
	pending map[string]*pending
	errs    []error
}

// pending is a rule whose condition is not expanded yet.
type pending struct {
	rule *Rule
	raw  Expr
}

func (l *loader) errorf(at strictyaml.Str, format string, args ...any) {
	l.errs = append(l.errs, at.Errorf(format, args...))
}

func (l *loader) file(f File) {
	if len(f.Data) > maxFile {
		l.errs = append(l.errs, &Error{Where: f.Name, Msg: "the file is larger than 4 MiB"})
		return
	}
	var items []item
	if err := strictyaml.Decode(f.Name, f.Data, &items); err != nil {
		l.errs = append(l.errs, err)
		return
	}
	for i, it := range items {
		switch {
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

var identifier = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_]*$`)

// foreign refuses keys that belong to another kind of entry.
func (l *loader) foreign(kind string, keys map[string]strictyaml.Str) {
	for _, k := range sortedKeys(keys) {
		if v := keys[k]; v.V != "" {
			l.errorf(v, "a %s has no %s", kind, k)
		}
	}
}

func (l *loader) list(it item) {
	l.foreign("list", map[string]strictyaml.Str{"macro": it.Macro, "rule": it.Rule, "desc": it.Desc, "condition": it.Condition, "output": it.Output, "priority": it.Priority, "source": it.Source})
	name := it.List.V
	if strings.IndexFunc(name, notBare) >= 0 {
		l.errorf(it.List, "the list name %q holds a blank, a quote, a comma, = or a parenthesis", name)
	}
	if it.Items == nil {
		l.errorf(it.List, "list %q has no items; an empty list is written []", name)
	}
	for _, v := range it.Items {
		if err := writable(v.V); err != nil {
			l.errorf(v, "%v", err)
		}
	}
	l.set.lists[name] = list{it.List.Pos, it.Items}
}

func (l *loader) macro(it item) {
	l.foreign("macro", map[string]strictyaml.Str{"rule": it.Rule, "desc": it.Desc, "output": it.Output, "priority": it.Priority, "source": it.Source})
	name := it.Macro.V
	switch {
	case !identifier.MatchString(name) || name == "and" || name == "or" || name == "not":
		l.errorf(it.Macro, "%q cannot name a macro: a letter, then letters, digits and _, and not and, or, not", name)
		return
	case it.Condition.V == "":
		l.errorf(it.Macro, "macro %q has no condition", name)
		return
	}
	if e := l.condition(it.Condition, "macro", name); e != nil {
		l.set.macros[name] = e
	}
}

func (l *loader) condition(c strictyaml.Str, kind, name string) Expr {
	e, err := parse(&source{where: fmt.Sprintf("%s: %s %q", c.Pos, kind, name), text: c.V})
	if err != nil {
		l.errs = append(l.errs, err)
		return nil
	}
	return e
}

func (l *loader) rule(it item) {
	if it.Items != nil {
		l.errorf(it.Rule, "a rule has no items")
	}
	name, ok := it.Rule.V, true
	for _, k := range []struct {
		key string
		v   strictyaml.Str
	}{{"desc", it.Desc}, {"condition", it.Condition}, {"output", it.Output}, {"priority", it.Priority}} {
		if k.v.V == "" {
			l.errorf(it.Rule, "rule %q has no %s", name, k.key)
			ok = false
		}
	}
	if !ok {
		return
	}
	r := &Rule{
		Name:        name,
		Description: strings.TrimSpace(it.Desc.V),
		Condition:   strings.TrimSpace(it.Condition.V),
		Output:      strings.TrimSpace(it.Output.V),
		Source:      cmp.Or(it.Source.V, "syscall"),
	}
	for _, t := range it.Tags {
		r.Tags = append(r.Tags, t.V)
	}
	i := slices.IndexFunc(Priorities, func(p string) bool {
		return strings.EqualFold(p, it.Priority.V) || p == "Informational" && strings.EqualFold("info", it.Priority.V)
	})
	if i < 0 {
		l.errorf(it.Priority, "unknown priority %q%s (known: %s)", it.Priority.V, nearest.Hint(strings.ToUpper(it.Priority.V), strings.Fields(strings.ToUpper(strings.Join(Priorities, " ")))), strings.Join(Priorities, ", "))
		return
	}
	r.Priority = Priorities[i]
	if left := outputField.ReplaceAllString(r.Output, ""); strings.Contains(left, "%") {
		_, after, _ := strings.Cut(left, "%")
		l.errorf(it.Output, "the output has a %% that no field follows: %q", "%"+after[:min(len(after), 20)])
		return
	}
	if e := l.condition(it.Condition, "rule", name); e != nil {
		l.pending[name] = &pending{r, e}
	}
}
