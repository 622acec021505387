// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/ttrpc"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// stableCell is a cell of profile stable, which has many rules.
func stableCell(t *testing.T, driver string) *cellRun {
	t.Helper()
	m, cat := shippedMatrix(t)
	p, err := MakePlan(t.Context(), m, Selection{Profile: "stable", Kernels: []string{"debian-7"}, Drivers: []string{driver}}, cat, testIndex())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Cells) != 1 || cause.Of(p.Cells[0].Err).State != cause.Pass {
		t.Fatalf("cells %s", ids(p))
	}
	return &cellRun{Cell: p.Cells[0]}
}

// One consumer watches for all rules at once, with every field that any of a rule's scenarios is judged by.
func TestWatching(t *testing.T) {
	for _, driver := range []string{"falco-kmod", "mews-modern"} {
		c := stableCell(t, driver)
		spec := c.watching()
		if len(spec.Watches) != len(c.Rules) || len(c.Rules) < 10 || len(c.able()) != len(c.Scenarios) {
			t.Errorf("%s: %d watches for %d rules, %d of %d scenarios", driver, len(spec.Watches), len(c.Rules), len(c.able()), len(c.Scenarios))
		}
		for _, s := range c.Scenarios {
			w := slices.IndexFunc(spec.Watches, func(w consumer.Watch) bool { return w.Name == s.Rule })
			if w < 0 {
				t.Fatalf("%s: nothing watches for %s", driver, s.Rule)
			}
			for f := range fieldsOf(s) {
				if !slices.Contains(spec.Watches[w].Fields, f) {
					t.Errorf("%s: the watch for %s does not report %s", driver, s.Rule, f)
				}
			}
		}
	}
	// The events of a cell without scenarios are checked under a consumer too.
	if c := (&cellRun{Cell: &Cell{}}); len(c.able()) != 0 || len(c.watching().Watches) != 0 {
		t.Errorf("a cell without scenarios watches for %+v", c.watching())
	}
}

// Two scenarios of one rule share a watch, which reports what either of them expects.
func TestWatchHasTheFieldsOfAllItsScenarios(t *testing.T) {
	c := stableCell(t, "falco-kmod")
	one, other := c.Scenarios[0], c.Scenarios[0]
	other.Expect.Fields = map[string]string{"proc.vpid": "1"}
	c.Scenarios = []scenarios.Scenario{one, other}
	spec := c.watching()
	if len(spec.Watches) != 1 || !slices.Contains(spec.Watches[0].Fields, "proc.vpid") || !slices.Contains(spec.Watches[0].Fields, "proc.exepath") {
		t.Errorf("watches %+v", spec.Watches)
	}
}

// lossy is an agent whose consumer runs, sees nothing of any deed, and loses events.
type lossy struct {
	wire.AgentService // nil: no other call is expected
	drops             uint64
	stopped           bool
	deeds             int
	skipping          int // the deed during which the kernel skips a program
}

func (l *lossy) Hello(context.Context, *wire.Empty) (*wire.HelloReply, error) {
	return &wire.HelloReply{Release: "7.3.4", Machine: "x86_64"}, nil
}

func (l *lossy) RunDeed(_ context.Context, r *wire.RunDeedRequest) (*wire.RunDeedReply, error) {
	var d scenarios.Deed
	if err := json.Unmarshal(r.GetRequest(), &d); err != nil || l.stopped {
		return nil, errors.Join(errors.New("nobody watches"), err)
	}
	res := scenarios.Result{ID: d.ID, PID: 9, Want: len(d.Steps)}
	for range d.Steps {
		res.Steps = append(res.Steps, scenarios.StepResult{OK: true})
	}
	out, err := json.Marshal(res)
	reply := &wire.RunDeedReply{Result: out, Fence: true}
	if l.deeds++; l.deeds == l.skipping {
		reply.Skipped = []*wire.Skipped{{Program: "sys_exit", Calls: 6}}
	}
	return reply, err
}

func (l *lossy) StopConsumer(context.Context, *wire.Empty) (*wire.StopConsumerReply, error) {
	l.stopped = true
	return &wire.StopConsumerReply{Events: 10, Drops: l.drops}, nil
}

// clientOf speaks with an agent until the test ends.
func clientOf(t *testing.T, a wire.AgentService) *agent.Client {
	t.Helper()
	at, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := ttrpc.NewServer()
	if err != nil {
		t.Fatal(err)
	}
	wire.RegisterAgentService(server, a)
	go server.Serve(t.Context(), at)
	t.Cleanup(func() { server.Close() })
	conn, err := net.Dial("unix", at.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := agent.Dial(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// callOf calls without a limit.
func callOf(t *testing.T) call {
	return func(_ time.Duration, f func(context.Context) error) error { return f(t.Context()) }
}

// verdicts is a recorder that keeps the scenarios'.
type verdicts struct {
	notes
	of map[string]results.Scenario
}

func (v *verdicts) Scenario(s results.Scenario) error { v.of[s.Name] = s; return nil }

// Nothing is said of a silence before the totals are known, and where events were lost it proves nothing.
func TestDropsTakeTheProofFromSilence(t *testing.T) {
	for drops, want := range map[uint64]cause.Cause{0: cause.RuleSilent, 3: cause.EventDrops} {
		far := &lossy{drops: drops}
		c := stableCell(t, "falco-kmod")
		v := &verdicts{of: map[string]results.Scenario{}}
		c.rec = v
		note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
		if cause.Of(err).Cause != want {
			t.Errorf("%d drops: the stage is %v, want %s", drops, err, want)
		}
		if said := fmt.Sprintf("0 of %d as expected; 10 events, %d drops", len(c.Scenarios), drops); note != said || !far.stopped {
			t.Errorf("note %q, want %q; stopped: %t", note, said, far.stopped)
		}
		for _, s := range c.Scenarios {
			if got := v.of[s.Name]; got.Cause != want {
				t.Errorf("%d drops: %s is %s %s, want %s", drops, s.Name, got.State, got.Cause, want)
			}
		}
	}
}

// A silence during which the kernel skipped the driver's programs is not the rule's, and says nothing of the others'.
func TestSkippedProgramsCountForTheirOwnScenario(t *testing.T) {
	const second = 4 // its attack: each has a twin before it
	far := &lossy{skipping: second}
	c := stableCell(t, "mews-modern")
	v := &verdicts{of: map[string]results.Scenario{}}
	c.rec = v
	note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
	if cause.Of(err).State != cause.Fail || !strings.HasSuffix(note, ", and 6 for which the kernel did not run the driver's programs") {
		t.Errorf("%s: %v", note, err)
	}
	for i, s := range c.able() {
		want := cause.RuleSilent
		if i == second/2-1 {
			want = cause.EventDrops
		}
		got := v.of[s.Name]
		if got.State != cause.Fail || got.Cause != want {
			t.Errorf("%s is %s %s, want %s", s.Name, got.State, got.Cause, want)
		}
		if n := slices.IndexFunc(got.Evidence, func(e cause.Evidence) bool {
			return strings.Contains(e.Text, "kernel 7.3.4 did not run program sys_exit for 6 events")
		}); (n >= 0) != (want == cause.EventDrops) {
			t.Errorf("%s: evidence %v", s.Name, got.Evidence)
		}
	}
}
