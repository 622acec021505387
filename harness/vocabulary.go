// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/mews-farm/mews/driver/consumer/native"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/driver/ptrace"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

// Rule is a rule as a cell's consumer is asked for it.
type Rule struct {
	*rules.Rule
	Condition string   // in the consumer's own words
	Fields    []string // of the condition and the output, as far as the consumer has them and can print them
}

// vocabulary is what a consumer understands.
type vocabulary struct {
	name   string // of the consumer, and its version where that matters
	fields rules.Schema
	write  func(rules.Expr) (string, error) // a condition in its words; the error is an [*rules.Error]
	events []string                         // of which the driver tells; nil: it is not known to lack any
}

// under is the vocabulary with what the driver keeps from the consumer. mews's own watch few system calls; of what others
// watch mews has no list.
func (v vocabulary) under(d matrix.Driver) vocabulary {
	switch {
	case d.Variant.V == matrix.Ptrace:
		v.events = ptrace.Events()
	case d.Source.Builtin.V != "" && d.Source.Builtin.V != matrix.Embedded:
		v.events = modern.Events()
	}
	return v
}

// untold is an event that a condition needs and the driver does not tell of, or "".
func (v vocabulary) untold(e rules.Expr) string {
	if v.events != nil {
		for _, t := range rules.Needs(e, v.fields) {
			if !slices.Contains(v.events, t) {
				return t
			}
		}
	}
	return ""
}

// plainly writes a condition as mews itself does.
func plainly(e rules.Expr) (string, error) { return e.String(), nil }

// vocabularyOf finds out what the consumer understands. Of sysdig the version decides, which is that of its userland.
func vocabularyOf(ctx context.Context, m *matrix.Matrix, c matrix.Consumer, r Resolver) (vocabulary, error) {
	switch c.Kind.V {
	case agent.Native:
		return vocabulary{name: "consumer native", fields: native.Schema(), write: native.Write}, nil
	case agent.Sysdig:
		userland, _ := m.Userlands.Get(c.Userland.V)
		pkg, err := r.Find(ctx, matrix.Values(userland.Suites), "sysdig")
		if err != nil {
			return vocabulary{}, err
		}
		d := rules.SysdigDialect(pkg.Version)
		return vocabulary{name: "sysdig " + pkg.Version, fields: d.Fields, write: d.Filter}, nil
	}
	return vocabulary{name: "consumer " + c.Kind.V, fields: rules.Falco, write: plainly}, nil
}

// rulesFor finds the rule of each scenario in set, as the consumer takes it. A scenario whose rule, or what it expects of an
// alert, the consumer has no means for, or the driver no events, is unable: no kernel could make it pass. A rule that is
// wrong for whatever consumer, or that somebody disabled, is an error.
func rulesFor(scens []scenarios.Scenario, set *rules.Set, v vocabulary) (take map[string]Rule, unable map[string]*cause.Err, err error) {
	take, unable = map[string]Rule{}, map[string]*cause.Err{}
	lacks := func(s scenarios.Scenario, why any) {
		unable[s.Name] = &cause.Err{
			Finding: cause.Finding{State: cause.Unsupported, Cause: cause.RuleUnsupported, Fault: cause.FaultHarness},
			What:    fmt.Sprintf("scenario %s: %s cannot evaluate rule %q: %v", s.Name, v.name, s.Rule, why),
		}
	}
	for _, s := range scens {
		r, err := set.Rule(s.Rule)
		if e := foreign(s, r, err); e != nil {
			unable[s.Name] = e
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
		res := r.Compile(v.fields)
		switch res.State {
		case rules.Broken:
			return nil, nil, fmt.Errorf("scenario %s: rule %q: %w", s.Name, r.Name, res.Reason)
		case rules.Disabled:
			return nil, nil, fmt.Errorf("scenario %s: its rule %q is not enabled", s.Name, r.Name)
		case rules.Unsupported:
			lacks(s, res.Reason)
			continue
		}
		condition, err := v.write(r.Expr)
		if err != nil {
			lacks(s, err)
			continue
		}
		if t := v.untold(r.Expr); t != "" {
			lacks(s, fmt.Sprintf("it needs events of type %s, which the driver does not tell of", t))
			continue
		}
		if f := lackingField(v.fields, s); f != "" {
			lacks(s, fmt.Sprintf("the scenario expects the field %s of its alert, which the consumer does not have", f))
			continue
		}
		fields := slices.DeleteFunc(r.Fields(), func(f string) bool { return slices.Contains(res.Lacks, f) || rules.FilterOnly(f) })
		take[s.Rule] = Rule{r, condition, fields}
	}
	return take, unable, nil
}

// lackingField is a field that s expects and fields do not have, or "".
func lackingField(fields rules.Schema, s scenarios.Scenario) string {
	for _, f := range slices.Sorted(fieldsOf(s)) {
		name, _, _ := strings.Cut(f, "[")
		if _, ok := fields.Field(name); !ok {
			return f
		}
	}
	return ""
}
