// SPDX-License-Identifier: Apache-2.0

// Package results knows what a run recorded, what its verdicts are, and how to show them.
//
// The record is the JSON document mews/run/v1 ([Schema]). Changes to it are additive.
package results

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// SchemaName is the value of [Run.Schema].
const SchemaName = "mews/run/v1"

// The stages of a cell, in the order in which they happen.
const (
	StageResolve   = "resolve"
	StageBuild     = "build"
	StageInspect   = "inspect"
	StageBoot      = "boot"
	StageLoad      = "load"
	StageEvents    = "events"
	StageScenarios = "scenarios"
	StagePerf      = "perf"
	StageUnload    = "unload"
)

// Run is one evaluation of a matrix.
type Run struct {
	Schema   string    `json:"schema"`
	ID       string    `json:"id"`
	Profile  string    `json:"profile"`
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"` // zero: the run was cut short
	Host     Host      `json:"host"`
	Estimate *Estimate `json:"estimate,omitempty"` // made before the first cell; nil: none was, or the run was resumed
	Warnings []string  `json:"warnings"`
	Summary  Summary   `json:"summary"`
	Cells    []Cell    `json:"cells"` // in the order of the plan
}

// Estimate is how long a run was thought to take.
type Estimate struct {
	Seconds float64 `json:"seconds"`
	From    string  `json:"from"` // where it comes from: earlier runs, defaults
}

// Host is the machine that ran the guests.
type Host struct {
	Accelerator       string `json:"accelerator"` // kvm or tcg
	AcceleratorReason string `json:"accelerator_reason"`
	CPUs              int    `json:"cpus,omitempty"`
	CPU               string `json:"cpu,omitempty"` // the model, as the kernel names it
	MemoryMiB         int    `json:"memory_mib,omitempty"`
	OS                string `json:"os,omitempty"`
	QEMU              string `json:"qemu,omitempty"` // version
}

// Summary counts the cells of a run by state.
type Summary struct {
	Pass        int `json:"pass"`
	Fail        int `json:"fail"`
	Unsupported int `json:"unsupported"`
	Skipped     int `json:"skipped"`
	Error       int `json:"error"`
	Missing     int `json:"missing"`
}

// Cell is kernel x driver. Its finding is derived by [Cell.Settled], whatever a file says.
type Cell struct {
	ID       string   `json:"id"`
	Kernel   Kernel   `json:"kernel"`
	Driver   Driver   `json:"driver"`
	Declared Declared `json:"declared"`
	Expect   *Expect  `json:"expect,omitempty"`
	// Foresees is what the matrix expects of single scenarios.
	Foresees []Foreseen `json:"foresees,omitempty"`
	cause.Finding
	Lane      string     `json:"lane"` // static, build, boot or perf
	Stages    []Stage    `json:"stages"`
	Scenarios []Scenario `json:"scenarios"`
	Perf      []Perf     `json:"perf"`
	Attempts  []Stage    `json:"attempts,omitempty"` // runs of a stage that a later run in Stages replaced
	Logs      []string   `json:"logs,omitempty"`     // files beside the record, relative to the cell's directory
	// Disagreements with other cells of the same kernel, derived by [Run.Settled].
	Disagreements []Disagreement `json:"disagreements,omitempty"`
}

// Declared is what the plan says a cell will record: what is declared and absent is missing, not forgotten.
type Declared struct {
	Stages    []string `json:"stages"`
	Scenarios []string `json:"scenarios"`
	// Repeat is how often each of them is done; 0: once.
	Repeat int `json:"repeat,omitempty"`
	// Tests are those of the scenarios that are tests of event-generator's.
	Tests []DeclaredTest `json:"tests,omitempty"`
	// Unsupported is what is known before anything starts.
	Unsupported []Unsupported `json:"unsupported,omitempty"`
}

// DeclaredTest says which test of event-generator's a scenario is.
type DeclaredTest struct {
	Scenario string            `json:"scenario"`
	Suite    string            `json:"suite"` // the file's name
	Test     string            `json:"test"`
	Case     map[string]string `json:"case,omitempty"`
}

// Unsupported is a scenario that a cell cannot judge, or the whole of a cell that cannot be judged, and why.
type Unsupported struct {
	Scenario string      `json:"scenario,omitempty"` // empty: the cell
	Cause    cause.Cause `json:"cause"`
	Reason   string      `json:"reason"`
}

// Expect is the verdict that the matrix foresees for a cell: pass, fail or unsupported, or the error of a tool chain that
// is known to be the wrong one.
type Expect struct {
	State    cause.State `json:"state"`
	Cause    cause.Cause `json:"cause,omitempty"`    // empty: any
	Evidence string      `json:"evidence,omitempty"` // what a line of the evidence must hold; empty: any
}

// Kernel identifies one bootable kernel build.
type Kernel struct {
	Distro  string `json:"distro"`
	Release string `json:"release"`            // uname -r
	Version string `json:"version"`            // the n of #n in uname -v
	Arch    string `json:"arch"`               // x86_64 or aarch64
	BuildID string `json:"build_id,omitempty"` // where the release is not unique
}

func (k Kernel) String() string {
	s := k.Distro + " " + k.Release
	if k.BuildID != "" {
		s += " " + k.BuildID
	}
	return s
}

// Driver identifies a source tree at a version, of one variant, and what reads its events.
type Driver struct {
	Name     string `json:"name"`
	Variant  string `json:"variant"`
	Version  string `json:"version"`
	Consumer string `json:"consumer"` // its name in the matrix
	// ConsumerKind is native, sysdig, falco or command; empty: the record is older than this field, or nothing reads the driver.
	ConsumerKind string `json:"consumer_kind,omitempty"`
}

