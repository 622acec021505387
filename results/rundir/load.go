// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// maxRecord bounds what is read of one JSON file.
const maxRecord = 64 << 20

// Load rebuilds a run from its directory: the plan from run.json, each cell from its own record. A cell whose
// record was deleted or cannot be read is missing, and says why. A directory that has no readable run.json
// is an error.
//
// The directory may come from anywhere: links that lead out of it are not followed, and only what the plan
// declares is opened.
func Load(dir string) (results.Run, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return results.Run{}, unreadable(dir, err)
	}
	defer root.Close()
	run, err := load(root.FS())
	if err != nil {
		return results.Run{}, unreadable(dir, err)
	}
	return run, nil
}

func load(dir fs.FS) (results.Run, error) {
	var run results.Run
	if err := readJSON(dir, RunFile, &run); err != nil {
		return results.Run{}, err
	}
	if run.Schema != results.SchemaName {
		return results.Run{}, fmt.Errorf("%s: schema %q, want %q", RunFile, results.Line(run.Schema), results.SchemaName)
	}
	events, err := loadJournal(dir)
	if err != nil {
		run.Warnings = append(run.Warnings, fmt.Sprintf("the journal is damaged: %v", err))
	}
	for _, e := range events {
		if e.Kind == KindWarning && !slices.Contains(run.Warnings, e.Text) {
			run.Warnings = append(run.Warnings, e.Text)
		}
	}
	for i, declared := range run.Cells {
		c, err := loadCell(dir, declared)
		if err != nil {
			c = lost(declared, err)
		}
		run.Cells[i] = inFlight(c, events)
	}
	return run.Settled(), nil
}

// loadCell reads the record of a declared cell. Identity and declaration are the plan's.
func loadCell(dir fs.FS, declared results.Cell) (results.Cell, error) {
	if err := results.CheckID(declared.ID); err != nil {
		return results.Cell{}, err
	}
	var c results.Cell
	if err := readJSON(dir, path.Join(CellsDir, declared.ID, CellFile), &c); err != nil {
		return results.Cell{}, err
	}
	if c.ID != declared.ID {
		return results.Cell{}, fmt.Errorf("%s: the record is of cell %q", CellFile, results.Line(c.ID))
	}
	c.Kernel, c.Driver, c.Lane = declared.Kernel, declared.Driver, declared.Lane
	c.Declared, c.Expect, c.Logs = declared.Declared, declared.Expect, declared.Logs
	return c, nil
}

// lost is a declared cell without a record: all of it is missing, for this reason.
func lost(declared results.Cell, why error) results.Cell {
	text := "no record: " + why.Error()
	if errors.Is(why, fs.ErrNotExist) {
		text = "no record: the file does not exist"
	}
	missing := results.NotRecorded(cause.Evidence{File: CellFile, Text: results.Line(text)})
	c := declared
	c.Stages, c.Scenarios, c.Perf, c.Attempts = nil, nil, nil, nil
	for _, name := range declared.Declared.Stages {
		c.Stages = append(c.Stages, results.Stage{Name: name, Finding: missing})
	}
	for _, name := range declared.Declared.Scenarios {
		c.Scenarios = append(c.Scenarios, results.Scenario{Name: name, Finding: missing})
	}
	return c
}

// inFlight adds a missing stage for the last one that had started and never ended, with the journal's line
// for evidence.
func inFlight(c results.Cell, events []Event) results.Cell {
	var last *Event
	for i, e := range events {
		switch {
		case e.Cell != c.ID:
		case e.Kind == KindStart:
			last = &events[i]
		case e.Kind == KindStage && last != nil && last.Name == e.Name:
			last = nil
		}
	}
	if last == nil {
		return c
	}
	if _, ok := c.Stage(last.Name); ok {
		return c
	}
	text := fmt.Sprintf("stage %s started at %s and never ended", results.Line(last.Name), last.Time.Format("15:04:05"))
	c.Stages = append(c.Stages, results.Stage{Name: last.Name, Started: last.Time,
		Finding: results.NotRecorded(cause.Evidence{File: "../../" + JournalFile, Line: last.Line, Text: text})})
	return c
}

func loadJournal(dir fs.FS) ([]Event, error) {
	f, err := open(dir, JournalFile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadJournal(io.LimitReader(f, maxRecord))
}

func readJSON(dir fs.FS, name string, v any) error {
	f, err := open(dir, name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return err
	}
	if len(b) > maxRecord {
		return fmt.Errorf("%s: longer than %d bytes", name, maxRecord)
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// open opens a regular file; anything else, a FIFO for one, could hold the reader up.
func open(dir fs.FS, name string) (fs.File, error) {
	st, err := fs.Stat(dir, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", name)
	}
	return dir.Open(name)
}

func unreadable(dir string, err error) error {
	return cause.Errorf(cause.NotRecorded, cause.FaultHarness, "reading the run in %s: %w", dir, err).
		Advise("name a directory that `mews run` wrote")
}
