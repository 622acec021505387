// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/scenarios/suite"
)

// Foreign is the test of event-generator's that a scenario was made of. It has no twin: what it shows is that the rule
// fired, and nobody tried whether it fires always.
type Foreign struct {
	File string // the base name of the suite's
	Test suite.Test
}

// SuiteTest does a test of a suite. No scenario's file can name it.
type SuiteTest struct{ suite.Deed }

// Kind implements [Action].
func (SuiteTest) Kind() string { return "suite" }

// Do implements [Action].
func (a SuiteTest) Do(ctx context.Context) (Detail, error) { return Detail{FD: -1}, a.Deed.Do(ctx) }

func (SuiteTest) check() error { return nil }

func (a SuiteTest) fill(substitution) (Action, error) { return a, nil }

func (SuiteTest) needs() []string { return nil }

var notInNames = lazy.Regexp(`[^a-z0-9]+`)

// slug is text as a part of a scenario's name.
func slug(text string) string {
	return strings.Trim(notInNames().ReplaceAllString(strings.ToLower(text), "-"), "-")
}

// OfSuite makes a scenario of each test of a suite of event-generator's: FILE-TEST, and -N for the Nth of its cases.
func OfSuite(file string, data []byte) ([]Scenario, error) {
	tests, err := suite.Load(file, data)
	if err != nil {
		return nil, err
	}
	base := path.Base(file)
	var out []Scenario
	taken := map[string]int{}
	for _, t := range tests {
		name := slug(strings.TrimSuffix(base, path.Ext(base))) + "-" + slug(t.Name)
		if taken[name]++; t.Case != nil || taken[name] > 1 {
			name += "-" + strconv.Itoa(taken[name])
		}
		s := Scenario{
			Name: name, Rule: t.Rule, Description: t.Description, Context: Host,
			Attack:  []Step{{SuiteTest{t.Deed}}},
			Expect:  Expect{Priority: t.Expect.Priority, Fields: t.Expect.Fields},
			Foreign: &Foreign{File: base, Test: t},
		}
		if t.Container {
			s.Context = Container
		}
		out = append(out, s)
	}
	return out, nil
}

// Wrong is a field of an alert that is not as expected.
type Wrong struct{ Field, Expected, Got string }

// Compare is what each alert of the rule that carries the attack's id got wrong: nothing, if it is as expected.
func Compare(s Scenario, in Observation) [][]Wrong {
	j := judgement{s: s, in: in}
	want, err := s.fields(in.AttackID, in.Vars)
	if err != nil {
		return nil
	}
	var out [][]Wrong
	for _, a := range j.of(slices.Concat(in.TwinAlerts, in.AttackAlerts), in.AttackID) {
		wrong := []Wrong{}
		for _, f := range slices.Sorted(maps.Keys(want)) {
			if got, ok := a.Fields[f]; !ok || got != want[f] {
				wrong = append(wrong, Wrong{f, want[f], got})
			}
		}
		out = append(out, wrong)
	}
	return out
}

// asExpected reports whether an alert of a suite's test is what it expects: one is enough, whatever the others say.
func (j judgement) asExpected() bool {
	return j.s.Foreign != nil && slices.ContainsFunc(Compare(j.s, j.in), func(w []Wrong) bool { return len(w) == 0 })
}
