// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// clonesDir is the directory of a cell in which the logs of clones are kept that have something to tell.
const clonesDir = "clones"

// inClones is [cellRun.scenarios] with a guest for each: g, in which the driver is loaded and the consumer ready, is saved, and
// each scenario is done in a clone, as many at once as there are places. So no scenario sees another's traces, and the drops of
// one say nothing of another. The guest that it returns goes on from where g was, with the consumer stopped.
func (c *cellRun) inClones(ctx context.Context, g *guest) (string, *guest, error) {
	var sum tally
	note, g, err := c.eachInAClone(ctx, g, &sum)
	if err != nil && g.gone() {
		err = c.proven(err, sum)
	}
	return note, g, err
}

// proven is what stands when a guest was lost: what clones have shown already is not taken back by another flight.
func (c *cellRun) proven(err error, sum tally) error {
	switch {
	case errors.As(err, &broken{}) || cause.Of(err).Cause == cause.Cancelled || suspicious(err):
	case c.splat != nil:
		return c.splat
	case sum.worst != nil && cause.Of(sum.worst).State == cause.Fail:
		return sum.worst
	}
	return err
}

func (c *cellRun) eachInAClone(ctx context.Context, g *guest, sum *tally) (string, *guest, error) {
	unable, err := c.recordUnable()
	if err != nil {
		return "", g, err
	}
	if err := c.startActors(ctx, g, c.able()); err != nil {
		return "", g, err
	}
	ready, logged, err := c.pause(ctx, g)
	if err != nil {
		return "", g, err
	}
	if err := c.fan(ctx, ready, logged, c.able(), sum); err != nil {
		ready.Close()
		return "", g, err
	}
	next, err := c.resume(ctx, ready, c.rec.Dir(), false)
	ready.Close()
	if err != nil {
		return "", g, err
	}
	g = next
	var before consumer.Stats
	if err := c.through(ctx, g)(startLimit, func(ctx context.Context) (err error) {
		before, err = g.c.StopConsumer(ctx)
		return err
	}); err != nil {
		return "", g, err
	}
	sum.share(len(c.able())*c.times(), before)
	if err := c.endActors(ctx, g); err != nil {
		return "", g, err
	}
	note, err := c.summary(*sum, unable)
	each := "; each in a clone"
	if n := c.times(); n > 1 {
		each = fmt.Sprintf("; each %d times, every time in a clone", n)
	}
	return note + each + c.turn.tight(), g, err
}

// share takes from the sum what every clone of n counted because its origin had: it happened once.
func (t *tally) share(n int, before consumer.Stats) {
	t.events -= min(t.events, uint64(n-1)*before.Events)
	t.drops -= min(t.drops, uint64(n-1)*before.Drops)
}

// pause saves g, and says how far its kernel's log had come.
func (c *cellRun) pause(ctx context.Context, g *guest) (s *machine.Snapshot, logged uint64, err error) {
	if err := c.through(ctx, g)(callLimit, func(ctx context.Context) error {
		_, logged, err = g.kernelLogFrom(ctx, 0)
		return err
	}); err != nil {
		return nil, 0, err
	}
	g.keepLogs(c.patient)
	s, err = g.save(ctx, c.patient, c.Allow)
	c.said = append(c.said, g.m.Console().Splats()...)
	return s, logged, err
}

// fan does scenarios, each as often as is asked for. When a guest is lost, those that are under way are done to
// their end and recorded, and no others begun; the error is that of the first in their order, but one that is no verdict gives
// way to one that is.
func (c *cellRun) fan(ctx context.Context, ready *machine.Snapshot, logged uint64, all []scenarios.Scenario, sum *tally) error {
	n := c.times()
	ended := make([]*outcome, len(all)*n) // all times of the first scenario, then of the next
	var mu sync.Mutex
	apart := n * takenApart(all)
	begun, settled, lost := 0, 0, false
	var failed error
	begin := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		i := begun
		begun++
		return i, i < len(ended) && !lost
	}
	end := func(i int, o *outcome) {
		mu.Lock()
		defer mu.Unlock()
		ended[i] = o
		lost = lost || o.err != nil
		// They are recorded in their order, whichever was quicker.
		for ; settled < len(ended) && ended[settled] != nil; settled++ {
			if err := c.settle(all[settled/n], ended[settled-settled%n:settled+1], sum); err != nil && (failed == nil || errors.As(failed, &unforked{})) {
				failed = err
			}
		}
	}
	var wg sync.WaitGroup
	done := c.turn.fan()
	defer done()
	for range c.turn.desk.Cores() {
		wg.Go(func() {
			for i, more := begin(); more; i, more = begin() {
				end(i, c.inClone(ctx, ready, logged, all[i/n], c.cloneDir(all[i/n], i%n), i != apart))
			}
		})
	}
	wg.Wait()
	return failed
}

