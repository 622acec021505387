// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// fieldsOf are the fields that a verdict on s needs beside those of the rule: who did it, and what is expected.
func fieldsOf(s scenarios.Scenario) iter.Seq[string] {
	want := maps.Clone(s.Expect.Fields)
	if want == nil {
		want = map[string]string{}
	}
	// The deed's id is in one of the first two; in the others the drivers of a kernel must agree.
	for _, f := range []string{"proc.env", "proc.exepath", "proc.name", "evt.type", "fd.name"} {
		want[f] = ""
	}
	return maps.Keys(want)
}

// scenarios does every attack and its twin under the consumer that runs already, ends the watch, and judges. A scenario
// that falls short does not keep the others from their verdicts; the stage is as bad as the worst of them. One that the
// consumer has no means for is known to be unsupported before, and says nothing about the others: only if there are no
// others is the stage.
func (c *cellRun) scenarios(call call, g *guest) (string, error) {
	var sum tally
	unable, err := c.recordUnable()
	if err != nil {
		return "", err
	}
	if err := c.inOne(call, g, &sum); err != nil {
		return "", err
	}
	note, err := c.summary(sum, unable)
	if n := c.times(); n > 1 {
		note += fmt.Sprintf("; each %d times, one after another in one boot", n)
	}
	return note, err
}

// times is how often each scenario is done.
func (c *cellRun) times() int { return max(1, c.Repeat) }

// recordUnable records the scenarios that the consumer or the kernel has no means for, and returns why of one of them.
func (c *cellRun) recordUnable() (unable, err error) {
	for _, s := range c.Scenarios {
		if e := c.Unable[s.Name]; e != nil {
			r := results.EndScenario(s.Name, s.Rule, 0, 0, nil, e)
			r.Suite = suiteTest(s, scenarios.Observation{})
			if err := c.rec.Scenario(r); err != nil {
				return nil, broken{err}
			}
			unable = e
		}
	}
	return unable, nil
}

// summary is what the stage comes to.
func (c *cellRun) summary(sum tally, unable error) (string, error) {
	note := fmt.Sprintf("%d of %d as expected; %d events, %d drops", sum.passed, len(c.Scenarios), sum.events, sum.drops)
	if sum.skipped > 0 {
		note += fmt.Sprintf(", and %d for which the kernel did not run the driver's programs", sum.skipped)
	}
	if len(c.Unable) > 0 {
		note += fmt.Sprintf("; for %d the consumer or the kernel has no means", len(c.Unable))
	}
	if len(c.Unable) == len(c.Scenarios) {
		return note, unable
	}
	return note, sum.worst
}

// where tells from the field that a consumer has for it whether an alert was of a container, in the one field that all
// of them can be compared in.
func where(fields map[string]string) {
	if id, ok := fields[containerField[agent.Native]]; ok {
		fields[results.FieldContext] = "container"
		if id == "host" {
			fields[results.FieldContext] = "host"
		}
		return
	}
	if groups, ok := fields[containerField[agent.Sysdig]]; ok {
		fields[results.FieldContext] = "host"
		if inContainer.MatchString(groups) {
			fields[results.FieldContext] = "container"
		}
	}
}

// containerField is where a consumer tells the container of a process: sysdig has no container.* any more.
var containerField = map[string]string{agent.Native: "container.id", agent.Falco: "container.id", agent.Sysdig: "thread.cgroups"}

// inContainer matches the cgroups that engines make, as the macro container of scenarios/rules/sysdig.yaml does.
var inContainer = regexp.MustCompile(`/docker[/-]|/kubepods|/cri-containerd-|/crio-|/libpod|/default/|/nerdctl-`)

// call is a call of the agent, within a limit.
type call func(limit time.Duration, f func(context.Context) error) error

// tally is what the scenarios came to until now.
type tally struct {
	passed        int
	events, drops uint64
	skipped       uint64 // events for which the kernel did not run the driver's programs
	worst         error
}

// inOne does all scenarios in g. Nothing is judged before the consumer's totals are known: where events were dropped, a
// silence proves nothing.
func (c *cellRun) inOne(call call, g *guest, sum *tally) error {
	able := c.able()
	seen := make([][]scenarios.Observation, len(able))
	for i, s := range able {
		for range c.times() {
			o, err := c.observe(call, g, s)
			if err != nil {
				return err
			}
			seen[i] = append(seen[i], o)
		}
	}
	var total consumer.Stats
	if err := call(startLimit, func(ctx context.Context) (err error) {
		total, err = g.c.StopConsumer(ctx)
		return err
	}); err != nil {
		return err
	}
	sum.events += total.Events
	sum.drops += total.Drops
	for i, s := range able {
		var all []results.Scenario
		for _, o := range seen[i] {
			o.Drops += total.Drops
			sum.skipped += o.Skipped
			all = append(all, record(s, o, scenarios.Judge(s, o)))
		}
		if err := c.judged(s, all, sum); err != nil {
			return err
		}
	}
	return nil
}

// record is what is recorded of one time that a scenario was done.
func record(s scenarios.Scenario, seen scenarios.Observation, v scenarios.Verdict) results.Scenario {
	r := results.Scenario{Name: s.Name, Finding: v.Finding, Rule: s.Rule, Fired: v.Fired, TwinFired: v.TwinFired, Fields: v.Fields, DeedID: seen.AttackID, Suite: suiteTest(s, seen)}
	where(r.Fields)
	return r
}

