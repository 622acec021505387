// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// LogName is the name of a build's log in the directory that [Builder].Build is given.
const LogName = "build.log"

// Options of [Run]. All but Store are needed.
type Options struct {
	Builder Builder
	Store   Store            // nil: nothing is published
	Archive *archive.Archive // remembers what cells came to
	Scratch string           // a directory that builds may work in; it is made
	Jobs    int              // cells built at once; memory and processors may allow fewer
	Watcher Watcher
}

// Run takes cells to their verdicts and publishes what was built. What an earlier run came to with the same input, or the
// store has, is not built again. A cell that falls short does not keep the others from theirs. The results are in the order
// of cells; the error is of what kept the run from ending, and of ctx: what is missing then was not judged.
func Run(ctx context.Context, cells []*Cell, o Options) ([]*Result, error) {
	work, err := openScratch(o.Scratch)
	if err != nil {
		return nil, err
	}
	r := &run{Options: o, memory: memory{o.Archive}, work: work.dir, groups: map[group]*batch{}}
	out := make([]*Result, len(cells))
	for i, c := range cells {
		out[i] = newResult(c)
		b := r.groups[groupOf(c)]
		if b == nil {
			b = &batch{}
			r.groups[groupOf(c)] = b
		}
		b.results, b.open = append(b.results, out[i]), b.open+1
	}
	processors, free := machine()
	r.each(ctx, processors+2, out, r.resolve) // two that wait for the network beside those that compute
	var rest []*Result
	for _, res := range out {
		if res.State == cause.Missing {
			rest = append(rest, res)
		}
	}
	parallel, each := slots(o.Jobs, len(rest), processors, free)
	r.each(ctx, parallel, rest, func(ctx context.Context, res *Result) { r.build(ctx, res, each) })
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, errors.Join(err, work.close())
}

type run struct {
	Options
	memory memory
	work   string

	mu     sync.Mutex
	groups map[group]*batch
}

// group is what is published together: users look for a module and a probe of one driver version side by side.
type group struct {
	kernel  *Kernel
	version string
}

func groupOf(c *Cell) group { return group{c.Kernel, c.Driver.Version} }

type batch struct {
	results []*Result
	open    int // of results, those without a verdict
}

func (r *run) each(ctx context.Context, limit int, rs []*Result, do func(context.Context, *Result)) {
	var g errgroup.Group
	g.SetLimit(limit)
	for _, res := range rs {
		g.Go(func() error {
			if ctx.Err() == nil {
				do(ctx, res)
			}
			return nil
		})
	}
	g.Wait()
}

// resolve gives a verdict to a cell that needs no build.
func (r *run) resolve(ctx context.Context, res *Result) {
	c := res.Cell
	if err := c.known(); err != nil {
		res.Origin = Known
		r.settle(ctx, res, StageResolve, err)
		return
	}
	r.Watcher.Start(c.ID, StageResolve)
	in, err := r.Builder.Inputs(ctx, c)
	if err != nil {
		res.Origin = Known
		r.settle(ctx, res, StageResolve, err)
		return
	}
	res.Inputs = in
	if r.memory.recall(res) {
		r.Watcher.End(c.ID, StageResolve, cause.Pass, "known from an earlier run of the same input")
		r.done(ctx, res)
		return
	}
	if r.Store == nil {
		r.Watcher.End(c.ID, StageResolve, cause.Pass, "")
		return
	}
	a, err := r.Store.Find(ctx, c, in.Key())
	switch {
	case err != nil:
		r.settle(ctx, res, StageResolve, err)
	case a != nil && in.made(a):
		res.Artifact, res.Origin, res.Seconds = a, Stored, a.Seconds
		a.Cached = true
		r.settle(ctx, res, StageResolve, nil)
	default:
		r.Watcher.End(c.ID, StageResolve, cause.Pass, "")
	}
}

// known is what is known of a cell before anything is tried.
func (c *Cell) known() error {
	// What cannot exist is no trouble of a mirror's.
	if no := Impossible(c.Kernel, c.Driver); no != nil {
		return no
	}
	if c.Kernel.Err != nil {
		return c.Kernel.Err
	}
	return c.Driver.Err
}

// build builds a cell.
func (r *run) build(ctx context.Context, res *Result, jobs int) {
	c := res.Cell
	r.Watcher.Start(c.ID, StageBuild)
	dir, err := os.MkdirTemp(r.work, "cell-")
	if err != nil {
		r.settle(ctx, res, StageBuild, scratchErr(err))
		return
	}
	a, err := r.Builder.Build(ctx, c, dir, jobs)
	if cancelled(ctx, err) {
		return
	}
	res.Origin = Built
	res.end(StageBuild, err)
	if err == nil {
		res.Artifact, res.Seconds = a, a.Seconds
	}
	// What was built in the moment of an interruption is not lost.
	if keep := r.memory.keep(context.WithoutCancel(ctx), res, filepath.Join(dir, LogName)); keep != nil {
		err = keep
	}
	if rm := os.RemoveAll(dir); rm != nil && err == nil {
		err = scratchErr(rm)
	}
	r.settle(ctx, res, StageBuild, err)
}

// cancelled tells an end by ctx, which is no verdict: the cell stays missing.
func cancelled(ctx context.Context, err error) bool {
	return ctx.Err() != nil && cause.Of(err).Cause == cause.Cancelled
}

// settle ends a cell in a stage.
func (r *run) settle(ctx context.Context, res *Result, stage string, err error) {
	if cancelled(ctx, err) {
		return
	}
	res.end(stage, err)
	if err != nil {
		res.Artifact = nil
	}
	r.Watcher.End(res.ID, stage, res.State, res.line())
	r.done(ctx, res)
}

// line says in a few words how a cell ended.
func (res *Result) line() string {
	a := res.Artifact
	if a == nil {
		return fmt.Sprintf("%s: %s", res.Cause, res.What())
	}
	text := fmt.Sprintf("%s in %.1f s", a.Compiler.Command, res.Seconds)
	if s := a.Substitution; s != nil {
		text += ", in place of " + s.Wanted
	}
	if res.Origin == Stored {
		text += ", in the store"
	}
	return text
}

// done publishes the cells of a kernel and driver version when the last of them has its verdict.
func (r *run) done(ctx context.Context, res *Result) {
	r.mu.Lock()
	b := r.groups[groupOf(res.Cell)]
	b.open--
	last := b.open == 0
	r.mu.Unlock()
	switch {
	case r.Store == nil:
		r.Watcher.Done(res.ID, res.State)
	case last:
		err := r.Store.Publish(ctx, b.results)
		if cancelled(ctx, err) {
			return
		}
		for _, x := range b.results {
			if err != nil && x.State == cause.Pass {
				// What was built is remembered all the same: the next run publishes it.
				x.end(StagePublish, err)
				x.Artifact = nil
				r.Watcher.End(x.ID, StagePublish, x.State, x.line())
			}
			r.Watcher.Done(x.ID, x.State)
		}
	}
}
