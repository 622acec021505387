// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Reopen goes on with a run in its own directory. A cell whose verdict was reached (pass, fail or unsupported) is
// kept and named in done; of every other cell the record and the logs are removed, because half of an attempt beside
// the whole of another would be read as one. plan is what is to be run now: its cells must be those that the directory
// declares, with the same drivers, stages and scenarios, or verdicts on one thing would stand beside those on another.
func Reopen(path string, plan []results.Cell) (d *Dir, done []string, err error) {
	run, err := Load(path)
	if err != nil {
		return nil, nil, err
	}
	if len(plan) != len(run.Cells) {
		return nil, nil, fmt.Errorf("%s declares %d cells, the plan has %d: resume with the flags that the run was begun with", path, len(run.Cells), len(plan))
	}
	for _, c := range run.Cells {
		if err := sameCell(c, plan); err != nil {
			return nil, nil, fmt.Errorf("%s: %w: run with --offline and the flags it was begun with, or begin anew", path, err)
		}
	}
	d = &Dir{path: path, now: time.Now, run: run}
	d.run.Ended, d.run.Estimate = time.Time{}, nil // which was of the whole, in one go
	for i, c := range d.run.Cells {
		if c.State == cause.Pass || c.State == cause.Fail || c.State == cause.Unsupported {
			done = append(done, c.ID)
			continue
		}
		d.run.Cells[i] = results.Cell{ID: c.ID, Kernel: c.Kernel, Driver: c.Driver, Declared: c.Declared, Expect: c.Expect, Foresees: c.Foresees, Lane: c.Lane}
		if err := os.RemoveAll(d.CellPath(c.ID)); err != nil {
			return nil, nil, unwritable(err)
		}
		if err := os.MkdirAll(d.CellPath(c.ID), 0o755); err != nil {
			return nil, nil, unwritable(err)
		}
	}
	if d.journal, err = reopenJournal(filepath.Join(path, JournalFile)); err != nil {
		return nil, nil, err
	}
	return d, done, writeJSON(filepath.Join(path, RunFile), d.run.Settled())
}

// sameCell says how the plan's cell of the same id differs from the declared one.
func sameCell(c results.Cell, plan []results.Cell) error {
	i := slices.IndexFunc(plan, func(p results.Cell) bool { return p.ID == c.ID })
	if i >= 0 && c.Driver.ConsumerKind == "" { // of before it was recorded
		c.Driver.ConsumerKind = plan[i].Driver.ConsumerKind
	}
	switch {
	case i < 0:
		return fmt.Errorf("it declares cell %s, which the plan no longer has", c.ID)
	case c.Driver != plan[i].Driver:
		return fmt.Errorf("cell %s was begun with driver %s %s and would go on with %s", c.ID, c.Driver.Name, c.Driver.Version, plan[i].Driver.Version)
	case c.Declared.Repeat != plan[i].Declared.Repeat:
		return fmt.Errorf("cell %s was begun with --repeat %d and would go on with %d", c.ID, max(1, c.Declared.Repeat), max(1, plan[i].Declared.Repeat))
	case !slices.Equal(c.Declared.Stages, plan[i].Declared.Stages), !slices.Equal(c.Declared.Scenarios, plan[i].Declared.Scenarios):
		return fmt.Errorf("cell %s was begun with other stages or scenarios", c.ID)
	}
	return nil
}

// reopenJournal opens the journal for more, without the line that a kill tore.
func reopenJournal(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, unwritable(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return nil, unwritable(err)
	}
	if whole := bytes.LastIndexByte(data, '\n') + 1; whole < len(data) {
		if err := f.Truncate(int64(whole)); err != nil {
			return nil, unwritable(err)
		}
	}
	j, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0o644)
	return j, unwritable(err)
}
