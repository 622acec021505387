// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

const aSuite = `tests:
  - name: can
    runner: HostRunner
    rule: Read sensitive file untrusted
    steps: &steps [{type: syscall, name: s, syscall: open, args: {pathname: /etc/shadow, flags: O_RDONLY}}]
    expectedOutcome: {priority: warning}
  - {name: rule, runner: HostRunner, rule: Nobody wrote this, resources: [{type: fd, subtype: pipe, name: p}]}
  - {name: priority, runner: HostRunner, rule: Read sensitive file untrusted, resources: [{type: fd, subtype: pipe, name: p}], expectedOutcome: {priority: notice}}
  - {name: script, runner: HostRunner, rule: Read sensitive file untrusted, before: "true", resources: [{type: fd, subtype: pipe, name: p}]}
`

func TestSuitesOfAPlan(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(file, []byte(aSuite), 0o600); err != nil {
		t.Fatal(err)
	}
	list, names, err := suites(Selection{Suites: []string{file}, Scenarios: []string{"a-*"}}, matrix.Profile{})
	if err != nil || strings.Join(names, " ") != "a-can a-rule a-priority a-script" || len(list) != 4 {
		t.Fatalf("%v %d %v", names, len(list), err)
	}
	set, err := scenarios.Rules("native")
	if err != nil {
		t.Fatal(err)
	}
	_, unable, err := rulesFor(list, set, vocabulary{name: "falco", fields: rules.Falco, write: plainly})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a-rule": "Nobody wrote this", "a-priority": `expects priority "notice"`, "a-script": "it has a script"} {
		e := unable[name]
		if e == nil || e.Cause != cause.SuiteUnsupported || e.State != cause.Unsupported || e.Check() != nil || !strings.Contains(e.Error(), want) {
			t.Errorf("%s: %v", name, e)
		}
	}
	if e := unable["a-can"]; e != nil {
		t.Errorf("a-can: %v", e)
	}
	for _, bad := range []Selection{{Suites: []string{file, file}}, {Suites: []string{file + ".none"}}} {
		if _, _, err := suites(bad, matrix.Profile{}); !errors.As(err, new(*UsageError)) {
			t.Errorf("%v: %v", bad.Suites, err)
		}
	}
}

// What --scenarios-dir brings would not be run beside --suite, and a test by the name of a scenario would be taken for it.
func TestSuitesBesideScenarios(t *testing.T) {
	m, cat := shippedMatrix(t)
	dir := t.TempDir()
	one := strings.Replace(aSuite, "name: can", "name: sensitive", 1)
	for name, text := range map[string]string{"a.yaml": aSuite, "read.yaml": one} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	apart, clash := filepath.Join(dir, "a.yaml"), filepath.Join(dir, "read.yaml")
	named := func(files ...string) *matrix.Matrix { // by the profile instead of the command line
		out := *m
		out.Profiles = slices.Clone(m.Profiles)
		for i := range out.Profiles {
			out.Profiles[i].Value.Suites = nil
			for _, f := range files {
				out.Profiles[i].Value.Suites = append(out.Profiles[i].Value.Suites, matrix.Str{V: f})
			}
		}
		return &out
	}
	for _, c := range []struct {
		name string
		m    *matrix.Matrix
		sel  Selection
		want string // "": a plan
	}{
		{"a suite", m, Selection{Suites: []string{apart}}, ""},
		{"beside the profile's", named(apart), Selection{}, ""},
		{"beside one's own, by the profile", named(apart), Selection{Beside: []string{"clear-log"}}, ""},
		{"beside one's own", m, Selection{Suites: []string{apart}, Beside: []string{"clear-log"}}, "--suite takes the place of all scenarios, those of --scenarios-dir too (clear-log)"},
		{"a scenario's name", m, Selection{Suites: []string{clash}}, "comes to the name read-sensitive, which a scenario has"},
		{"a scenario's name, by the profile", named(clash), Selection{}, "comes to the name read-sensitive, which a scenario has"},
	} {
		_, err := MakePlan(t.Context(), c.m, c.sel, cat, testIndex())
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, new(*UsageError)) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
