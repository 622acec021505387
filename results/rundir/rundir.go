// SPDX-License-Identifier: Apache-2.0

// Package rundir knows how a run is kept on disk, so that a run killed at any moment loses at most the stage
// in flight.
//
// The directory holds run.json (the plan while the run goes on, the whole record at its end), events.jsonl
// (the journal), cells/<id>/cell.json with the logs of the cell beside it, and the reports.
package rundir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// The files of a run directory. JUnit, Summary and Report are written by [Dir.Finish].
const (
	RunFile     = "run.json"
	JournalFile = "events.jsonl"
	CellsDir    = "cells"
	CellFile    = "cell.json" // in the cell's directory
	JUnitFile   = "junit.xml"
	SummaryFile = "summary.md"
	ReportFile  = "report.html"
)

// Dir is the directory of a run that goes on. Its methods may be called by many goroutines.
type Dir struct {
	path    string
	now     func() time.Time
	mu      sync.Mutex
	run     results.Run
	journal *os.File
}

// Create makes the directory of a run that starts now. Run holds the id, the profile, the host, and one cell,
// with its kernel, driver, lane, declaration and expectation, for each that the plan declares. The directory
// may exist, but must not hold a run.
func Create(path string, run results.Run) (*Dir, error) {
	seen := make(map[string]bool)
	for _, c := range run.Cells {
		if err := results.CheckID(c.ID); err != nil {
			return nil, err
		}
		if seen[c.ID] {
			return nil, fmt.Errorf("cell %s is declared twice", c.ID)
		}
		seen[c.ID] = true
	}
	if _, err := os.Lstat(filepath.Join(path, RunFile)); err == nil {
		return nil, fmt.Errorf("%s already holds a run: choose another directory", path)
	}
	d := &Dir{path: path, now: time.Now, run: run}
	d.run.Schema = results.SchemaName
	d.run.Cells = slices.Clone(run.Cells)
	for _, c := range run.Cells {
		if err := os.MkdirAll(d.CellPath(c.ID), 0o755); err != nil {
			return nil, unwritable(err)
		}
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, unwritable(err)
	}
	// Until Finish, run.json is the plan: every cell in it is missing.
	if err := writeJSON(filepath.Join(path, RunFile), d.run.Settled()); err != nil {
		return nil, err
	}
	journal, err := os.OpenFile(filepath.Join(path, JournalFile), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, unwritable(err)
	}
	d.journal = journal
	for _, w := range run.Warnings {
		if err := d.log(Event{Kind: KindWarning, Text: w}); err != nil {
			return nil, errors.Join(err, journal.Close())
		}
	}
	return d, nil
}

// Path is the run directory.
func (d *Dir) Path() string { return d.path }

// CellPath is the directory of a cell, made by [Create], for the cell's logs.
func (d *Dir) CellPath(id string) string { return filepath.Join(d.path, CellsDir, id) }

// Start notes that a stage begins, which tells later what was in flight when a run was killed.
func (d *Dir) Start(cell, stage string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.cell(cell); err != nil {
		return err
	}
	return d.log(Event{Kind: KindStart, Cell: cell, Name: stage})
}

// EndStage records a stage for good: when it returns nil, the record is on disk. A stage that ended before
// is replaced, and its earlier outcome, if not a pass, kept among the cell's attempts.
func (d *Dir) EndStage(cell string, s results.Stage) error {
	s = s.Bounded()
	return d.update(cell, Event{Kind: KindStage, Cell: cell, Name: s.Name, Stage: &s}, func(c *results.Cell) {
		i := slices.IndexFunc(c.Stages, func(o results.Stage) bool { return o.Name == s.Name })
		if i < 0 {
			c.Stages = append(c.Stages, s)
			return
		}
		if c.Stages[i].State != cause.Pass {
			c.Attempts = append(c.Attempts, c.Stages[i])
		}
		c.Stages[i] = s
	})
}

// EndScenario records a scenario for good. One that ended before is replaced.
func (d *Dir) EndScenario(cell string, s results.Scenario) error {
	s = s.Bounded()
	return d.update(cell, Event{Kind: KindScenario, Cell: cell, Name: s.Name, Scenario: &s}, func(c *results.Cell) {
		i := slices.IndexFunc(c.Scenarios, func(o results.Scenario) bool { return o.Name == s.Name })
		if i < 0 {
			c.Scenarios = append(c.Scenarios, s)
			return
		}
		c.Scenarios[i] = s
	})
}

// AddPerf records measurements of a cell for good.
func (d *Dir) AddPerf(cell string, p ...results.Perf) error {
	return d.update(cell, Event{Kind: KindPerf, Cell: cell, Perf: p}, func(c *results.Cell) {
		c.Perf = results.MergePerf(c.Perf, p...)
	})
}

// Warn records a warning about the run as a whole, once.
func (d *Dir) Warn(text string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if slices.Contains(d.run.Warnings, text) {
		return nil
	}
	d.run.Warnings = append(d.run.Warnings, text)
	return d.log(Event{Kind: KindWarning, Text: text})
}

// Finish ends the run: it writes run.json and the reports, closes the journal and returns the settled run.
// It says what it could not write, having written all it could.
func (d *Dir) Finish() (results.Run, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.run.Ended = d.now()
	run := d.run.Settled()
	for i, c := range run.Cells {
		run.Cells[i].Logs = logs(d.CellPath(c.ID))
	}
	return run, errors.Join(
		writeJSON(filepath.Join(d.path, RunFile), run),
		writeRendered(filepath.Join(d.path, JUnitFile), run, results.RenderJUnit),
		writeRendered(filepath.Join(d.path, SummaryFile), run, results.RenderSummary),
		writeRendered(filepath.Join(d.path, ReportFile), run, results.RenderReport),
		d.log(Event{Kind: KindFinish}),
		d.journal.Close(),
	)
}

// update changes a cell in memory, in the journal and in its file, in this order: what is in the file was
// journalled, and what could not be written is still in the run that Finish writes.
func (d *Dir) update(id string, e Event, change func(*results.Cell)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, err := d.cell(id)
	if err != nil {
		return err
	}
	change(c)
	if err := d.log(e); err != nil {
		return err
	}
	// The stages to come are not missing yet: the file holds what was recorded, and a verdict that is true
	// if nothing more comes.
	file := *c
	file.Finding = c.Settled().Finding
	return writeJSON(filepath.Join(d.CellPath(id), CellFile), file)
}

func (d *Dir) cell(id string) (*results.Cell, error) {
	for i := range d.run.Cells {
		if d.run.Cells[i].ID == id {
			return &d.run.Cells[i], nil
		}
	}
	return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "cell %q is recorded and was never declared", id)
}

func (d *Dir) log(e Event) error {
	e.Time = d.now().UTC()
	return appendEvent(d.journal, e)
}

// maxLogs bounds the list of a cell's logs: nobody reads a longer one.
const maxLogs = 100

// logs lists the regular files below a cell's directory by their slash-separated paths relative to it. What
// cannot be listed is left out: a link to it would lead nowhere.
func logs(dir string) []string {
	var out []string
	walk := func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if len(out) == maxLogs {
			return fs.SkipAll
		}
		if e.Type().IsRegular() && path != CellFile {
			out = append(out, path)
		}
		return nil
	}
	if err := fs.WalkDir(os.DirFS(dir), ".", walk); err != nil {
		return nil
	}
	return out
}

// unwritable names what a failed write is: a full disk has its own cause, since it is the one that users
// can mend.
func unwritable(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "writing the record: %w", err).Advise("free space there, or name another directory with --out")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "writing the record: %w", err).Advise("check that the run directory can be written")
}