// judged records the verdict on a scenario by all the times that it was done.
func (c *cellRun) judged(s scenarios.Scenario, times []results.Scenario, sum *tally) error {
	r := times[0]
	if c.times() > 1 {
		r = results.Repeat(times)
	}
	if err := c.rec.Scenario(r); err != nil {
		return broken{err}
	}
	if r.State == cause.Pass {
		sum.passed++
	} else if e := (&cause.Err{Finding: r.Finding, What: "scenario " + s.Name}); sum.worst == nil || r.State == cause.Fail && cause.Of(sum.worst).State != cause.Fail {
		sum.worst = e
	}
	return nil
}

// observe does one scenario's twin and its attack. The error is of a guest that was lost, not of a rule that kept silent.
func (c *cellRun) observe(call call, g *guest, s scenarios.Scenario) (scenarios.Observation, error) {
	o := scenarios.Observation{AttackID: c.deedID(s, attackSide), TwinID: c.deedID(s, twinSide)}
	for _, side := range []struct {
		name   string
		id     string
		deed   func(id string, vars map[string]string) (scenarios.Deed, error)
		done   *error
		fence  *bool
		alerts *[]scenarios.Alert
		skips  *[]cause.Evidence
	}{
		{twinSide, o.TwinID, s.TwinDeed, &o.TwinDone, &o.TwinFence, &o.TwinAlerts, &o.TwinSkipped},
		{attackSide, o.AttackID, s.AttackDeed, &o.AttackDone, &o.AttackFence, &o.AttackAlerts, &o.AttackSkipped},
	} {
		if s.Foreign != nil && side.name == twinSide {
			continue // it has none
		}
		deed, err := side.deed(side.id, nil)
		if err != nil {
			return o, err
		}
		req, err := json.Marshal(deed)
		if err != nil {
			return o, err
		}
		var rep agent.DeedReport
		if err := call(deedLimit, func(ctx context.Context) error {
			rep, err = g.c.RunDeed(ctx, agent.Deed{ID: side.id, Context: string(deed.Context), Request: req, Leave: g.thrown})
			return err
		}); err != nil {
			return o, killed(s.Name+"'s "+side.name, err)
		}
		*side.done, *side.fence = deedDone(rep, s.Needs), rep.Fence
		*side.skips = skipped.Evidence(g.c.Hello().Release, rep.Skipped)
		o.Skipped += skipped.Sum(rep.Skipped)
		o.Drops += rep.Beyond // more matches than are kept: the alert that decides may be among the rest
		for _, m := range rep.Matches {
			*side.alerts = append(*side.alerts, scenarios.Alert{Rule: m.Watch, Fields: m.Fields})
		}
		if err := c.rec.Alerts(s.Name, side.name, *side.alerts); err != nil {
			return o, broken{err}
		}
	}
	return o, nil
}

// deedDone is nil only if the acting process says that it did every step. What the scenario needs and the kernel refuses with
// proof cannot be done there.
func deedDone(rep agent.DeedReport, needs scenarios.Needs) error {
	if len(rep.Result) == 0 {
		if rep.Failure != nil {
			return rep.Failure
		}
		return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the acting process said nothing of what it did")
	}
	var res scenarios.Result
	if err := json.Unmarshal(rep.Result, &res); err != nil {
		return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the acting process's result is not readable: %w", err)
	}
	for _, st := range res.Steps {
		if err := refused(st, needs); err != nil {
			return err
		}
	}
	if err := res.Err(); err != nil {
		return err
	}
	// Done, but mews could not clear up after it: what it left is there for the next to see.
	if cause.Of(rep.Failure).Cause == cause.Internal {
		return rep.Failure
	}
	return nil
}

// complaints is a fail when the kernel complained, in its log or on its console, and nothing excuses it; what is excused
// is named in the note. The console is the second witness: what it printed cannot be overwritten by what came after.
func complaints(lines []agent.KernelLine, console []splat.Splat, allow []splat.Allowance, now time.Time) (note string, err error) {
	var log strings.Builder
	for _, l := range lines {
		log.WriteString(l.Text)
		log.WriteByte('\n')
	}
	denied, excused := splat.Sort(append(splat.Scan("dmesg.log", log.String()), console...), allow, now)
	var titles []string // the console repeats the log
	for _, e := range excused {
		if !slices.Contains(titles, e.Title) {
			titles = append(titles, e.Title)
			note += fmt.Sprintf("; allowed to %s (%s): %s", e.Until.AddDate(0, 0, -1).Format(time.DateOnly), e.Reason, e.Title)
		}
	}
	if len(denied) == 0 {
		return note, nil
	}
	return note, cause.Failf(cause.KernelSplat, cause.FaultDriver, "the kernel complained while the driver was loaded: %s", denied[0].Title).With(denied[0].Lines...)
}

// allowances are the entries of allow_splats that are about a cell.
func allowances(list []matrix.Allowed, e matrix.Kernel, k *kernels.Resolved, driver string) []splat.Allowance {
	var out []splat.Allowance
	for _, a := range list {
		kernel := matches(matrix.Values(a.Kernels), e.Name) || k != nil && selected(matrix.Values(a.Kernels), e, k.Kernel)
		if kernel && matches(matrix.Values(a.Drivers), driver) {
			out = append(out, a.Allowance())
		}
	}
	return out
}
