// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"fmt"
	"time"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/schedule"
	"github.com/mews-farm/mews/results"
)

// Estimate is how long a run will take.
type Estimate struct {
	Seconds float64
	Known   int     // of the parts that it consists of, those of which earlier runs tell
	Parts   int     // all of them
	Runs    int     // earlier ones
	Busy    float64 // of the processors, 0 to 1
	// Lengths are the seconds of each cell's stages, by its id, as far as there is something to do.
	Lengths map[string]map[string]float64
}

// Whole is how long the run will take.
func (e Estimate) Whole() time.Duration { return time.Duration(e.Seconds * float64(time.Second)) }

// String is the estimate for people.
func (e Estimate) String() string {
	return fmt.Sprintf("about %s, %s", results.Duration(e.Whole().Round(time.Second)), e.From())
}

// From says where the estimate comes from.
func (e Estimate) From() string {
	switch {
	case e.Known == 0:
		return "from defaults: no earlier run is known here"
	case e.Known < e.Parts:
		return fmt.Sprintf("from %s; %d of %d parts by default", runs(e.Runs), e.Parts-e.Known, e.Parts)
	}
	return "from " + runs(e.Runs)
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return fmt.Sprintf("%d runs", n)
}

// Record is the estimate as a run keeps it.
func (e Estimate) Record() *results.Estimate {
	return &results.Estimate{Seconds: e.Seconds, From: e.From()}
}

// EstimateRun goes through cells as a run of so many jobs does them, by the times that h knows of accelerator.
func EstimateRun(cells []*Cell, h *history.History, accelerator string, jobs, memoryMiB int) Estimate {
	r := Runner{Jobs: jobs}
	b := &imagined{lengths: lengths{h, accelerator, r.places()}, memory: memoryMiB, commons: map[string]int{}}
	e := Estimate{Runs: h.Runs(), Lengths: map[string]map[string]float64{}}
	for _, c := range cells {
		b.add(c)
		e.Lengths[c.ID] = b.stages(c)
	}
	schedule.Chains(b.jobs)
	course := schedule.Simulate(b.jobs, schedule.Host{
		Cores: r.places(), Flights: max(1, jobs), Memory: hostMemory(), Disk: plenty,
	})
	start, known := b.Seconds(history.Key{Stage: history.Start, Accelerator: accelerator})
	b.count(known)
	e.Seconds, e.Known, e.Parts = start+course.Seconds, b.known, b.parts
	if course.Seconds > 0 {
		e.Busy = course.Busy / course.Seconds / float64(r.places())
	}
	return e
}

// stages are the seconds of each stage of a cell.
func (l lengths) stages(c *Cell) map[string]float64 {
	out := map[string]float64{}
	if c.Err != nil || c.Denied != nil || c.Log != nil {
		return out
	}
	for _, stage := range c.Stages() {
		out[stage], _ = l.of(c, stage)
		if stage == results.StageScenarios {
			clone, _ := l.of(c, history.Clone)
			out[stage] += clone * float64(c.deeds())
		}
	}
	return out
}

// imagined is a run that nobody does.
type imagined struct {
	lengths
	memory       int
	jobs         []schedule.Job
	commons      map[string]int // jobs that cells share
	parts, known int
}

func (b *imagined) count(known bool) {
	b.parts++
	if known {
		b.known++
	}
}

// job adds a job of one or more parts of a cell that follow one another.
func (b *imagined) job(c *Cell, k schedule.Kind, n schedule.Needs, parts []string, after ...int) int {
	j := schedule.Job{Step: schedule.Step{Kind: k, Needs: n}, After: after}
	for _, p := range parts {
		seconds, known := b.of(c, p)
		b.count(known)
		j.Seconds += seconds
	}
	b.jobs = append(b.jobs, j)
	return len(b.jobs) - 1
}

// common is job for what cells share under a name.
func (b *imagined) common(name string, make func() int) int {
	if i, ok := b.commons[name]; ok {
		return i
	}
	i := make()
	b.commons[name] = i
	return i
}

// add adds the jobs of a cell.
func (b *imagined) add(c *Cell) {
	if c.Err != nil || c.Denied != nil || c.Log != nil {
		return // it is told, and nothing done
	}
	guest := schedule.Needs{Cores: 1, Memory: int64(b.memory+emulatorMiB) << 20}
	kernel := b.common(c.unpackedName(), func() int {
		return b.job(c, schedule.Fetch, needs(schedule.Fetch), []string{results.StageResolve})
	})
	last := b.job(c, schedule.Build, needs(schedule.Build), []string{results.StageBuild, results.StageInspect}, kernel)
	if !c.Boots() {
		return
	}
	if c.Measured {
		b.job(c, schedule.Perf, schedule.Needs{Alone: true, Cores: b.cores, Memory: guest.Memory}, []string{results.StagePerf}, last)
		return
	}
	boot := b.common(c.bootedName(), func() int { return b.job(c, schedule.Boot, guest, []string{history.Kernel}, kernel) })
	flight := b.job(c, schedule.Flight, needs(schedule.Flight), nil, last, boot)
	var serial []string
	clones := 0
	for _, s := range c.Stages() {
		switch s {
		case results.StageScenarios:
			clones = c.deeds()
			serial = append(serial, s)
		case results.StageBoot, results.StageLoad, results.StageEvents:
			serial = append(serial, s)
		}
	}
	ready := b.job(c, schedule.Fork, guest, serial, flight)
	ended := []int{ready}
	for range clones {
		ended = append(ended, b.job(c, schedule.Fork, guest, []string{history.Clone}, ready))
	}
	b.jobs[flight].Until = b.job(c, schedule.Fork, guest, []string{results.StageUnload}, ended...)
}
