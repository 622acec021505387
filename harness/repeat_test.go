// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// sighted is an agent whose consumer fires the rule for every attack, but for one of them. A scenario's twin is done before its
// attack.
type sighted struct {
	lossy
	rule  string
	deeds int
	blind int // the attack that it does not see, from 1; 0: it sees all
}

func (s *sighted) RunDeed(ctx context.Context, r *wire.RunDeedRequest) (*wire.RunDeedReply, error) {
	out, err := s.lossy.RunDeed(ctx, r)
	if s.deeds++; err != nil || s.deeds%2 == 1 || s.deeds/2 == s.blind {
		return out, err
	}
	var d scenarios.Deed
	if err := json.Unmarshal(r.GetRequest(), &d); err != nil {
		return nil, err
	}
	fields := map[string]string{"proc.env": scenarios.EnvID + "=" + d.ID, "evt.type": "openat", "fd.name": "/etc/shadow"}
	out.Matches = append(out.Matches, &wire.Match{Watch: s.rule, Fields: fields})
	return out, nil
}

// repeated is a cell of one scenario that is done that often; what it expects is left out.
func repeated(t *testing.T, times int) (*cellRun, scenarios.Scenario, *verdicts) {
	t.Helper()
	c := stableCell(t, "mews-modern")
	i := slices.IndexFunc(c.Scenarios, func(s scenarios.Scenario) bool { return s.Name == "read-sensitive" })
	s := c.Scenarios[i]
	s.Expect.Fields = nil
	c.Scenarios, c.Unable, c.Repeat = []scenarios.Scenario{s}, nil, times
	v := &verdicts{of: map[string]results.Scenario{}}
	c.rec = v
	return c, s, v
}

func TestOnlyTheSameVerdictEveryTimeIsAPass(t *testing.T) {
	for _, tc := range []struct {
		blind  int
		same   string
		passes bool
	}{{0, "20 of 20", true}, {7, "19 of 20", false}, {1, "19 of 20", false}, {20, "19 of 20", false}} {
		c, s, v := repeated(t, 20)
		far := &sighted{rule: s.Rule, blind: tc.blind}
		note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
		got := v.of[s.Name]
		if far.deeds != 40 || got.Repeats == nil || got.Repeats.String() != tc.same {
			t.Fatalf("blind at %d: %d deeds, the same %s times; want 40, %s", tc.blind, far.deeds, got.Repeats, tc.same)
		}
		if passes := got.State == cause.Pass && err == nil; passes != tc.passes {
			t.Errorf("blind at %d: %s %s; the stage: %v", tc.blind, got.State, got.Cause, err)
		}
		if !tc.passes && (cause.Of(err).Cause != cause.FlakeSuspected || len(got.Repeats.Outcomes) != 2 || got.Repeats.Outcomes[1].At[0] != tc.blind) {
			t.Errorf("blind at %d: the stage is %v, with the outcomes %+v", tc.blind, err, got.Repeats.Outcomes)
		}
		if want := "; each 20 times, one after another in one boot"; len(note) < len(want) || note[len(note)-len(want):] != want {
			t.Errorf("note %q", note)
		}
	}
}

// Clones end in any order, and are taken into account in the order of their times; nothing is recorded before all have ended.
func TestClonesOfAScenarioAreRecordedTogether(t *testing.T) {
	pass := func() *outcome {
		o := &outcome{seen: scenarios.Observation{AttackID: scenarios.NewID()}}
		o.total.Events = 5
		o.verdict = scenarios.Verdict{Finding: cause.Finding{State: cause.Pass}, Fired: 1}
		return o
	}
	silent := pass()
	silent.verdict = scenarios.Verdict{Finding: cause.Of(cause.Failf(cause.RuleSilent, cause.FaultDriver, "nothing came"))}
	for _, tc := range []struct {
		name  string
		third *outcome
		want  cause.Cause
	}{{"all pass", pass(), ""}, {"one is silent", silent, cause.FlakeSuspected}} {
		c, s, v := repeated(t, 4)
		var sum tally
		times := []*outcome{pass(), pass(), tc.third, pass()}
		for n := 1; n <= len(times); n++ {
			if _, early := v.of[s.Name]; early {
				t.Fatalf("%s: recorded after %d times", tc.name, n-1)
			}
			if err := c.settle(s, times[:n], &sum); err != nil {
				t.Fatal(err)
			}
		}
		if got := v.of[s.Name]; got.Cause != tc.want || got.Repeats == nil || got.Repeats.Times != 4 || sum.events != 20 || sum.passed != map[bool]int{true: 1}[tc.want == ""] {
			t.Errorf("%s: %s %s, %v; %+v", tc.name, got.State, got.Cause, got.Repeats, sum)
		}
	}

	// A guest that was lost leaves the scenario without a verdict: three times are not four.
	c, s, v := repeated(t, 4)
	var sum tally
	lost := &outcome{err: errors.New("it is gone")}
	times := []*outcome{pass(), lost, pass(), pass()}
	for n := 1; n <= len(times); n++ {
		if err := c.settle(s, times[:n], &sum); (err != nil) != (n == 2) {
			t.Errorf("after %d times: %v", n, err)
		}
	}
	if len(v.of) != 0 {
		t.Errorf("recorded %+v", v.of)
	}
}
