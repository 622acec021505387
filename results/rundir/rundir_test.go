// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

func plan(drivers ...string) results.Run {
	r := results.Run{ID: "20261121-2200-test", Profile: "quick", Started: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC),
		Host: results.Host{Accelerator: "tcg", AcceleratorReason: "no /dev/kvm"}}
	for _, d := range drivers {
		k := results.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64", Version: "1", Arch: "x86_64"}
		r.Cells = append(r.Cells, results.Cell{ID: results.CellID(k, d), Kernel: k, Driver: results.Driver{Name: d, Variant: "kmod"}, Lane: "boot",
			Declared: results.Declared{Stages: []string{results.StageBoot, results.StageScenarios}, Scenarios: []string{"attack"}}})
	}
	return r
}

func pass(stage string) results.Stage {
	return results.EndStage(stage, time.Unix(1e9, 0).UTC(), time.Unix(1e9+2, 0).UTC(), nil)
}

func create(t *testing.T, r results.Run) *Dir {
	t.Helper()
	d, err := Create(filepath.Join(t.TempDir(), "run"), r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// record passes a whole cell.
func record(t *testing.T, d *Dir, id string) {
	t.Helper()
	must(t, d.Start(id, results.StageBoot))
	must(t, d.EndStage(id, pass(results.StageBoot)))
	must(t, d.Start(id, results.StageScenarios))
	must(t, d.EndScenario(id, results.EndScenario("attack", "Rule", 1, 0, map[string]string{"proc.name": "dropped"}, nil)))
	must(t, d.EndStage(id, pass(results.StageScenarios)))
}

func reload(t *testing.T, path string) results.Run {
	t.Helper()
	r, err := Load(path)
	must(t, err)
	return r
}

func TestFinishedRunLoadsAsItWas(t *testing.T) {
	d := create(t, plan("a", "b"))
	id := d.run.Cells[0].ID
	must(t, os.WriteFile(filepath.Join(d.CellPath(id), "console.log"), []byte("hello\n"), 0o644))
	record(t, d, id)
	record(t, d, d.run.Cells[1].ID)
	must(t, d.AddPerf(id, results.Perf{Metric: "m", Driver: 2, Baseline: 1, Class: "insn"}))
	must(t, d.Warn("sid is old"))
	must(t, d.Warn("sid is old"))
	run, err := d.Finish()
	must(t, err)
	if run.Summary != (results.Summary{Pass: 2}) || results.ExitCode(run) != results.ExitExpected || run.Ended.IsZero() {
		t.Errorf("%+v", run.Summary)
	}
	if !slices.Equal(run.Warnings, []string{"sid is old"}) || !slices.Equal(run.Cells[0].Logs, []string{"console.log"}) {
		t.Errorf("warnings %q, logs %q", run.Warnings, run.Cells[0].Logs)
	}
	// By way of JSON: the loaded times have lost their monotonic part, and empty lists are not nil.
	asJSON := func(r results.Run) string {
		b, err := json.MarshalIndent(r, "", " ")
		must(t, err)
		return string(b)
	}
	if diff := cmp.Diff(asJSON(run), asJSON(reload(t, d.Path()))); diff != "" {
		t.Error(diff)
	}
	for _, f := range []string{JUnitFile, SummaryFile, ReportFile, RunFile, JournalFile} {
		if st, err := os.Stat(filepath.Join(d.Path(), f)); err != nil || st.Size() == 0 || st.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v %v", f, st, err)
		}
	}
	must(t, filepath.WalkDir(d.Path(), func(p string, _ fs.DirEntry, err error) error {
		if strings.Contains(filepath.Base(p), ".json.") {
			t.Errorf("%s was left behind", p)
		}
		return err
	}))
}

func TestDamagedCellIsMissing(t *testing.T) {
	tests := map[string]struct {
		damage func(t *testing.T, file string)
		says   string
	}{
		"deleted":           {func(t *testing.T, f string) { must(t, os.Remove(f)) }, "does not exist"},
		"directory deleted": {func(t *testing.T, f string) { must(t, os.RemoveAll(filepath.Dir(f))) }, "does not exist"},
		"empty":             {func(t *testing.T, f string) { must(t, os.Truncate(f, 0)) }, "unexpected end of JSON"},
		"torn":              {func(t *testing.T, f string) { must(t, os.Truncate(f, 100)) }, "unexpected end of JSON"},
		"of another cell":   {func(t *testing.T, f string) { must(t, os.WriteFile(f, []byte(`{"id":"x"}`), 0o644)) }, `of cell "x"`},
		"wrong type":        {func(t *testing.T, f string) { must(t, os.WriteFile(f, []byte(`{"stages":7}`), 0o644)) }, "cannot unmarshal"},
		"a directory": {func(t *testing.T, f string) {
			must(t, os.Remove(f))
			must(t, os.Mkdir(f, 0o755))
		}, "not a regular file"},
		"a fifo": {func(t *testing.T, f string) {
			must(t, os.Remove(f))
			must(t, syscall.Mkfifo(f, 0o644))
		}, "not a regular file"},
		"a link out of the run": {func(t *testing.T, f string) {
			out := filepath.Join(t.TempDir(), "cell.json")
			must(t, os.Rename(f, out))
			must(t, os.Symlink(out, f))
		}, "escapes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := create(t, plan("a", "b"))
			record(t, d, d.run.Cells[0].ID)
			record(t, d, d.run.Cells[1].ID)
			_, err := d.Finish()
			must(t, err)
			tt.damage(t, filepath.Join(d.CellPath(d.run.Cells[0].ID), CellFile))
			run := reload(t, d.Path())
			c := run.Cells[0]
			if c.State != cause.Missing || c.Cause != cause.NotRecorded || c.Fault != cause.FaultHarness {
				t.Errorf("got %s %s %s", c.State, c.Cause, c.Fault)
			}
			if len(c.Evidence) == 0 || !strings.Contains(c.Evidence[0].Text, tt.says) {
				t.Errorf("evidence %v does not say %q", c.Evidence, tt.says)
			}
			if c.Kernel.Release != "6.1.0-56-cloud-amd64" || run.Cells[1].State != cause.Pass {
				t.Errorf("the damage spread: %+v", run.Cells)
			}
			if got := results.ExitCode(run); got != results.ExitLacking {
				t.Errorf("exit %d", got)
			}
		})
	}
}

