// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/drift"
)

// How often the perf lane is put to the test, in one boot.
const (
	unchangedRuns = 20
	dearerRuns    = 10
)

// perfLane measures how far repeats of the perf lane lie apart while every processor of the host is kept busy, and what the
// rule makes of an unchanged probe and of one that is 1 % dearer at each exec.
func perfLane(ctx context.Context, unchanged, dearer int) ([]figure, error) {
	l, err := bootCounted(ctx)
	if err != nil {
		return nil, err
	}
	defer l.m.Stop(context.Background())
	stop := burn(2 * runtime.NumCPU())
	defer stop()
	all, err := l.cost(ctx, modern.Good)
	if err != nil {
		return nil, err
	}
	spread := 0.0
	for _, p := range all {
		spread = max(spread, p.Spread())
	}
	before, err := l.cost(ctx, modern.Good, "execve")
	if err != nil {
		return nil, err
	}
	judge := func(n int, e modern.Edition) (regressions int, err error) {
		for range n {
			now, err := l.cost(ctx, e, "execve")
			if err != nil {
				return regressions, err
			}
			if drift.Err(drift.Cell(results.Cell{Perf: now}, results.Cell{Perf: before})) != nil {
				regressions++
			}
		}
		return regressions, nil
	}
	alarms, err := judge(unchanged, modern.Good)
	if err != nil {
		return nil, err
	}
	found, err := judge(dearer, modern.DearExec)
	return []figure{
		{"perf lane: repeats apart, the widest of all paths, host kept busy", 100 * spread, "%", 0.1, "limit", 0.1},
		{fmt.Sprintf("perf lane: false alarms in %d measurements of an unchanged probe", unchanged), float64(alarms), "", 0, "limit", 0},
		{fmt.Sprintf("perf lane: of %d measurements of a probe 1 %% dearer at each exec, missed", dearer), float64(dearer - found), "", 0, "limit", 0},
	}, err
}

// lane is a guest that counts.
type lane struct {
	m       machine.Machine
	c       *agent.Client
	without map[string]agent.PathCost
}

// bootCounted boots 6.1 with nothing but the agent.
func bootCounted(ctx context.Context) (*lane, error) {
	shop, plan, err := offline(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, c := range plan.Cells {
		if c.Resolved == nil || !strings.HasPrefix(c.Resolved.Kernel.Release, "6.1.") {
			continue
		}
		files, err := shop.Kernel(ctx, c.Resolved)
		if err != nil {
			return nil, err
		}
		initrd, err := shop.Initramfs(ctx, files)
		if err != nil {
			return nil, err
		}
		dir, err := os.MkdirTemp("", "mews-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir) // the console's log stays open as long as it is written to
		m, err := qemu.Starter{}.Start(ctx, machine.Spec{Name: "bench", Kernel: files.Image, Initrd: initrd, Dir: dir, Counted: true})
		if err != nil {
			return nil, err
		}
		l := &lane{m: m, without: map[string]agent.PathCost{}}
		if l.c, err = agent.Dial(ctx, m.Agent()); err == nil {
			var r agent.MeasureReport
			r, err = l.c.Measure(ctx, harness.Measurement())
			for _, p := range r.Paths {
				l.without[p.Path] = p
			}
		}
		if err != nil {
			return nil, errors.Join(err, m.Stop(ctx))
		}
		return l, nil
	}
	return nil, errors.New("the profile has no kernel 6.1")
}

// cost is what an edition of the probe costs while it is read.
func (l *lane) cost(ctx context.Context, e modern.Edition, paths ...string) ([]results.Perf, error) {
	if _, err := l.c.LoadProbe(ctx, agent.Probe{Edition: string(e)}); err != nil {
		return nil, err
	}
	if _, err := l.c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native}); err != nil {
		return nil, err
	}
	m := harness.Measurement()
	m.Paths = paths
	r, err := l.c.Measure(ctx, m)
	if err != nil {
		return nil, err
	}
	if _, err := l.c.StopConsumer(ctx); err != nil {
		return nil, err
	}
	var out []results.Perf
	for _, p := range r.Paths {
		out = append(out, results.MeasuredInsns(p.Path, results.SettingConsumer, p.Ticks, l.without[p.Path].Ticks))
	}
	return out, l.c.UnloadProbe(ctx)
}

// burnLimit ends the load if nobody does.
const burnLimit = 30 * time.Minute

// burn keeps n threads busy until stop is called.
func burn(n int) (stop func()) {
	ctx, cancel := context.WithTimeout(context.Background(), burnLimit)
	for range n {
		go func() {
			for ctx.Err() == nil {
			}
		}()
	}
	return cancel
}
