// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/rundir"
	"github.com/mews-farm/mews/scenarios"
)

// recorder keeps one cell in the run directory.
type recorder struct {
	dir  *rundir.Dir
	cell string
}

var _ harness.Recorder = recorder{}

func (r recorder) Dir() string                       { return r.dir.CellPath(r.cell) }
func (r recorder) Start(stage string) error          { return r.dir.Start(r.cell, stage) }
func (r recorder) Stage(s results.Stage) error       { return r.dir.EndStage(r.cell, s) }
func (r recorder) Scenario(s results.Scenario) error { return r.dir.EndScenario(r.cell, s) }

func (r recorder) Perf(p ...results.Perf) error { return r.dir.AddPerf(r.cell, p...) }

// alertLine is one line of alerts.jsonl.
type alertLine struct {
	Time     time.Time         `json:"time"`
	Scenario string            `json:"scenario"`
	Side     string            `json:"side"` // attack or twin
	Rule     string            `json:"rule"`
	Fields   map[string]string `json:"fields"`
}

// Alerts appends to alerts.jsonl every alert that came during a deed, also those of strangers: a wrong verdict is
// found by looking at what was not counted.
func (r recorder) Alerts(scenario, side string, alerts []scenarios.Alert) error {
	f, err := os.OpenFile(filepath.Join(r.Dir(), "alerts.jsonl"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	enc := json.NewEncoder(f)
	for _, a := range alerts {
		if err := enc.Encode(alertLine{time.Now().UTC(), scenario, side, a.Rule, a.Fields}); err != nil {
			f.Close()
			return err
		}
	}
	return f.Close()
}
