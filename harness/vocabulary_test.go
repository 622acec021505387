// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/driver/ptrace"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/rules"
)

// quickCell is the cell of the profile quick on 6.1 for falco-kmod, whose consumer is given these overlays alone.
func quickCell(t *testing.T, x index, overlays int) (*Cell, error) {
	t.Helper()
	m, cat := shippedMatrix(t)
	for i := range m.Consumers {
		m.Consumers[i].Value.Rules = m.Consumers[i].Value.Rules[:overlays]
	}
	p, err := MakePlan(t.Context(), m, Selection{Profile: "quick", Kernels: []string{"debian-6.1"}, Drivers: []string{"falco-kmod"}}, cat, x)
	if err != nil {
		return nil, err
	}
	if len(p.Cells) != 1 {
		t.Fatalf("cells %s", ids(p))
	}
	return p.Cells[0], nil
}

// What the consumer has no field for is known before anything starts, by rule, field and place, and the others run.
func TestRuleThatTheConsumerLacks(t *testing.T) {
	c, err := quickCell(t, testIndex(), 0) // without the overlay that reads the container from the cgroups
	if err != nil {
		t.Fatal(err)
	}
	e := c.Unable["drop-and-execute"]
	if e == nil || e.State != cause.Unsupported || e.Cause != cause.RuleUnsupported || e.Check() != nil {
		t.Fatalf("drop-and-execute is %+v", e)
	}
	for _, want := range []string{`"Drop and execute new binary in container"`, "no field container.id", "falco.yaml:", "condition:1:", "sysdig 0.41.4"} {
		if !strings.Contains(e.Error(), want) {
			t.Errorf("%q does not say %s", e, want)
		}
	}
	run := &cellRun{Cell: c}
	if able := run.able(); len(c.Unable) != 1 || len(able) != 1 || able[0].Name != "openat2-read-sensitive" {
		t.Errorf("the others are not run: unable %v, able %v", c.Unable, able)
	}
	if c, err = quickCell(t, testIndex(), 1); err != nil || len(c.Unable) != 0 {
		t.Errorf("with the overlay: unable %v, error %v", c.Unable, err)
	}
}

// The version of the userland's sysdig decides: 0.29 knows nothing of upper layers.
func TestVersionOfSysdigDecides(t *testing.T) {
	x := testIndex()
	x.sysdig = "0.29.3-1+b1"
	c, err := quickCell(t, x, 1)
	if err != nil {
		t.Fatal(err)
	}
	if e := c.Unable["drop-and-execute"]; e == nil || !strings.Contains(e.Error(), "no field proc.is_exe_upper_layer") {
		t.Errorf("drop-and-execute is %v", e)
	}
	x.sysdig = "0.35.0-1" // which nobody tried: what it lacks is for itself to say
	if c, err = quickCell(t, x, 0); err != nil || len(c.Unable) != 0 {
		t.Errorf("unable %v, error %v", c.Unable, err)
	}
	gone := errors.New("mirror gone")
	x.down = map[string]error{"sid": gone}
	if c, err = quickCell(t, x, 1); err != nil || !errors.Is(c.Err, gone) {
		t.Errorf("error %v of the cell, %v of the plan", c.Err, err)
	}
}

