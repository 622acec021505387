// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"errors"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

const (
	attackID = "aaaaaaaaaaaa"
	twinID   = "bbbbbbbbbbbb"
)

func dropAndExecute(t *testing.T) Scenario {
	t.Helper()
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Get("drop-and-execute")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func alert(s Scenario, id string) Alert {
	return Alert{s.Rule, map[string]string{
		"evt.type":     "execve",
		"proc.env":     "PATH=/usr/bin " + EnvID + "=" + id + " HOME=/",
		"proc.exepath": "/usr/local/bin/mews-dropped-" + id,
	}}
}

// good is what is seen of a driver without fault.
func good(s Scenario) Observation {
	return Observation{
		AttackID: attackID, TwinID: twinID,
		AttackAlerts: []Alert{alert(s, attackID)},
		AttackFence:  true, TwinFence: true,
	}
}

// Each row breaks one thing of a good observation; the verdict must name it.
func TestJudge(t *testing.T) {
	s := dropAndExecute(t)
	skips := cause.Text("kernel 7.3.4 did not run program sys_exit for 3 events")
	gone := func(a Alert, field string) Alert { delete(a.Fields, field); return a }
	set := func(a Alert, field, v string) Alert { a.Fields[field] = v; return a }
	for _, c := range []struct {
		name   string
		mutate func(*Observation)
		state  cause.State
		cause  cause.Cause
		fault  cause.Fault
		say    string // must be in the evidence
	}{
		{"good", func(o *Observation) {}, cause.Pass, "", "", ""},
		{"fired twice", func(o *Observation) { o.AttackAlerts = append(o.AttackAlerts, alert(s, attackID)) }, cause.Pass, "", "", ""},
		{"late: in the twin's window", func(o *Observation) { o.TwinAlerts, o.AttackAlerts = o.AttackAlerts, nil }, cause.Pass, "", "", ""},
		{"id in the path alone", func(o *Observation) { o.AttackAlerts[0] = gone(o.AttackAlerts[0], "proc.env") }, cause.Pass, "", "", ""},
		{"the twin's window has a stranger", func(o *Observation) { o.TwinAlerts = []Alert{alert(s, "cccccccccccc")} }, cause.Pass, "", "", ""},
		{"the attack's fence is late, the alert came", func(o *Observation) { o.AttackFence = false }, cause.Pass, "", "", ""},

		{"silent", func(o *Observation) { o.AttackAlerts = nil }, cause.Fail, cause.RuleSilent, cause.FaultDriver, "did not fire"},
		{"another rule fired", func(o *Observation) { o.AttackAlerts[0].Rule = "Read sensitive file untrusted" }, cause.Fail, cause.RuleSilent, cause.FaultDriver, "0 alerts of the rule"},
		{"fired for a stranger", func(o *Observation) { o.AttackAlerts[0] = alert(s, "cccccccccccc") }, cause.Fail, cause.RuleSilent, cause.FaultDriver, "1 alerts of the rule"},
		{"fired for an id that begins so", func(o *Observation) { o.AttackAlerts[0] = set(alert(s, attackID+"0"), "proc.exepath", "/bin/x") }, cause.Fail, cause.RuleSilent, cause.FaultDriver, "1 alerts of the rule"},
		{"right time, no id", func(o *Observation) {
			o.AttackAlerts[0] = set(gone(o.AttackAlerts[0], "proc.env"), "proc.exepath", "/bin/x")
		}, cause.Fail, cause.RuleSilent, cause.FaultDriver, "1 alerts of the rule"},

		{"false alarm", func(o *Observation) { o.TwinAlerts = []Alert{alert(s, twinID)} }, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, "proc.exepath=/usr/local/bin/mews-dropped-" + twinID},
		{"false alarm, late", func(o *Observation) { o.AttackAlerts = append(o.AttackAlerts, alert(s, twinID)) }, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, ""},
		{"false alarm and silent", func(o *Observation) { o.AttackAlerts, o.TwinAlerts = nil, []Alert{alert(s, twinID)} }, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, "0 times for the attack"},
		{"false alarm though events were lost", func(o *Observation) { o.TwinAlerts, o.Drops = []Alert{alert(s, twinID)}, 3 }, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, ""},

		{"wrong field", func(o *Observation) { set(o.AttackAlerts[0], "evt.type", "execveat") }, cause.Fail, cause.EventFieldWrong, cause.FaultDriver, `evt.type is "execveat"; expected "execve"`},
		{"missing field", func(o *Observation) { gone(o.AttackAlerts[0], "proc.exepath") }, cause.Fail, cause.EventFieldWrong, cause.FaultDriver, "lacks proc.exepath"},
		{"wrong path, of the twin", func(o *Observation) {
			set(o.AttackAlerts[0], "proc.exepath", "/usr/local/bin/mews-dropped-"+twinID)
		}, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, ""},

		{"attack not done", func(o *Observation) { o.AttackDone = errors.New("no such file") }, cause.Error, cause.ScenarioBroken, cause.FaultScenario, "no such file"},
		{"attack never ended", func(o *Observation) {
			o.AttackDone = cause.Errorf(cause.ScenarioTimeout, cause.FaultScenario, "did not end in its time")
		}, cause.Error, cause.ScenarioTimeout, cause.FaultScenario, "did not end in its time"},
		{"twin came to a bound", func(o *Observation) {
			o.TwinDone = cause.Errorf(cause.ScenarioLimit, cause.FaultScenario, "256 processes")
		}, cause.Error, cause.ScenarioLimit, cause.FaultScenario, "the twin was not done"},
		{"attack not done, silent", func(o *Observation) { o.AttackDone, o.AttackAlerts = errors.New("EPERM"), nil }, cause.Error, cause.ScenarioBroken, cause.FaultScenario, "the attack was not done"},
		{"twin not done", func(o *Observation) {
			o.TwinDone = cause.Failf(cause.KernelPanic, cause.FaultKernel, "exit status 1")
		}, cause.Error, cause.ScenarioBroken, cause.FaultScenario, "exit status 1"},

		{"mews had no container for the attack", func(o *Observation) {
			o.AttackDone = cause.Errorf(cause.Internal, cause.FaultHarness, "prepare a container: no space left")
		}, cause.Error, cause.Internal, cause.FaultHarness, "no space left"},

		{"silent, no fence", func(o *Observation) { o.AttackAlerts, o.AttackFence = nil, false }, cause.Error, cause.NoEvents, cause.FaultHarness, "marker event after the attack"},
		{"twin silent, no fence", func(o *Observation) { o.TwinFence = false }, cause.Error, cause.NoEvents, cause.FaultHarness, "marker event after the twin"},
		{"silent, events lost", func(o *Observation) { o.AttackAlerts, o.Drops = nil, 7 }, cause.Error, cause.EventDrops, cause.FaultInfra, "7 events were lost"},
		{"twin silent, events lost", func(o *Observation) { o.Drops = 1 }, cause.Error, cause.EventDrops, cause.FaultInfra, "1 events were lost"},

		{"silent, programs skipped", func(o *Observation) { o.AttackAlerts, o.AttackSkipped = nil, skips }, cause.Fail, cause.EventDrops, cause.FaultDriver, "program sys_exit"},
		{"silent, programs skipped and events lost", func(o *Observation) { o.AttackAlerts, o.AttackSkipped, o.Drops = nil, skips, 3 }, cause.Fail, cause.EventDrops, cause.FaultDriver, "during the attack"},
		{"fired, programs skipped", func(o *Observation) { o.AttackSkipped = skips }, cause.Pass, "", "", ""},
		{"twin silent, programs skipped", func(o *Observation) { o.TwinSkipped = skips }, cause.Fail, cause.EventDrops, cause.FaultDriver, "during the twin"},
		{"silent, programs skipped during the twin", func(o *Observation) { o.AttackAlerts, o.TwinSkipped = nil, skips }, cause.Fail, cause.RuleSilent, cause.FaultDriver, "did not fire"},
		{"false alarm, programs skipped", func(o *Observation) { o.TwinAlerts, o.TwinSkipped = []Alert{alert(s, twinID)}, skips }, cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, ""},
		{"missing field, programs skipped", func(o *Observation) { gone(o.AttackAlerts[0], "proc.exepath"); o.AttackSkipped = skips }, cause.Fail, cause.EventFieldWrong, cause.FaultDriver, "program sys_exit"},

		{"ids equal", func(o *Observation) { o.TwinID = o.AttackID }, cause.Error, cause.Internal, cause.FaultHarness, "do not tell them apart"},
		{"no id", func(o *Observation) { o.TwinID = "" }, cause.Error, cause.Internal, cause.FaultHarness, ""},
		{"unknown variable", func(o *Observation) { o.Vars = map[string]string{"programm": "x"} }, cause.Error, cause.ScenarioBroken, cause.FaultScenario, `did you mean "program"?`},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := good(s)
			c.mutate(&o)
			v := Judge(s, o)
			if v.State != c.state || v.Cause != c.cause || v.Fault != c.fault {
				t.Errorf("got %s %s %s, want %s %s %s", v.State, v.Cause, v.Fault, c.state, c.cause, c.fault)
			}
			if err := v.Check(); err != nil {
				t.Error(err)
			}
			var lines []string
			for _, e := range v.Evidence {
				lines = append(lines, e.Text)
			}
			if said := strings.Join(lines, "\n"); !strings.Contains(said, c.say) {
				t.Errorf("the evidence lacks %q:\n%s", c.say, said)
			}
		})
	}
}

func TestJudgeCounts(t *testing.T) {
	s := dropAndExecute(t)
	o := good(s)
	o.AttackAlerts = append(o.AttackAlerts, alert(s, attackID))
	o.TwinAlerts = []Alert{alert(s, twinID)}
	v := Judge(s, o)
	if v.Fired != 2 || v.TwinFired != 1 {
		t.Errorf("fired %d, twin %d; want 2 and 1", v.Fired, v.TwinFired)
	}
	if got := v.Fields["proc.exepath"]; got != "/usr/local/bin/mews-dropped-"+attackID {
		t.Errorf("proc.exepath %q", got)
	}
	if _, ok := v.Fields["proc.env"]; ok {
		t.Error("the verdict shows the environment")
	}
	if _, ok := o.AttackAlerts[0].Fields["proc.env"]; !ok {
		t.Error("judging changed the alert")
	}
}
