// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// The suites that are run in guests load, and what a test does survives the way there.
func TestOfSuite(t *testing.T) {
	for file, want := range map[string]int{"suite-files.yaml": 7, "suite-container.yaml": 2} {
		data, err := os.ReadFile("../testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		list, err := OfSuite("testdata/"+file, data)
		if err != nil || len(list) != want {
			t.Fatalf("%s: %d scenarios, want %d: %v", file, len(list), want, err)
		}
		for _, s := range list {
			if !nameForm().MatchString(s.Name) {
				t.Errorf("the name %q", s.Name)
			}
			d, err := s.AttackDeed(attackID, nil)
			if err != nil {
				t.Fatal(err)
			}
			wire, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := ReadDeed(bytes.NewReader(wire)); err != nil || !reflect.DeepEqual(back, d) {
				t.Errorf("%s came back as %+v, %v", s.Name, back, err)
			}
		}
	}
}

// That an alert lacks a field is not that the field is empty.
func TestCompareOfAFieldThatIsNotThere(t *testing.T) {
	s := Scenario{Rule: "R", Expect: Expect{Fields: map[string]string{"proc.args": ""}}, Foreign: &Foreign{}}
	for want, fields := range map[int]map[string]string{0: {"proc.args": ""}, 1: {}} {
		a := Alert{Rule: "R", Fields: fields}
		a.Fields["proc.env"] = EnvID + "=" + attackID
		o := Observation{AttackID: attackID, AttackAlerts: []Alert{a}, AttackFence: true}
		if got := Compare(s, o); len(got) != 1 || len(got[0]) != want {
			t.Errorf("%v: compared: %+v, want %d wrong", fields, got, want)
		}
		if v := Judge(s, o); (v.Cause == cause.EventFieldWrong) != (want == 1) {
			t.Errorf("%v: %s %s", fields, v.State, v.Cause)
		}
	}
}

// A scenario's own file cannot name what suites are made of.
func TestSuiteIsNoStepOfAScenario(t *testing.T) {
	if _, err := Parse("x.yaml", []byte("name: x\nrule: R\ncontext: host\nattack:\n  - suite: {}\n")); err == nil {
		t.Error("it was taken")
	}
}

func TestJudgeOfASuite(t *testing.T) {
	list, err := OfSuite("s.yaml", []byte(`tests:
  - name: t
    runner: HostRunner
    rule: R
    steps: [{type: syscall, name: s, syscall: open, args: {pathname: /x, flags: O_RDONLY}}]
    expectedOutcome: {outputFields: {fd.name: "${x}", evt.type: open}}
`))
	if err != nil {
		t.Fatal(err)
	}
	alert := func(rule, id, name string) Alert {
		return Alert{Rule: rule, Fields: map[string]string{"proc.env": EnvID + "=" + id, "fd.name": name, "evt.type": "open"}}
	}
	good, bad := alert("R", attackID, "${x}"), alert("R", attackID, "/y")
	for _, c := range []struct {
		name   string
		alerts []Alert
		fence  bool
		drops  uint64
		want   cause.Cause
		passes bool
	}{
		{"one as expected", []Alert{good}, true, 0, "", true},
		{"one of several", []Alert{bad, good}, true, 0, "", true},
		{"none as expected", []Alert{bad}, true, 0, cause.EventFieldWrong, false},
		{"another's", []Alert{alert("R", twinID, "${x}")}, true, 0, cause.RuleSilent, false},
		{"of another rule", []Alert{alert("Q", attackID, "${x}")}, true, 0, cause.RuleSilent, false},
		{"silence that nothing proves", nil, false, 0, cause.NoEvents, false},
		{"silence while events were lost", nil, true, 1, cause.EventDrops, false},
	} {
		v := Judge(list[0], Observation{AttackID: attackID, AttackAlerts: c.alerts, AttackFence: c.fence, Drops: c.drops})
		if v.Cause != c.want || (v.State == cause.Pass) != c.passes {
			t.Errorf("%s: %s %s, want %q", c.name, v.State, v.Cause, c.want)
		}
	}
	if got := Compare(list[0], Observation{AttackID: attackID, AttackAlerts: []Alert{bad, good}}); !reflect.DeepEqual(got, [][]Wrong{{{"fd.name", "${x}", "/y"}}, {}}) {
		t.Errorf("compared: %+v", got)
	}
}
