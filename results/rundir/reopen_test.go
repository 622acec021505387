// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	cell := func(id string) results.Cell {
		return results.Cell{ID: id, Lane: "boot", Kernel: results.Kernel{Distro: "debian", Release: "6.1", Version: "1", Arch: "x86_64"},
			Driver: results.Driver{Name: "d"}, Declared: results.Declared{Stages: []string{results.StageBoot, results.StageLoad}}}
	}
	d, err := Create(dir, results.Run{ID: "r", Started: time.Now(), Cells: []results.Cell{cell("sound"), cell("cut"), cell("never")}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	end := func(d *Dir, id, stage string, err error) {
		t.Helper()
		if err := d.EndStage(id, results.EndStage(stage, now, now, err)); err != nil {
			t.Fatal(err)
		}
	}
	end(d, "sound", results.StageBoot, nil)
	end(d, "sound", results.StageLoad, nil)
	end(d, "cut", results.StageBoot, cause.Errorf(cause.Cancelled, cause.FaultInfra, "interrupted"))
	stale := filepath.Join(d.CellPath("cut"), "alerts.jsonl")
	if err := os.WriteFile(stale, []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The run is killed while it writes a line.
	if _, err := d.journal.WriteString(`{"kind":"sta`); err != nil {
		t.Fatal(err)
	}
	d.journal.Close()

	plan := []results.Cell{cell("sound"), cell("cut"), cell("never")}
	for name, change := range map[string]func([]results.Cell) []results.Cell{
		"cell never":            func(p []results.Cell) []results.Cell { p[2] = cell("other"); return p },
		"declares 3 cells":      func(p []results.Cell) []results.Cell { return p[:2] },
		"would go on with 0.24": func(p []results.Cell) []results.Cell { p[0].Driver.Version = "0.24"; return p },
		"begun with --repeat 1": func(p []results.Cell) []results.Cell { p[1].Declared.Repeat = 20; return p },
		"stages or scenarios":   func(p []results.Cell) []results.Cell { p[1].Declared.Scenarios = []string{"x"}; return p },
	} {
		if _, _, err := Reopen(dir, change(slices.Clone(plan))); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("want an error with %q, got %v", name, err)
		}
	}
	d, done, err := Reopen(dir, plan)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(done, " "); got != "sound" {
		t.Errorf("done: %q, want sound alone", got)
	}
	if _, err := os.Stat(stale); !os.IsNotExist(err) {
		t.Errorf("the log of the attempt that was cut short is still there: %v", err)
	}
	for _, id := range []string{"cut", "never"} {
		end(d, id, results.StageBoot, nil)
		end(d, id, results.StageLoad, nil)
	}
	run, err := d.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if run.Summary.Pass != 3 {
		t.Errorf("summary %+v, want 3 passes", run.Summary)
	}
	loaded, err := Load(dir)
	if err != nil || loaded.Summary.Pass != 3 || len(loaded.Warnings) > 0 {
		t.Errorf("loaded: %+v, warnings %q, error %v", loaded.Summary, loaded.Warnings, err)
	}
}
