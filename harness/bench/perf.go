// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/drift"
)

// How often the perf lane's rule is put to the test, each in one boot.
const (
	unchangedRuns = 20
	dearerRuns    = 10
)

// perfSpread measures how far repeats of each path lie apart, in any of the three settings, while every processor of the
// host is kept busy.
func perfSpread(ctx context.Context, _ int) ([]figure, error) {
	widest := map[string]float64{}
	err := underLoad(ctx, func(l *lane) error {
		for _, p := range l.without {
			widest[p.Path] = results.MeasuredInsns(p.Path, "", p.Ticks, nil).Spread()
		}
		for _, consumer := range []bool{false, true} {
			costs, err := l.cost(ctx, modern.Good, consumer)
			if err != nil {
				return err
			}
			for _, p := range costs {
				if p.Metric == results.MetricInsns {
					widest[p.Syscall] = max(widest[p.Syscall], p.Spread())
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, path := range slices.Sorted(maps.Keys(widest)) {
		out = append(out, figure{"perf lane: repeats apart, the widest of three settings, host kept busy, " + path, 100 * widest[path], "%", 0.1, "limit", 0.1})
	}
	return out, nil
}

// perfUnchanged counts how often the rule holds something against a probe that did not change.
func perfUnchanged(ctx context.Context, _ int) ([]figure, error) {
	alarms, err := perfJudge(ctx, unchangedRuns, modern.Good)
	if err != nil {
		return nil, err
	}
	return []figure{{fmt.Sprintf("perf lane: false alarms in %d measurements of an unchanged probe", unchangedRuns), float64(alarms), "", 0, "limit", 0}}, nil
}

// perfDearer counts how often it does not find one that is 1 % dearer at each exec.
func perfDearer(ctx context.Context, _ int) ([]figure, error) {
	found, err := perfJudge(ctx, dearerRuns, modern.DearExec)
	if err != nil {
		return nil, err
	}
	return []figure{{fmt.Sprintf("perf lane: of %d measurements of a probe 1 %% dearer at each exec, missed", dearerRuns), float64(dearerRuns - found), "", 0, "limit", 0}}, nil
}

// perfJudge measures an edition of the probe n times, and counts how often the rule finds it dearer than the good one.
func perfJudge(ctx context.Context, n int, e modern.Edition) (regressions int, err error) {
	err = underLoad(ctx, func(l *lane) error {
		before, err := l.cost(ctx, modern.Good, true, "execve")
		if err != nil {
			return err
		}
		for range n {
			now, err := l.cost(ctx, e, true, "execve")
			if err != nil {
				return err
			}
			switch err := drift.Err(drift.Cell(results.Cell{Perf: now}, results.Cell{Perf: before})); {
			case cause.Of(err).Cause == cause.OverheadRegression:
				regressions++
			case err != nil: // it could not tell, which is neither
				return err
			}
		}
		return nil
	}, "execve")
	return regressions, err
}

// underLoad has a guest that counts, on a host that is kept busy, with the paths measured that are wanted; none: all.
func underLoad(ctx context.Context, do func(*lane) error, paths ...string) error {
	l, err := bootCounted(ctx)
	if err != nil {
		return err
	}
	defer l.m.Stop(context.Background())
	stop := burn(2 * runtime.NumCPU())
	defer stop()
	m := harness.Measurement()
	m.Paths = paths
	r, err := l.c.Measure(ctx, m)
	if err != nil {
		return err
	}
	for _, p := range r.Paths {
		l.without[p.Path] = p
	}
	return do(l)
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
		if l.c, err = agent.Dial(ctx, m.Agent()); err != nil {
			return nil, errors.Join(err, m.Stop(ctx))
		}
		return l, nil
	}
	return nil, errors.New("the profile has no kernel 6.1")
}

// cost is what an edition of the probe costs while it is loaded, or read.
func (l *lane) cost(ctx context.Context, e modern.Edition, consumer bool, paths ...string) ([]results.Perf, error) {
	if _, err := l.c.LoadProbe(ctx, agent.Probe{Edition: string(e)}); err != nil {
		return nil, err
	}
	setting := results.SettingLoaded
	if consumer {
		setting = results.SettingConsumer
		if _, err := l.c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native}); err != nil {
			return nil, err
		}
	}
	m := harness.Measurement()
	m.Paths = paths
	r, err := l.c.Measure(ctx, m)
	if err != nil {
		return nil, err
	}
	if consumer {
		if _, err := l.c.StopConsumer(ctx); err != nil {
			return nil, err
		}
	}
	var out []results.Perf
	for _, p := range r.Paths {
		without := l.without[p.Path]
		out = append(out, results.MeasuredInsns(p.Path, setting, p.Ticks, without.Ticks),
			results.MeasuredMeans(p.Path, setting, p.Means, without.Means))
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