func TestRulesFor(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "r.yaml", Data: []byte(`
- rule: takes
  desc: d
  condition: proc.name = a or proc.name = b and fd.name = c and fd.ip = 1.2.3.4
  output: o %proc.name %proc.pexepath %container.id
  priority: INFO
- {rule: broken, desc: d, condition: proc.nam = a, output: o, priority: INFO}
- {rule: "off", desc: d, condition: proc.name = a, output: o, priority: INFO, enabled: false}
- {rule: regex, desc: d, condition: 'proc.name regex "a+"', output: o, priority: INFO}
`)})
	if err != nil {
		t.Fatal(err)
	}
	old := vocabulary{name: "sysdig 0.29", fields: rules.Sysdig029.Fields, write: rules.Sysdig029.Filter}
	take, unable, err := rulesFor([]scenarios.Scenario{{Name: "a", Rule: "takes"}, {Name: "b", Rule: "regex"}}, set, old)
	if err != nil {
		t.Fatal(err)
	}
	if got := take["takes"]; got.Condition != "proc.name = a or (proc.name = b and fd.name = c and fd.ip = 1.2.3.4)" || !slices.Equal(got.Fields, []string{"container.id", "fd.name", "proc.name"}) {
		t.Errorf("the condition %q with the fields %q", got.Condition, got.Fields)
	}
	if e := unable["b"]; e == nil || !strings.Contains(e.Error(), "no operator regex") || len(unable) != 1 {
		t.Errorf("unable %v", unable)
	}
	expects := scenarios.Scenario{Name: "a", Rule: "takes"}
	expects.Expect.Fields = map[string]string{"proc.is_exe_from_memfd": "true"}
	if _, unable, err = rulesFor([]scenarios.Scenario{expects}, set, old); err != nil || unable["a"] == nil {
		t.Errorf("a field that is expected and lacking: unable %v, error %v", unable, err)
	}
	for rule, want := range map[string]string{"broken": `unknown field "proc.nam"; did you mean "proc.name"?`, "off": "not enabled", "none": "no rule is named"} {
		if _, _, err := rulesFor([]scenarios.Scenario{{Name: "a", Rule: rule}}, set, old); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("rule %s: %v, want %s", rule, err, want)
		}
	}
}

