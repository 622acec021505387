// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"cmp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
)

// draft is a rule that later entries may still change.
type draft struct {
	rule       Rule
	output     strictyaml.Str
	condition  *source
	exceptions []*exception
}

// What override can do to a rule (rule_loader_reader.cpp of Falco 0.41).
var (
	ruleAppends  = []string{"condition", "output", "desc", "tags", "exceptions"}
	ruleReplaces = []string{"condition", "output", "desc", "tags", "exceptions", "priority", "enabled", "warn_evttypes", "skip-if-unknown-filter", "capture", "capture_duration"}
)

func (l *loader) rule(it *item) {
	l.alien(it, "rule", append([]string{"source", "append", "override"}, ruleReplaces...)...)
	name := it.Rule.V
	toAppend, toReplace := l.overrides(it, ruleAppends, ruleReplaces)
	keys := slices.DeleteFunc(it.keys(), func(k string) bool { return k == "rule" || k == "append" || k == "override" })
	switch {
	case it.Override != nil:
		for _, k := range keys {
			if !slices.Contains(toAppend, k) && !slices.Contains(toReplace, k) {
				l.errorf(it.Rule, "rule %q has %s, and its override does not say whether to append or to replace it", name, k)
			}
		}
	case it.Append:
		for _, k := range keys {
			if k != "condition" && k != "exceptions" {
				l.errorf(it.Rule, "append: true takes a condition and exceptions alone, not %s; override can do more", k)
			}
		}
		toAppend = []string{"condition", "exceptions"}
	case len(keys) == 1 && it.Enabled != nil:
		toReplace = keys // the old way to switch a rule on or off
	default:
		l.define(it)
		return
	}
	d, ok := l.rules[name]
	if !ok {
		l.errorf(it.Rule, "no rule is named %q to change%s", name, nearest.Hint(name, sortedKeys(l.rules)))
		return
	}
	l.amend(d, it, toAppend, toReplace)
}

// define makes a rule of an entry that has all of it.
func (l *loader) define(it *item) {
	name, ok := it.Rule.V, true
	for _, key := range []string{"desc", "condition", "output", "priority"} {
		if v, _ := it.text(key); v.V == "" {
			l.errorf(it.Rule, "rule %q has no %s", name, key)
			ok = false
		}
	}
	if !ok {
		return
	}
	d := &draft{rule: Rule{Name: name, Source: cmp.Or(it.Source.V, "syscall")}}
	if old := l.rules[name]; old != nil && old.rule.Source != d.rule.Source {
		l.errorf(it.Rule, "rule %q is of source %s, and was of source %s", name, d.rule.Source, old.rule.Source)
	}
	l.amend(d, it, nil, it.keys())
	l.rules[name] = d
}

// amend changes a rule by the keys of an entry.
func (l *loader) amend(d *draft, it *item, toAppend, toReplace []string) {
	r := &d.rule
	for _, key := range slices.Concat(toReplace, toAppend) {
		add := slices.Contains(toAppend, key)
		switch key {
		case "condition":
			if it.Condition.V == "" {
				continue // append: true may have exceptions alone
			}
			if !add || d.condition == nil {
				d.condition = &source{}
			}
			d.condition.from(where(it.Condition, "rule", r.Name), strings.TrimSpace(it.Condition.V))
		case "output":
			r.Output = extend(add, r.Output, it.Output.V)
			d.output = it.Output
		case "desc":
			r.Description = extend(add, r.Description, it.Desc.V)
		case "tags":
			if !add {
				r.Tags = nil
			}
			for _, t := range it.Tags {
				if !slices.Contains(r.Tags, t.V) {
					r.Tags = append(r.Tags, t.V)
				}
			}
		case "exceptions":
			if !add {
				d.exceptions = nil
			}
			l.exceptions(d, it.Exceptions)
		case "priority":
			l.priority(r, it.Priority)
		case "enabled":
			r.Disabled = !*it.Enabled
		case "skip-if-unknown-filter":
			r.SkipUnknown = *it.SkipUnknown
		}
	}
}

func extend(add bool, old, text string) string {
	text = strings.TrimSpace(text)
	if !add || old == "" {
		return text
	}
	return old + " " + text
}

func (l *loader) priority(r *Rule, v strictyaml.Str) {
	i := slices.IndexFunc(Priorities, func(p string) bool {
		return strings.EqualFold(p, v.V) || p == "Informational" && strings.EqualFold("info", v.V)
	})
	if i < 0 {
		l.errorf(v, "unknown priority %q%s (known: %s)", v.V, nearest.Hint(strings.ToUpper(v.V), strings.Fields(strings.ToUpper(strings.Join(Priorities, " ")))), strings.Join(Priorities, ", "))
		return
	}
	r.Priority = Priorities[i]
}

// finish parses the rule, and takes its exceptions off the condition. Nil after an error.
func (d *draft) finish(l *loader) *Rule {
	if err := checkOutput(d.rule.Output); err != nil {
		l.errorf(d.output, "%v", err)
	}
	e, err := parse(d.condition)
	if err != nil {
		l.errs = append(l.errs, err)
		return nil
	}
	terms := []Expr{e}
	for _, x := range d.exceptions {
		excepted, err := x.expr(d.rule.Name)
		if err != nil {
			l.errs = append(l.errs, err)
			return nil
		}
		if excepted != nil {
			terms = append(terms, newNot(excepted))
		}
	}
	d.rule.Condition = d.condition.text
	d.rule.Expr = newAnd(terms)
	return &d.rule
}
