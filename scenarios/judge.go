// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Alert is what a consumer said: a rule that fired, and the fields of the event that fired it.
type Alert struct {
	Rule   string            `json:"rule"`
	Fields map[string]string `json:"fields"`
}

// Observation is what was seen of one scenario in one cell.
type Observation struct {
	// AttackID and TwinID are the ids that the deeds carried.
	AttackID, TwinID string
	// Vars are the overrides that the deeds were made with.
	Vars map[string]string
	// AttackDone and TwinDone are nil if the deed was done ([Result.Err]).
	AttackDone, TwinDone error
	// AttackAlerts and TwinAlerts came between the deed's start and its fence.
	AttackAlerts, TwinAlerts []Alert
	// AttackFence and TwinFence: the marker event made after the deed was seen, so that silence is proven.
	AttackFence, TwinFence bool
	// Drops counts the events that the driver or the consumer lost meanwhile.
	Drops uint64
	// AttackSkipped and TwinSkipped name the driver's programs that the kernel did not run though their event happened, between
	// the deed's start and its fence. No counter of a driver or a consumer knows of them.
	AttackSkipped, TwinSkipped []cause.Evidence
	Skipped                    uint64 // how often, both together
}

// Verdict is the finding, how often the rule fired for each deed, and the fields of the attack's first alert.
type Verdict struct {
	cause.Finding
	Fired, TwinFired int
	Fields           map[string]string
}

// Judge says what an observation proves. What is proven comes before what is in doubt: a false alarm stands
// though events were dropped, and silence is held against a driver only where nothing else explains it.
func Judge(s Scenario, in Observation) Verdict {
	j := judgement{s: s, in: in}
	// An alert counts for the deed whose id it carries, whenever it came: one that is late must not be lost.
	all := slices.Concat(in.TwinAlerts, in.AttackAlerts)
	attack, twin := j.of(all, in.AttackID), j.of(all, in.TwinID)
	v := Verdict{Fired: len(attack), TwinFired: len(twin)}
	if len(attack) > 0 {
		v.Fields = maps.Clone(attack[0].Fields)
		delete(v.Fields, "proc.env") // long, and of no use to a reader
	}
	if s.Foreign != nil {
		// There is no twin: nothing of one is in doubt.
		j.in.TwinID, j.in.TwinDone, j.in.TwinFence = "none", nil, true
		twin = nil
	}
	v.Finding = j.finding(attack, twin)
	return v
}

type judgement struct {
	s  Scenario
	in Observation
}

// of are the alerts of the scenario's rule that carry id.
func (j judgement) of(alerts []Alert, id string) []Alert {
	var out []Alert
	for _, a := range alerts {
		if a.Rule == j.s.Rule && carries(a, id) {
			out = append(out, a)
		}
	}
	return out
}

// carries reports whether an event was of a process of the deed: its environment has the id, or the path of its
// executable does. That it came at the right time says nothing.
func carries(a Alert, id string) bool {
	if id == "" {
		return false
	}
	for env := a.Fields["proc.env"]; ; {
		_, after, found := strings.Cut(env, EnvID+"="+id)
		if !found {
			break
		}
		// The id must end there: another may begin with it.
		if after == "" || !strings.Contains("0123456789abcdef", after[:1]) {
			return true
		}
		env = after
	}
	return strings.Contains(a.Fields["proc.exepath"], id)
}