func TestDeletedStageOrScenarioIsMissing(t *testing.T) {
	for _, what := range []string{"stages", "scenarios"} {
		d := create(t, plan("a"))
		record(t, d, d.run.Cells[0].ID)
		file := filepath.Join(d.CellPath(d.run.Cells[0].ID), CellFile)
		b, err := os.ReadFile(file)
		must(t, err)
		var doc map[string]any
		must(t, json.Unmarshal(b, &doc))
		doc[what] = doc[what].([]any)[1:]
		doc["declared"] = map[string]any{} // the plan's declaration counts, not the cell's own
		must(t, writeJSON(file, doc))
		if c := reload(t, d.Path()).Cells[0]; c.State != cause.Missing {
			t.Errorf("%s: %s", what, c.State)
		}
	}
}

func TestUnreadableRunIsAnError(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"no directory":   os.RemoveAll,
		"no run.json":    func(dir string) error { return os.Remove(filepath.Join(dir, RunFile)) },
		"torn run.json":  func(dir string) error { return os.Truncate(filepath.Join(dir, RunFile), 30) },
		"another schema": func(dir string) error { return os.WriteFile(filepath.Join(dir, RunFile), []byte(`{}`), 0o644) },
	} {
		d := create(t, plan("a"))
		must(t, damage(d.Path()))
		_, err := Load(d.Path())
		if f := cause.Of(err); f.State != cause.Error || f.Cause != cause.NotRecorded {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	path := func(t *testing.T) string { return filepath.Join(t.TempDir(), "run") }
	bad := plan("a")
	bad.Cells[0].ID = "../../etc"
	if _, err := Create(path(t), bad); err == nil {
		t.Error("an id that leaves the directory was accepted")
	}
	if _, err := Create(path(t), plan("a", "a")); err == nil {
		t.Error("the same cell twice was accepted")
	}
	d := create(t, plan("a"))
	if _, err := Create(d.Path(), plan("b")); err == nil || !strings.Contains(err.Error(), "already holds a run") {
		t.Errorf("an old run was overwritten: %v", err)
	}
	if err := d.EndStage("nobody", pass(results.StageBoot)); err == nil {
		t.Error("a cell that was never declared was recorded")
	}
}

func TestRepeatedStageKeepsBothRuns(t *testing.T) {
	d := create(t, plan("a"))
	id := d.run.Cells[0].ID
	panicked := cause.Failf(cause.KernelPanic, cause.FaultKernel, "the guest panicked")
	must(t, d.EndStage(id, results.EndStage(results.StageBoot, time.Unix(1, 0), time.Unix(2, 0), panicked)))
	record(t, d, id)
	c := reload(t, d.Path()).Cells[0]
	if len(c.Stages) != 2 || len(c.Attempts) != 1 || c.State != cause.Error || c.Cause != cause.FlakeSuspected {
		t.Errorf("%s %s: %d stages, %d attempts", c.State, c.Cause, len(c.Stages), len(c.Attempts))
	}
}

func TestConcurrentCells(t *testing.T) {
	var names []string
	for i := range 12 {
		names = append(names, fmt.Sprintf("d%02d", i))
	}
	d := create(t, plan(names...))
	var wg sync.WaitGroup
	for _, c := range d.run.Cells {
		wg.Go(func() { record(t, d, c.ID) })
	}
	wg.Wait()
	run, err := d.Finish()
	must(t, err)
	if run.Summary.Pass != len(names) || reload(t, d.Path()).Summary.Pass != len(names) {
		t.Errorf("%+v", run.Summary)
	}
	f, err := os.Open(filepath.Join(d.Path(), JournalFile))
	must(t, err)
	defer f.Close()
	events, err := ReadJournal(f)
	must(t, err)
	if len(events) != 5*len(names)+1 {
		t.Errorf("%d events", len(events))
	}
}

// The child of TestKilledAtAnyMoment: it records cells until it is killed, and says what is on disk.
func TestMain(m *testing.M) {
	if path := os.Getenv("RUNDIR_TEST_CHILD"); path != "" {
		if err := recordForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func recordForever(path string) error {
	run := plan("a")
	run.Cells[0].Declared.Stages = []string{"never"}
	d, err := Create(path, run)
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		name := fmt.Sprintf("stage%d", i)
		if err := d.Start(run.Cells[0].ID, name); err != nil {
			return err
		}
		if err := d.EndStage(run.Cells[0].ID, pass(name)); err != nil {
			return err
		}
		fmt.Println(name)
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	for kill := range 12 {
		path := filepath.Join(t.TempDir(), "run")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "RUNDIR_TEST_CHILD="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		acknowledged := 0
		buf := make([]byte, 1)
		for acknowledged <= kill {
			if _, err := out.Read(buf); err != nil {
				t.Fatalf("the child ended by itself: %v", err)
			}
			if buf[0] == '\n' {
				acknowledged++
			}
		}
		must(t, cmd.Process.Kill())
		if err := cmd.Wait(); err == nil {
			t.Fatal("the child was not killed")
		}
		run := reload(t, path)
		c := run.Cells[0]
		if c.State != cause.Missing || !run.Ended.IsZero() {
			t.Errorf("a killed run loads as %s", c.State)
		}
		for i := range acknowledged {
			if s, ok := c.Stage(fmt.Sprintf("stage%d", i)); !ok || s.State != cause.Pass {
				t.Errorf("killed after %d stages, and stage%d is lost", acknowledged, i)
			}
		}
		if len(run.Warnings) > 0 {
			t.Errorf("warnings %q", run.Warnings)
		}
	}
}

func TestStageInFlight(t *testing.T) {
	d := create(t, plan("a"))
	id := d.run.Cells[0].ID
	must(t, d.EndStage(id, pass(results.StageBoot)))
	must(t, d.Start(id, results.StageScenarios))
	must(t, d.Warn("seen before the kill"))
	run := reload(t, d.Path())
	s, ok := run.Cells[0].Stage(results.StageScenarios)
	if !ok || s.State != cause.Missing || !strings.Contains(s.Evidence[0].Text, "started at") || s.Evidence[0].Line != 2 {
		t.Errorf("%+v", s)
	}
	if !slices.Contains(run.Warnings, "seen before the kill") {
		t.Errorf("warnings %q", run.Warnings)
	}
}

func TestFullDiskHasItsCause(t *testing.T) {
	d := create(t, plan("a"))
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("this system has no /dev/full: %v", err)
	}
	must(t, d.journal.Close())
	d.journal = full
	id := d.run.Cells[0].ID
	err = d.EndStage(id, pass(results.StageBoot))
	if f := cause.Of(err); f.Cause != cause.DiskFull || f.Fault != cause.FaultInfra || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v", err)
	}
	// What could not be journalled is still in the run.
	run, err := d.Finish()
	if _, ok := run.Cells[0].Stage(results.StageBoot); !ok || err == nil {
		t.Errorf("stage kept: %v, error: %v", ok, err)
	}
}