// What a driver never tells of is no silence: the rule is unsupported, by the event. What any shipped scenario needs both of
// mews's own tell of; of what Falco's tell nothing is known.
func TestEventThatTheDriverLacks(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "r.yaml", Data: []byte(`
- {rule: kills, desc: d, condition: "evt.type in (openat, kill) and proc.pid > 0", output: o, priority: INFO}
- {rule: writes, desc: d, condition: "evt.type in (openat, write) and fd.num > 0", output: o, priority: INFO}
- {rule: ends, desc: d, condition: "evt.type in (execve, execveat, procexit)", output: o, priority: INFO}
- {rule: opens, desc: d, condition: "evt.type in (open, openat) and not evt.type = kill", output: o, priority: INFO}
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, cat := shippedMatrix(t)
	var scens []scenarios.Scenario
	for _, rule := range []string{"kills", "writes", "ends", "opens"} {
		scens = append(scens, scenarios.Scenario{Name: rule, Rule: rule})
	}
	v, err := vocabularyOf(t.Context(), m, matrix.Consumer{Kind: matrix.Str{V: agent.Native}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for driver, want := range map[string]map[string]string{
		"mews-ptrace":           {"kills": "kill", "writes": "write"},
		"mews-modern":           {"kills": "kill"},
		"mews-modern-bad-upper": {"kills": "kill"},
		"falco-kmod":            {},
		"of its consumer":       {},
	} {
		d, ok := m.Drivers.Get(driver)
		if driver == "of its consumer" {
			d, ok = matrix.Driver{Variant: matrix.Str{V: "modern_ebpf"}, Source: matrix.Source{Builtin: matrix.Str{V: matrix.Embedded}}}, true
		}
		if !ok {
			t.Fatalf("no driver %s", driver)
		}
		_, unable, err := rulesFor(scens, set, v.under(d))
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for rule, e := range unable {
			_, after, _ := strings.Cut(e.Error(), "events of type ")
			got[rule], _, _ = strings.Cut(after, ",")
			if e.State != cause.Unsupported || e.Cause != cause.RuleUnsupported || e.Check() != nil {
				t.Errorf("%s: %s is %+v", driver, rule, e)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: unsupported are %v, want %v", driver, got, want)
		}
	}
	for _, driver := range []string{"mews-ptrace", "mews-modern"} {
		p, err := MakePlan(t.Context(), m, Selection{Kernels: []string{"debian-6.1"}, Drivers: []string{driver}, Scenarios: []string{"*"}}, cat, testIndex())
		if err != nil || len(p.Cells) != 1 || len(p.Cells[0].Scenarios) < 2 {
			t.Fatalf("%s: plan %+v, error %v", driver, p, err)
		}
		for name, e := range p.Cells[0].Unable {
			if driver != "mews-ptrace" || e.Cause != cause.AlreadyTraced {
				t.Errorf("%s: %s is %+v", driver, name, e)
			}
		}
	}
}

// What mews's own drivers tell of has the names that rules know: another name is one that no rule ever asks for.
func TestEventsHaveFalcosNames(t *testing.T) {
	for _, name := range slices.Concat(modern.Events(), ptrace.Events()) {
		set, err := rules.Load(rules.File{Name: "r.yaml", Data: []byte("- {rule: r, desc: d, condition: evt.type = " + name + ", output: o, priority: INFO}")})
		if err != nil {
			t.Fatal(err)
		}
		if res := set.Compile(rules.Falco); len(res) != 1 || res[0].State != rules.Compiled {
			t.Errorf("event %s: %+v", name, res)
		}
	}
}

// What only Falco's drivers add to the flags of an open is no silence either.
func TestWordThatIsNeverSaid(t *testing.T) {
	set, err := rules.Load(rules.File{Name: "r.yaml", Data: []byte(`
- {rule: created, desc: d, condition: "evt.type = openat and evt.arg.flags contains O_F_CREATED", output: o, priority: INFO}
- {rule: lower, desc: d, condition: "evt.type = execve and not evt.arg.flags contains EXE_LOWER_LAYER", output: o, priority: INFO}
- {rule: asked, desc: d, condition: "evt.type = openat and evt.arg.flags contains O_CREAT", output: o, priority: INFO}
`)})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := shippedMatrix(t)
	var scens []scenarios.Scenario
	for _, rule := range []string{"created", "lower", "asked"} {
		scens = append(scens, scenarios.Scenario{Name: rule, Rule: rule})
	}
	for kind, want := range map[string][]string{agent.Native: {"created", "lower"}, agent.Falco: nil} {
		v, err := vocabularyOf(t.Context(), m, matrix.Consumer{Kind: matrix.Str{V: kind}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, unable, err := rulesFor(scens, set, v)
		if got := slices.Sorted(maps.Keys(unable)); err != nil || !slices.Equal(got, want) {
			t.Errorf("consumer %s: unsupported are %v, want %v; %v", kind, got, want, err)
		}
		for name, e := range unable {
			if !strings.Contains(e.Error(), "evt.arg.flags never says") || e.Cause != cause.RuleUnsupported {
				t.Errorf("%s: %v", name, e)
			}
		}
	}
}

// A stage in which nothing could be judged is no pass.
func TestScenariosThatCannotBe(t *testing.T) {
	c := stableCell(t, "falco-kmod")
	e := &cause.Err{Finding: cause.Finding{State: cause.Unsupported, Cause: cause.RuleUnsupported, Fault: cause.FaultHarness}, What: "no field"}
	c.Scenarios, c.Unable = c.Scenarios[:1], map[string]*cause.Err{c.Scenarios[0].Name: e}
	v := &verdicts{of: map[string]results.Scenario{}}
	c.rec = v
	far := &lossy{}
	note, err := c.scenarios(callOf(t), &guest{c: clientOf(t, far)})
	if f := cause.Of(err); f.State != cause.Unsupported || f.Cause != cause.RuleUnsupported {
		t.Errorf("the stage is %v (%s)", err, note)
	}
	if got := v.of[c.Scenarios[0].Name]; got.State != cause.Unsupported || got.Check() != nil {
		t.Errorf("the scenario is %+v", got)
	}
	if spec := c.watching(); len(spec.Watches) > 0 {
		t.Errorf("it is watched for: %+v", spec.Watches)
	}
}