// Stage is the outcome of one step of a cell.
type Stage struct {
	Name string `json:"name"`
	cause.Finding
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`        // without what it only waited for its turn
	Note    string    `json:"note,omitempty"` // worth saying even of a pass: a compiler, a size
	Hint    string    `json:"hint,omitempty"` // what to do next; [Advice] where it is empty
	// Stops says that the cell ended here, so that the stages declared after it were not reached instead of
	// missing. It counts only on a fail, an error or an unsupported.
	Stops bool `json:"stops,omitempty"`
}

// Scenario is the outcome of an attack and its negative twin.
type Scenario struct {
	Name string `json:"name"`
	cause.Finding
	Rule      string            `json:"rule"`
	Fired     int               `json:"fired"`             // alerts of Rule during the attack
	TwinFired int               `json:"twin_fired"`        // alerts of Rule during the twin
	Fields    map[string]string `json:"fields"`            // of the attack's first alert
	DeedID    string            `json:"deed_id,omitempty"` // the unique id that the attack carried
	Hint      string            `json:"hint,omitempty"`
	Suite     *SuiteTest        `json:"suite,omitempty"`   // of a test of event-generator's
	Repeats   *Repeats          `json:"repeats,omitempty"` // of one that was done more than once; the rest is then of the first time
}

// SuiteTest is what a test of event-generator's came to, as its own report tells it.
type SuiteTest struct {
	Suite    string            `json:"suite"` // the file's name
	Test     string            `json:"test"`
	Case     map[string]string `json:"case,omitempty"`
	Matches  int               `json:"matches"`            // alerts that were as expected
	Warnings [][]FieldWarning  `json:"warnings,omitempty"` // of each alert that was not
}

// FieldWarning is a field of an alert that is not as expected.
type FieldWarning struct {
	Field    string `json:"field"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// EndStage makes the record of a stage that returned err. A stage that did not pass stops the cell; a runner
// that goes on nevertheless clears Stops.
func EndStage(name string, started, ended time.Time, err error) Stage {
	f, hint := found(err)
	return Stage{Name: name, Finding: f, Hint: hint, Started: started, Seconds: ended.Sub(started).Seconds(), Stops: err != nil}
}

// EndScenario makes the record of a scenario that returned err.
func EndScenario(name, rule string, fired, twinFired int, fields map[string]string, err error) Scenario {
	f, hint := found(err)
	return Scenario{Name: name, Finding: f, Hint: hint, Rule: rule, Fired: fired, TwinFired: twinFired, Fields: fields}
}

// found splits err into its finding and its hint, which cause.Of leaves in the first line of evidence.
func found(err error) (cause.Finding, string) {
	f := cause.Of(err)
	var e *cause.Err
	if !errors.As(err, &e) || e.Hint == "" {
		return f, ""
	}
	f.Evidence[0].Text = strings.TrimSuffix(f.Evidence[0].Text, " ("+e.Hint+")")
	return f, e.Hint
}

// Seconds is how long the stages of the cell took together.
func (c Cell) Seconds() float64 {
	var sum float64
	for _, s := range c.Stages {
		sum += s.Seconds
	}
	return sum
}

// Stage returns the record of the named stage.
func (c Cell) Stage(name string) (Stage, bool) {
	for _, s := range c.Stages {
		if s.Name == name {
			return s, true
		}
	}
	return Stage{}, false
}

// Scenario returns the record of the named scenario.
func (c Cell) Scenario(name string) (Scenario, bool) {
	for _, s := range c.Scenarios {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}

// The document has no null where a list or a map belongs: consumers index without asking.

// MarshalJSON writes empty lists as [].
func (r Run) MarshalJSON() ([]byte, error) {
	type plain Run
	r.Warnings, r.Cells = list(r.Warnings), list(r.Cells)
	return json.Marshal(plain(r))
}

// MarshalJSON writes empty lists as [].
func (c Cell) MarshalJSON() ([]byte, error) {
	type plain Cell
	c.Evidence, c.Stages, c.Scenarios, c.Perf = list(c.Evidence), list(c.Stages), list(c.Scenarios), list(c.Perf)
	c.Declared.Stages, c.Declared.Scenarios = list(c.Declared.Stages), list(c.Declared.Scenarios)
	return json.Marshal(plain(c))
}

// MarshalJSON writes empty lists as [].
func (s Stage) MarshalJSON() ([]byte, error) {
	type plain Stage
	s.Evidence = list(s.Evidence)
	return json.Marshal(plain(s))
}

// MarshalJSON writes empty lists as [] and no fields as {}.
func (s Scenario) MarshalJSON() ([]byte, error) {
	type plain Scenario
	s.Evidence = list(s.Evidence)
	if s.Fields == nil {
		s.Fields = map[string]string{}
	}
	return json.Marshal(plain(s))
}

func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// clone copies what Settled and the run directory change.
func (c Cell) clone() Cell {
	c.Stages = append([]Stage(nil), c.Stages...)
	c.Attempts = append([]Stage(nil), c.Attempts...)
	c.Perf = append([]Perf(nil), c.Perf...)
	c.Scenarios = append([]Scenario(nil), c.Scenarios...)
	for i, s := range c.Scenarios {
		c.Scenarios[i].Fields = maps.Clone(s.Fields)
		c.Scenarios[i].Repeats = s.Repeats.clone()
	}
	return c
}