func (j judgement) finding(attack, twin []Alert) cause.Finding {
	in := j.in
	if in.AttackID == in.TwinID || in.AttackID == "" || in.TwinID == "" {
		return finding(cause.Error, cause.Internal, cause.FaultHarness,
			fmt.Sprintf("the attack's id %q and the twin's %q do not tell them apart", in.AttackID, in.TwinID))
	}
	if f, broken := done("attack", in.AttackDone); broken {
		return f
	}
	if f, broken := done("twin", in.TwinDone); broken {
		return f
	}
	wrong, err := j.differences(attack)
	if j.asExpected() {
		wrong = nil
	}
	switch {
	case err != nil:
		return finding(cause.Error, cause.ScenarioBroken, cause.FaultScenario, err.Error())
	case len(twin) > 0:
		return finding(cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver,
			append([]string{fmt.Sprintf("rule %q fired %d times for the harmless twin and %d times for the attack", j.s.Rule, len(twin), len(attack))}, describe(twin[0])...)...)
	case len(wrong) > 0:
		f := finding(cause.Fail, cause.EventFieldWrong, cause.FaultDriver, wrong...)
		f.Evidence = append(f.Evidence, in.AttackSkipped...) // what a field is made of may have been among them
		return f
	case len(attack) == 0 && len(in.AttackSkipped) > 0:
		return j.skipped("attack", in.AttackSkipped, len(attack))
	case len(attack) == 0 && in.AttackFence && in.Drops == 0:
		return finding(cause.Fail, cause.RuleSilent, cause.FaultDriver,
			fmt.Sprintf("rule %q did not fire: the attack was done and the marker after it was seen, no event was lost", j.s.Rule),
			j.strangers())
	case len(in.TwinSkipped) > 0:
		return j.skipped("twin", in.TwinSkipped, len(attack))
	case in.Drops > 0: // of the attack's alert, or of the twin's silence
		return finding(cause.Error, cause.EventDrops, cause.FaultInfra,
			fmt.Sprintf("%d events were lost meanwhile: that the rule fired %d times for the attack and %d for the twin proves nothing", in.Drops, len(attack), len(twin)))
	case len(attack) == 0:
		return j.unseen("attack", in.AttackID)
	case !in.TwinFence:
		return j.unseen("twin", in.TwinID)
	}
	return cause.Finding{State: cause.Pass}
}

// skipped: the kernel did not run programs of the driver, so that silence is not the rule's. Nobody's buffer is at fault.
func (j judgement) skipped(which string, programs []cause.Evidence, fired int) cause.Finding {
	f := finding(cause.Fail, cause.EventDrops, cause.FaultDriver,
		fmt.Sprintf("during the %s events happened for which the driver's programs were not run: that rule %q fired %d times for the attack and never for the twin proves nothing", which, j.s.Rule, fired))
	f.Evidence = append(f.Evidence, programs...)
	return f
}

// done is the finding of a deed that was not done.
func done(which string, err error) (cause.Finding, bool) {
	if err == nil {
		return cause.Finding{}, false
	}
	if f := cause.Of(err); f.State == cause.Unsupported {
		return f, true // the kernel cannot do it, and said so
	}
	why := cause.Of(err)
	code, fault := cause.ScenarioBroken, cause.FaultScenario
	switch {
	case why.Cause == cause.ScenarioTimeout || why.Cause == cause.ScenarioLimit:
		code = why.Cause
	case errors.As(err, new(*cause.Err)) && why.Cause == cause.Internal:
		code, fault = why.Cause, why.Fault // mews could not even begin it: no author can mend that
	}
	f := finding(cause.Error, code, fault, "the "+which+" was not done")
	f.Evidence = append(f.Evidence, why.Evidence...)
	return f, true
}

// unseen: no marker came, so that nobody knows whether the consumer still saw events at all.
func (j judgement) unseen(which, id string) cause.Finding {
	return finding(cause.Error, cause.NoEvents, cause.FaultHarness,
		fmt.Sprintf("the marker event after the %s (%s=%s) was not seen, so that the rule's silence proves nothing", which, EnvID, id))
}

// strangers says how many alerts of the rule carried no id of ours: near misses that a reader asks about.
func (j judgement) strangers() string {
	n := 0
	for _, a := range slices.Concat(j.in.AttackAlerts, j.in.TwinAlerts) {
		if a.Rule == j.s.Rule {
			n++
		}
	}
	return fmt.Sprintf("%d alerts of the rule carried neither %s=%s nor the id in their executable's path", n, EnvID, j.in.AttackID)
}

// differences are the expected fields that an alert of the attack got wrong, one line each.
func (j judgement) differences(attack []Alert) ([]string, error) {
	want, err := j.s.fields(j.in.AttackID, j.in.Vars)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, a := range attack {
		for _, f := range slices.Sorted(maps.Keys(want)) {
			switch got, ok := a.Fields[f]; {
			case !ok:
				out = append(out, fmt.Sprintf("the alert lacks %s; expected %q", f, want[f]))
			case got != want[f]:
				out = append(out, fmt.Sprintf("the alert's %s is %q; expected %q", f, got, want[f]))
			}
		}
	}
	return out, nil
}

// describe lists the fields of an alert, without the environment.
func describe(a Alert) []string {
	var out []string
	for _, f := range slices.Sorted(maps.Keys(a.Fields)) {
		if f != "proc.env" {
			out = append(out, f+"="+a.Fields[f])
		}
	}
	return out
}

func finding(s cause.State, c cause.Cause, f cause.Fault, lines ...string) cause.Finding {
	return cause.Finding{State: s, Cause: c, Fault: f, Evidence: cause.Text(lines...)}
}
