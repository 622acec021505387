// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/verifier"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/meter"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/drift"
)

// Measurement is how each path is measured: the same in all runs, as they are compared with one another.
func Measurement() agent.Measurement { return agent.Measurement{Repeats: 8, Batches: 30} }

// measureLimit ends a measurement that hangs. Some 1.2 thousand million instructions take an emulator that counts them 10 s
// on an idle host, and a minute on one with five times as many threads as processors.
const measureLimit = 3 * time.Minute

// perf measures the paths in a guest whose clock counts instructions: without the driver, with it, with its consumer.
func (c *cellRun) perf(call call, g *guest) (string, error) {
	without, err := c.measure(call, g)
	if err != nil {
		return "", err
	}
	var note string
	if err := call(c.startLimit(), func(ctx context.Context) error { note, err = c.load(ctx, g); return err }); err != nil {
		return "", err
	}
	var list []results.Perf
	with, err := c.measure(call, g)
	if err != nil {
		return note, err
	}
	list = append(list, insns(results.SettingLoaded, with, without)...)
	if c.captures() {
		if with, err = c.measureConsumer(call, g); err != nil {
			return note, err
		}
		list = append(list, insns(results.SettingConsumer, with, without)...)
	}
	list = append(list, verified(c.programs)...)
	if err := call(startLimit, func(ctx context.Context) error { _, err := c.unload(ctx, g); return err }); err != nil {
		return note, err
	}
	if err := c.rec.Perf(list...); err != nil {
		return note, broken{err}
	}
	note += "; " + measured(list) + lacking(without)
	return note, c.regressed(list)
}

// captures reports whether there is a consumer that the agent can start and stop.
func (c *cellRun) captures() bool {
	return c.Driver.Until.V != matrix.UntilLoad && c.Consumer.Kind.V != matrix.Command
}

func (c *cellRun) measure(call call, g *guest) (r agent.MeasureReport, err error) {
	err = call(measureLimit, func(ctx context.Context) error {
		r, err = g.c.Measure(ctx, Measurement())
		return err
	})
	if err != nil {
		return r, err
	}
	for i, p := range r.Paths {
		// A guest's word: only what was asked for is a path, and each once.
		if !slices.Contains(meter.Names(), p.Path) || slices.ContainsFunc(r.Paths[:i], func(q agent.PathCost) bool { return q.Path == p.Path }) {
			return r, cause.Errorf(cause.Internal, cause.FaultHarness, "the guest measured %.40q, which nobody asked for", p.Path)
		}
		if p.Failure != "" && !p.Lacking {
			return r, cause.Errorf(cause.Internal, cause.FaultHarness, "path %s could not be measured: %s", p.Path, p.Failure)
		}
	}
	if len(r.Paths) == 0 {
		return r, cause.Errorf(cause.Internal, cause.FaultHarness, "no path was measured")
	}
	return r, nil
}

// measureConsumer measures while the consumer captures. A driver that loses events does less than its work: what is
// measured then is not its cost.
func (c *cellRun) measureConsumer(call call, g *guest) (agent.MeasureReport, error) {
	if err := call(c.startLimit(), func(ctx context.Context) error {
		_, err := g.c.StartConsumer(ctx, agent.ConsumerSpec{Kind: c.Consumer.Kind.V, Options: falcoOptions(c.Consumer)})
		return err
	}); err != nil {
		return agent.MeasureReport{}, err
	}
	// A driver that does not see what is measured costs less, and is no better for it.
	if err := call(deedLimit, func(ctx context.Context) error {
		r, err := g.c.CheckEvents(ctx)
		if err == nil {
			err = r.Err()
		}
		return err
	}); err != nil {
		return agent.MeasureReport{}, err
	}
	r, err := c.measure(call, g)
	if err != nil {
		return r, err
	}
	return r, call(c.startLimit(), func(ctx context.Context) error {
		stats, err := g.c.StopConsumer(ctx)
		if err == nil && stats.Events == 0 {
			err = cause.Failf(cause.NoEvents, cause.FaultDriver, "the consumer had not one event while the paths were measured")
		}
		if err == nil && stats.Drops > 0 {
			err = cause.Errorf(cause.EventDrops, cause.FaultHarness, "%d events were lost while the paths were measured: what was measured is not the cost of them all", stats.Drops).
				Advise("the consumer does not catch up between batches")
		}
		return err
	})
}

// insns makes the records of the paths that were measured both ways.
func insns(setting string, with, without agent.MeasureReport) []results.Perf {
	var out []results.Perf
	for _, b := range without.Paths {
		i := slices.IndexFunc(with.Paths, func(p agent.PathCost) bool { return p.Path == b.Path })
		if i >= 0 && len(with.Paths[i].Ticks) > 0 && len(b.Ticks) > 0 {
			out = append(out, results.MeasuredInsns(b.Path, setting, with.Paths[i].Ticks, b.Ticks),
				results.MeasuredMeans(b.Path, setting, with.Paths[i].Means, b.Means))
		}
	}
	return out
}

// verified makes the records of what the verifier counted of each program.
func verified(programs []agent.Program) []results.Perf {
	var out []results.Perf
	for _, p := range programs {
		s, ok := verifier.Parse(p.Log)
		if !p.Loaded || !ok {
			continue
		}
		add := func(metric string, value, limit float64) {
			out = append(out, results.Perf{Metric: metric, Program: p.Name, Driver: value, Limit: limit, Class: results.ClassVerifier})
		}
		add(results.MetricVerifierInsns, float64(s.Insns), float64(s.Limit))
		add(results.MetricVerifierPeak, float64(s.PeakStates), 0)
		if s.Stack != nil {
			add(results.MetricVerifierStack, float64(s.StackBytes()), results.LimitVerifierStack)
		}
		add(results.MetricLoadSeconds, p.Took.Seconds(), 0)
	}
	return out
}

// measured sums up what was measured.
func measured(list []results.Perf) string {
	var paths, programs int
	var spread float64
	var widest string
	for _, p := range list {
		switch p.Metric {
		case results.MetricInsns:
			paths++
			if s := p.Spread(); s >= spread {
				spread, widest = s, p.Syscall
			}
		case results.MetricVerifierInsns:
			programs++
		}
	}
	note := fmt.Sprintf("%d figures of %d repeats, which lie %.3f %% apart at most (%s)", paths, Measurement().Repeats, 100*spread, widest)
	if programs > 0 {
		note += fmt.Sprintf("; %d programs as the verifier saw them", programs)
	}
	return note
}

func lacking(r agent.MeasureReport) string {
	var out []string
	for _, p := range r.Paths {
		if p.Lacking {
			out = append(out, p.Path)
		}
	}
	if out == nil {
		return ""
	}
	return "; without " + strings.Join(out, ", ") + ", which this kernel does not have"
}

// regressed compares with the earlier run, if there is one.
func (c *cellRun) regressed(list []results.Perf) error {
	if c.before == nil {
		return nil
	}
	if len(c.before.Perf) == 0 {
		return cause.Errorf(cause.NotRecorded, cause.FaultHarness, "the baseline has no figures of this cell: there is nothing to compare with").
			Advise("give a baseline that measured this driver on this kernel, or none")
	}
	now := *c.before
	now.Perf = list
	return drift.Err(drift.Cell(now, *c.before))
}
