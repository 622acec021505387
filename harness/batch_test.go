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

// stableCell is a cell of profile stable, whose rules are more than Falco's module has room for.
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

func TestBatches(t *testing.T) {
	c := stableCell(t, "falco-kmod")
	batches := c.batches()
	if len(c.Rules) <= maxRules || len(batches) < 2 {
		t.Fatalf("%d rules in %d batches: nothing is divided", len(c.Rules), len(batches))
	}
	var all []string
	for i, b := range batches {
		spec := c.consumer(b)
		if n := len(spec.Watches); spec.Kind != agent.Sysdig || n == 0 || n > maxRules {
			t.Errorf("batch %d has %d watches for %s", i, n, spec.Kind)
		}
		for _, s := range b {
			all = append(all, s.Name)
			w := slices.IndexFunc(spec.Watches, func(w consumer.Watch) bool { return w.Name == s.Rule })
			if w < 0 {
				t.Fatalf("batch %d does not watch for %s", i, s.Rule)
			}
			for f := range fieldsOf(s) {
				if !slices.Contains(spec.Watches[w].Fields, f) {
					t.Errorf("batch %d: the watch for %s does not report %s", i, s.Rule, f)
				}
			}
		}
	}
	var want []string
	for _, s := range c.Scenarios {
		want = append(want, s.Name)
	}
	if !slices.Equal(all, want) {
		t.Errorf("the batches have %s, the cell has %s", strings.Join(all, " "), strings.Join(want, " "))
	}
	if n := len(stableCell(t, "mews-modern").batches()); n != 1 {
		t.Errorf("mews's own consumer watches for everything at once, and is started %d times", n)
	}
	if b := (&cellRun{Cell: &Cell{}}).batches(); len(b) != 1 || len(b[0]) != 0 {
		t.Errorf("a cell without scenarios has the batches %v: its events are checked under a consumer too", b)
	}
}

// Two scenarios of one rule share a watch, which reports what either of them expects.
func TestWatchHasTheFieldsOfAllItsScenarios(t *testing.T) {
	c := stableCell(t, "falco-kmod")
	one, other := c.Scenarios[0], c.Scenarios[0]
	other.Expect.Fields = map[string]string{"proc.vpid": "1"}
	spec := c.consumer([]scenarios.Scenario{one, other})
	if len(spec.Watches) != 1 || !slices.Contains(spec.Watches[0].Fields, "proc.vpid") || !slices.Contains(spec.Watches[0].Fields, "proc.exepath") {
		t.Errorf("watches %+v", spec.Watches)
	}
}

// lossy is an agent whose consumer sees nothing of any deed, and loses events in one of its starts.
type lossy struct {
	wire.AgentService // nil: no other call is expected
	running           bool
	starts            int
	losing            int // the start that loses
	deeds             int
	skipping          int // the deed during which the kernel skips a program
}

func (l *lossy) Hello(context.Context, *wire.Empty) (*wire.HelloReply, error) {
	return &wire.HelloReply{Release: "7.3.4", Machine: "x86_64"}, nil
}

func (l *lossy) StartConsumer(_ context.Context, r *wire.StartConsumerRequest) (*wire.StartConsumerReply, error) {
	if l.running || len(r.GetWatches()) > maxRules {
		return nil, errors.New("there is no room for it")
	}
	l.running = true
	l.starts++
	return &wire.StartConsumerReply{}, nil
}

func (l *lossy) RunDeed(_ context.Context, r *wire.RunDeedRequest) (*wire.RunDeedReply, error) {
	var d scenarios.Deed
	if err := json.Unmarshal(r.GetRequest(), &d); err != nil || !l.running {
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
	l.running = false
	reply := &wire.StopConsumerReply{Events: 10}
	if l.starts == l.losing {
		reply.Drops = 3
	}
	return reply, nil
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

// What is lost while the consumer watches for some rules takes nothing from the silence of the others.
func TestDropsCountForTheirOwnBatch(t *testing.T) {
	far := &lossy{running: true, starts: 1, losing: 2} // the stage before has started it for the first batch
	c := stableCell(t, "falco-kmod")
	v := &verdicts{of: map[string]results.Scenario{}}
	c.rec = v
	note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
	if cause.Of(err).Cause != cause.RuleSilent {
		t.Errorf("the stage is %v, as bad as the worst of them is RULE_SILENT", err)
	}
	batches := c.batches()
	if want := fmt.Sprintf("0 of %d as expected; %d events, 3 drops", len(c.Scenarios), 10*len(batches)); note != want {
		t.Errorf("note %q, want %q", note, want)
	}
	if far.starts != len(batches) || far.running {
		t.Errorf("%d starts for %d batches, still running: %v", far.starts, len(batches), far.running)
	}
	for i, b := range batches {
		want := cause.RuleSilent
		if i+1 == far.losing {
			want = cause.EventDrops
		}
		for _, s := range b {
			if got := v.of[s.Name]; got.Cause != want {
				t.Errorf("batch %d: %s is %s %s, want %s", i, s.Name, got.State, got.Cause, want)
			}
		}
	}
}

// A silence during which the kernel skipped the driver's programs is not the rule's, and says nothing of the others'.
func TestSkippedProgramsCountForTheirOwnScenario(t *testing.T) {
	const second = 4 // its attack: each has a twin before it
	far := &lossy{running: true, starts: 1, skipping: second}
	c := stableCell(t, "mews-modern")
	v := &verdicts{of: map[string]results.Scenario{}}
	c.rec = v
	note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
	if cause.Of(err).State != cause.Fail || !strings.HasSuffix(note, ", and 6 for which the kernel did not run the driver's programs") {
		t.Errorf("%s: %v", note, err)
	}
	for i, s := range c.batches()[0] {
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
