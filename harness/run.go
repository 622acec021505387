// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/schedule"
	"github.com/mews-farm/mews/results"
)

// Runner takes the cells of a plan to their verdicts.
type Runner struct {
	Parts     Parts
	Starter   machine.Starter
	Patience  Patience
	MemoryMiB int  // a guest
	Vmcore    bool // keep the memory of a guest whose kernel died
	// Before finds what an earlier run recorded of a cell; nil: there is nothing to compare with. A cell without figures is an error.
	Before func(cellID string) *results.Cell
	Jobs   int  // cells that have guests at once
	NoFork bool // everything of a cell in one boot, as a cross-check of what clones say
	// History steers the run, and learns from it; nil: nothing is known of earlier runs. Accelerator is what its times are of.
	History     *history.History
	Accelerator string
	Dir         string // where what is fetched, built and booted is kept: its disk must have room
	// Shelf keeps booted kernels for later runs; nil: each run boots.
	Shelf    Shelf
	Recorder func(cellID string) Recorder
	View     live.View
	// Keep is let into each guest after its scenarios, before the driver is unloaded; nil: nobody is. It wants NoFork.
	Keep Visit

	nest    *nest
	shared  *shared
	desk    *schedule.Desk
	lengths lengths
}

// Run runs the cells: whatever there is to do next for any of them, the one with the most before it first, as far as the host
// holds it. A cell that falls short, whose packages cannot be had or whose
// record cannot be written does not keep the others from their verdicts. The error is only of records that could not
// be written, or of ctx, whose end leaves the record as far as it came.
func (r *Runner) Run(ctx context.Context, cells []*Cell) error {
	r.nest = newNest(r.Shelf, r.View.Warn)
	defer r.nest.close()
	r.desk, r.shared = newDesk(r.places(), r.Jobs, r.Dir), newShared()
	r.lengths = lengths{r.History, r.Accelerator, r.desk.Cores()}
	if r.History == nil {
		r.lengths.History = &history.History{}
	}
	lost := make([]error, len(cells))
	var wg sync.WaitGroup
	for i, c := range cells {
		wg.Go(func() {
			if err := r.cell(ctx, c); err != nil {
				lost[i] = fmt.Errorf("cell %s: %w", c.ID, err)
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return errors.Join(append(lost, context.Cause(ctx))...)
	}
	return errors.Join(lost...)
}

// places are how many steps go on at once.
func (r *Runner) places() int { return max(r.Jobs, runtime.NumCPU()) }

// cell runs one cell.
func (r *Runner) cell(ctx context.Context, c *Cell) error {
	run := &cellRun{
		Cell: c, parts: r.Parts, starter: r.Starter, patient: r.Patience, memory: r.MemoryMiB, vmcore: r.Vmcore,
		noFork: r.NoFork, nest: r.nest, shared: r.shared, lengths: r.lengths, turn: &turn{desk: r.desk},
		rec:  r.Recorder(c.ID),
		view: r.View, keep: r.Keep,
	}
	if r.Before != nil {
		run.before = r.Before(c.ID)
	}
	return run.run(ctx)
}

// ErrInterrupted is the cause of a context that a signal ended.
var ErrInterrupted = errors.New("interrupted by a signal")

// Interrupted reports whether err is of a run that a signal ended.
func Interrupted(err error) bool {
	return errors.Is(err, ErrInterrupted) || errors.Is(err, context.Canceled)
}