// takenApart is which of the scenarios leaves nothing of its deeds though its guest is thrown away: the first with a container. A driver
// has to bear the end of one too, and what the kernel says of it counts.
func takenApart(all []scenarios.Scenario) int {
	return max(0, slices.IndexFunc(all, func(s scenarios.Scenario) bool { return s.Context == scenarios.Container }))
}

// outcome is what came of a scenario in its clone.
type outcome struct {
	seen    scenarios.Observation
	total   consumer.Stats
	verdict scenarios.Verdict
	excused string
	splat   error // the kernel complained
	err     error // the guest was lost
}

// settle takes the last of the times that a scenario was done until now into account, and records the scenario when that is
// all of them.
func (c *cellRun) settle(s scenarios.Scenario, times []*outcome, sum *tally) error {
	o := times[len(times)-1]
	if o.err != nil {
		return o.err
	}
	sum.events += o.total.Events
	sum.drops += o.total.Drops
	sum.skipped += o.seen.Skipped
	if o.splat != nil && c.splat == nil {
		c.splat = o.splat
	}
	if o.excused != "" && !slices.Contains(c.excused, o.excused) {
		c.excused = append(c.excused, o.excused)
	}
	if len(times) < c.times() {
		return nil
	}
	var all []results.Scenario
	for _, o := range times {
		if o.err != nil {
			return nil // told already
		}
		all = append(all, record(s, o.seen, o.verdict))
	}
	return c.judged(s, all, sum)
}

// cloneDir is where the logs of a scenario's clone go, below the cell's; of those of which there are more than one each has
// the number of its time, from 1.
func (c *cellRun) cloneDir(s scenarios.Scenario, time int) string {
	if c.times() == 1 {
		return filepath.Join(clonesDir, s.Name)
	}
	return filepath.Join(clonesDir, fmt.Sprintf("%s.%d", s.Name, time+1))
}

// inClone does one scenario in a guest of its own, whose logs go to sub below the cell's directory. They stay only if they have
// something to tell. leave says that the deeds' containers may stay as they are.
func (c *cellRun) inClone(ctx context.Context, ready *machine.Snapshot, logged uint64, s scenarios.Scenario, sub string, leave bool) *outcome {
	o := &outcome{}
	dir := filepath.Join(c.rec.Dir(), sub)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return &outcome{err: broken{err}}
	}
	g, err := c.resume(ctx, ready, dir, false)
	if errors.As(err, &unforked{}) { // the others come to life from it: this may have been the host's
		g, err = c.resume(ctx, ready, dir, false)
	}
	if err != nil {
		return &outcome{err: err}
	}
	defer g.stop()
	g.thrown = leave
	c.undone.Add(-1)
	call := c.through(ctx, g)
	var lines []agent.KernelLine
	o.err = func() (err error) {
		if o.seen, err = c.observe(call, g, s); err != nil {
			return err
		}
		if err := call(startLimit, func(ctx context.Context) (err error) {
			o.total, err = g.c.Totals(ctx)
			return err
		}); err != nil {
			return err
		}
		return call(callLimit, func(ctx context.Context) error {
			if lines, _, err = g.kernelLogFrom(ctx, logged); err == nil {
				o.excused, o.splat = complaints(lines, g.m.Console().Splats(), c.Allow, time.Now())
			}
			return err
		})
	}()
	o.seen.Drops += o.total.Drops
	o.verdict = scenarios.Judge(s, o.seen)
	if f := cause.Of(within(o.err, sub, s)); f.Cause == cause.ScenarioBroken {
		// Its own deed was the end of the guest, which was its alone: the others have theirs.
		o.verdict, o.err = scenarios.Verdict{Finding: f}, nil
	}
	if o.err != nil || o.splat != nil || o.verdict.State != cause.Pass {
		g.keepLogs(c.patient)
	}
	g.stop()
	if o.err == nil { // what the kernel said after it was last asked counts too
		o.excused, o.splat = complaints(lines, g.m.Console().Splats(), c.Allow, time.Now())
		o.err = g.attribute(g.m.Err())
		c.part(history.Clone, time.Since(g.born).Seconds())
	}
	if fi, err := os.Stat(g.m.Console().Path()); o.err == nil && o.splat == nil && o.verdict.State == cause.Pass && err == nil && fi.Size() == 0 {
		os.RemoveAll(dir)
		os.Remove(filepath.Dir(dir)) // if it was the last
		return o
	}
	o.err, o.splat = within(o.err, sub, s), within(o.splat, sub, s)
	return o
}

// within says of which clone an error is, and where its logs are.
func within(err error, sub string, s scenarios.Scenario) error {
	var e *cause.Err
	if !errors.As(err, &e) || errors.As(err, &broken{}) {
		return err
	}
	f := e.Finding
	f.Evidence = slices.Clone(f.Evidence)
	for i, ev := range f.Evidence {
		if ev.File != "" {
			f.Evidence[i].File = filepath.Join(sub, ev.File)
		}
	}
	return &cause.Err{Finding: f, What: fmt.Sprintf("scenario %s: %v", s.Name, err), Hint: e.Hint}
}
