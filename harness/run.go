// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
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
	Jobs   int  // cells at once
	NoFork bool // everything of a cell in one boot, as a cross-check of what clones say
	// Shelf keeps booted kernels for later runs; nil: each run boots.
	Shelf    Shelf
	Recorder func(cellID string) Recorder
	View     live.View
	// Keep is let into each guest after its scenarios, before the driver is unloaded; nil: nobody is. It wants NoFork.
	Keep Visit

	nest   *nest
	berths *berths
}

// Run runs the cells, Jobs at a time, in their order. A cell that falls short, whose packages cannot be had or whose
// record cannot be written does not keep the others from their verdicts. The error is only of records that could not
// be written, or of ctx, whose end leaves the record as far as it came.
func (r *Runner) Run(ctx context.Context, cells []*Cell) error {
	r.nest = newNest(r.Shelf, r.View.Warn)
	defer r.nest.close()
	r.berths = newBerths(max(r.Jobs, runtime.NumCPU()), r.MemoryMiB)
	var g errgroup.Group
	g.SetLimit(max(1, r.Jobs))
	lost := make([]error, len(cells))
	for i, c := range cells {
		g.Go(func() error {
			if ctx.Err() != nil {
				return nil
			}
			if err := r.cell(ctx, c); err != nil {
				lost[i] = fmt.Errorf("cell %s: %w", c.ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.Join(append(lost, context.Cause(ctx))...)
	}
	return errors.Join(lost...)
}

// cell runs one cell.
func (r *Runner) cell(ctx context.Context, c *Cell) error {
	run := &cellRun{
		Cell: c, parts: r.Parts, starter: r.Starter, patient: r.Patience, memory: r.MemoryMiB, vmcore: r.Vmcore,
		noFork: r.NoFork, nest: r.nest, berths: r.berths,
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
