// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/results"
)

// How a driver is strained: from the first rate on, each twice the one before, until events are lost or the guest cannot open
// files as often. Then the last rate of which none was lost is repeated; between the least and the most of six repeats the
// median lies with a confidence of 1 - 2/2^6, 97 %.
const (
	strainFrom    = 1000 // opens a second
	strainTo      = 128_000
	strainTime    = time.Second
	strainRepeats = 6
	strainRetries = 3 // at half the rate, where repeats lose events
	strainKeptUp  = 0.8
)

// strainLimit ends a strain that hangs.
const strainLimit = 30 * time.Second

// wallDir is where the logs of the guest are in which time is the host's.
const wallDir = "wall"

// wall measures by a clock, in a guest of its own that has one. What it finds is advice: whatever goes wrong is said in the
// note, and is no verdict on the cell.
func (c *cellRun) wall(ctx context.Context) (list []results.Perf, note string) {
	list, err := c.strained(ctx)
	if err != nil {
		return nil, fmt.Sprintf("; no figures of class wall: %v", err)
	}
	return list, fmt.Sprintf("; %d figures of class wall, which are advice", len(list))
}

func (c *cellRun) strained(ctx context.Context) ([]results.Perf, error) {
	spec := c.spec
	spec.Counted, spec.Dir = false, filepath.Join(c.rec.Dir(), wallDir)
	if err := os.MkdirAll(spec.Dir, 0o755); err != nil {
		return nil, err
	}
	g, _, err := c.cold(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer func() {
		g.keepLogs(c.patient)
		g.stop()
	}()
	call := c.through(ctx, g)
	if err := call(c.startLimit(), func(ctx context.Context) error { _, err := c.load(ctx, g); return err }); err != nil {
		return nil, err
	}
	sustained, lossy, err := climb(strainFrom, strainTo, func(rate int) (strain, error) { return c.strain(call, g, rate, 1) })
	if err != nil {
		return nil, err
	}
	var out []results.Perf
	if lossy != nil {
		out = append(out, lossy.drops()...)
	}
	for rate := sustained; rate > 0; rate /= 2 {
		s, err := c.strain(call, g, rate, strainRepeats)
		if err != nil {
			return nil, err
		}
		if s.stats.Drops == 0 {
			return append(out, s.costs()...), nil
		}
		if rate <= sustained>>strainRetries {
			break
		}
	}
	return out, nil // events are lost at any rate: that is what was found
}

// climb looks for the highest rate of which nothing is lost, 0 if there is none, and has the first strain that lost
// something, nil if none did.
func climb(from, to int, do func(rate int) (strain, error)) (sustained int, lossy *strain, err error) {
	for rate := from; rate <= to; rate *= 2 {
		s, err := do(rate)
		if err != nil {
			return 0, nil, err
		}
		if s.stats.Drops > 0 {
			return sustained, &s, nil
		}
		sustained = rate
		if s.rates()[0] < strainKeptUp*float64(rate) {
			break // the guest is too slow for more
		}
	}
	return sustained, nil, nil
}

// strain is what came of making events while a consumer captured.
type strain struct {
	reports []agent.StrainReport
	stats   consumer.Stats // of all of them together
}

func (c *cellRun) strain(call call, g *guest, rate, repeats int) (s strain, err error) {
	if err := call(c.startLimit(), func(ctx context.Context) error {
		_, err := g.c.StartConsumer(ctx, agent.ConsumerSpec{Kind: c.Consumer.Kind.V, Options: falcoOptions(c.Consumer)})
		return err
	}); err != nil {
		return s, err
	}
	for range repeats {
		if err := call(strainLimit, func(ctx context.Context) error {
			r, err := g.c.Strain(ctx, rate, strainTime)
			s.reports = append(s.reports, r)
			return err
		}); err != nil {
			return s, err
		}
	}
	err = call(c.startLimit(), func(ctx context.Context) error { s.stats, err = g.c.StopConsumer(ctx); return err })
	return s, err
}

// rates are the opens a second of each.
func (s strain) rates() []float64 {
	var out []float64
	for _, r := range s.reports {
		out = append(out, float64(r.Opens)/r.Took.Seconds())
	}
	return out
}

// drops makes the records of a rate at which events were lost.
func (s strain) drops() []results.Perf {
	out := []results.Perf{results.MeasuredWall(results.MetricDropRate, s.rates()...)}
	by := s.stats.DropsBy
	if len(by) == 0 {
		by = map[string]uint64{"all": s.stats.Drops}
	}
	for _, category := range slices.Sorted(maps.Keys(by)) {
		p := results.MeasuredWall(results.MetricDrops, float64(by[category]))
		p.Category = category
		out = append(out, p)
	}
	return out
}

// costs makes the records of a rate at which none was lost.
func (s strain) costs() []results.Perf {
	var opens float64
	for _, r := range s.reports {
		opens += float64(r.Opens)
	}
	if opens == 0 {
		return nil
	}
	var events, cpu, memory []float64
	perRun := map[string][]float64{}
	for i, rate := range s.rates() {
		r := s.reports[i]
		events = append(events, rate*float64(s.stats.Events)/opens)
		cpu = append(cpu, r.CPU.Seconds()/r.Took.Seconds())
		memory = append(memory, float64(r.Memory))
		for name, ns := range runTimes(r.Programs) {
			perRun[name] = append(perRun[name], ns)
		}
	}
	out := []results.Perf{
		results.MeasuredWall(results.MetricEventRate, events...),
		results.MeasuredWall(results.MetricConsumerCPU, cpu...),
		results.MeasuredWall(results.MetricConsumerBytes, memory...),
	}
	for _, name := range slices.Sorted(maps.Keys(perRun)) {
		p := results.MeasuredWall(results.MetricProgramNs, perRun[name]...)
		p.Program = name
		out = append(out, p)
	}
	return out
}

// runTimes are the nanoseconds of a run by the programs' names, of which the kernel keeps 15 characters: those of one name
// are taken together.
func runTimes(programs []agent.ProgramRuns) map[string]float64 {
	runs, took := map[string]uint64{}, map[string]time.Duration{}
	for _, p := range programs {
		runs[p.Name] += p.Runs
		took[p.Name] += p.Took
	}
	out := map[string]float64{}
	for name, n := range runs {
		if n > 0 {
			out[name] = float64(took[name].Nanoseconds()) / float64(n)
		}
	}
	return out
}
