// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

const gib = 1 << 30

func TestTheLongestWayGoesFirst(t *testing.T) {
	core := Needs{Cores: 1}
	guest := Needs{Cores: 1, Memory: 1 * gib}
	h := Host{Cores: 2, Memory: 2 * gib, Flights: 1}
	for name, c := range map[string]struct {
		waiting, running []Step
		want             []int
	}{
		"by what is before it":      {[]Step{{Rest: 1, Needs: core}, {Rest: 3, Needs: core}, {Rest: 2, Needs: core}}, nil, []int{1, 2}},
		"of equals the first":       {[]Step{{Rest: 1, Needs: core}, {Rest: 1, Needs: core}, {Rest: 1, Needs: core}}, nil, []int{0, 1}},
		"beside one that goes on":   {[]Step{{Rest: 1, Needs: core}, {Rest: 3, Needs: core}}, []Step{{Needs: core}}, []int{1}},
		"alone waits for the other": {[]Step{{Rest: 3, Needs: Needs{Alone: true}}, {Rest: 1, Needs: core}}, []Step{{Needs: core}}, nil},
		"alone has all":             {[]Step{{Rest: 3, Needs: Needs{Alone: true}}, {Rest: 1, Needs: core}}, nil, []int{0}},
		"nobody beside one alone":   {[]Step{{Rest: 1, Needs: core}}, []Step{{Needs: Needs{Alone: true}}}, nil},
		"behind one alone":          {[]Step{{Rest: 3, Needs: core}, {Rest: 2, Needs: Needs{Alone: true}}, {Rest: 1, Needs: core}}, nil, []int{0}},
		"too large, but the first":  {[]Step{{Needs: Needs{Cores: 5, Memory: 9 * gib, Flights: 1}}}, nil, []int{0}},
		"memory holds no third": {[]Step{{Rest: 2, Needs: guest}, {Rest: 1, Needs: core}},
			[]Step{{Needs: Needs{Memory: 2 * gib}}}, []int{1}},
		"what it lacks is kept for it": {[]Step{{Rest: 3, Needs: Needs{Cores: 1, Memory: 2 * gib}}, {Rest: 2, Needs: guest}, {Rest: 1, Needs: core}},
			[]Step{{Needs: guest}}, []int{2}},
		"one processor is for guests": {[]Step{{Rest: 3, Needs: core}, {Rest: 2, Needs: core}, {Rest: 1, Kind: Fork, Needs: guest}}, nil, []int{2, 0}},
		"one is kept between guests":  {[]Step{{Rest: 3, Needs: core}}, []Step{{Kind: Flight, Needs: Needs{Flights: 1}}, {Kind: Build, Needs: core}}, nil},
		"and for a flight's first":    {[]Step{{Rest: 3, Needs: core}, {Rest: 1, Kind: Flight, Needs: Needs{Flights: 1}}}, []Step{{Kind: Build, Needs: core}}, []int{1}},
		"and one is enough":           {[]Step{{Rest: 3, Needs: core}, {Rest: 1, Kind: Fork, Needs: guest}}, []Step{{Kind: Boot, Needs: guest}}, []int{0}},
		"one flight at a time":        {[]Step{{Rest: 3, Needs: Needs{Flights: 1}}, {Rest: 2, Needs: Needs{Flights: 1}}, {Rest: 1, Needs: core}}, nil, []int{0, 2}},
	} {
		if got := Next(c.waiting, c.running, h); !slices.Equal(got, c.want) {
			t.Errorf("%s: begun are %v, not %v", name, got, c.want)
		}
	}
	h.Guests = 1
	if got := Next([]Step{{Kind: Fork, Needs: guest}, {Kind: Build, Needs: guest}}, []Step{{Kind: Boot, Needs: Needs{Cores: 1}}}, h); got != nil {
		t.Errorf("beside the only guest that had memory %v are begun", got)
	}
}

// random is a run of jobs that need this and that, and wait for one another.
func random(r *rand.Rand) ([]Job, Host) {
	h := Host{Cores: 1 + r.IntN(4), Memory: int64(1+r.IntN(4)) * gib, Disk: int64(1+r.IntN(4)) * gib, Flights: 1 + r.IntN(3)}
	jobs := make([]Job, 1+r.IntN(60))
	for i := range jobs {
		j := &jobs[i]
		j.Seconds = float64(1+r.IntN(100)) / 10
		j.Needs.Cores = 1 + r.IntN(2)
		switch r.IntN(8) {
		case 0:
			j.Needs = Needs{Alone: true}
		case 1:
			j.Needs.Disk = int64(1+r.IntN(3)) * gib
		case 2, 3, 4:
			j.Kind, j.Needs.Memory = Fork, int64(1+r.IntN(2))*gib
		case 5:
			j.Needs.Flights = 1
		}
		for range r.IntN(3) {
			if i > 0 {
				j.After = append(j.After, r.IntN(i))
			}
		}
		slices.Sort(j.After)
		j.After = slices.Compact(j.After)
	}
	Chains(jobs)
	return jobs, h
}

// at are the jobs that go on just after a moment.
func (c Course) at(jobs []Job, moment float64) (on []int) {
	for i, j := range jobs {
		if c.Begin[i] <= moment && moment < c.Begin[i]+j.Seconds {
			on = append(on, i)
		}
	}
	return on
}

// wrong says what of a course must not be; empty: nothing.
func wrong(jobs []Job, h Host, c Course) string {
	for i, j := range jobs {
		if c.Begin[i] < 0 {
			return fmt.Sprintf("job %d never begins", i)
		}
		for _, a := range j.After {
			if c.Begin[i] < c.Begin[a]+jobs[a].Seconds {
				return fmt.Sprintf("job %d begins before job %d has ended", i, a)
			}
		}
	}
	var moments []float64
	for i, j := range jobs {
		moments = append(moments, c.Begin[i], c.Begin[i]+j.Seconds)
	}
	for _, moment := range moments {
		on := c.at(jobs, moment)
		var cores, flights, steps int
		var memory, disk int64
		var holders, writers int
		alone := false
		for _, i := range on {
			n := jobs[i].Needs
			cores, memory, disk, flights = cores+n.Cores, memory+n.Memory, disk+n.Disk, flights+n.Flights
			if n.Cores > 0 || n.Alone {
				steps++
			}
			if n.Memory > 0 {
				holders++
			}
			if n.Disk > 0 {
				writers++
			}
			alone = alone || n.Alone
		}
		switch {
		case alone && steps > 1:
			return fmt.Sprintf("at %.1f s one that must be alone has company: %v", moment, on)
		case cores > h.Cores && steps > 1:
			return fmt.Sprintf("at %.1f s %d of %d processors are used: %v", moment, cores, h.Cores, on)
		case memory > h.Memory && holders > 1, disk > h.Disk && writers > 1, flights > h.Flights:
			return fmt.Sprintf("at %.1f s more is used than there is: %v", moment, on)
		}
	}
	// Whoever waits must have been kept out by what went on, or by what somebody before it waits for.
	for _, moment := range moments {
		var on, waiting []Step
		for _, i := range c.at(jobs, moment) {
			on = append(on, jobs[i].Step)
		}
		for i, j := range jobs {
			ready := c.Begin[i] > moment
			for _, a := range j.After {
				ready = ready && c.Begin[a]+jobs[a].Seconds <= moment
			}
			if ready {
				waiting = append(waiting, j.Step)
			}
		}
		longest := 0.0
		for _, w := range waiting {
			longest = max(longest, w.Rest)
		}
		kept := len(waiting) == 0
		for _, w := range waiting {
			first := w.Rest == longest || (w.guest() || w.Kind == Flight) && loadOf(on).guests == 0 // one place is for guests
			kept = kept || first && h.lacks(loadOf(on), w) != 0
		}
		if !kept {
			return fmt.Sprintf("at %.1f s the one with the longest way waits for nothing", moment)
		}
	}
	return ""
}

func TestNothingIsExceededAndNobodyStarves(t *testing.T) {
	for seed := range uint64(1000) {
		jobs, h := random(rand.New(rand.NewPCG(seed, 1)))
		if why := wrong(jobs, h, Simulate(jobs, h)); why != "" {
			t.Fatalf("seed %d, %+v: %s", seed, h, why)
		}
	}
}

// What is checked above must be able to go wrong.
func TestAWrongCourseIsSeen(t *testing.T) {
	h := Host{Cores: 2, Memory: gib, Disk: gib, Flights: 1}
	jobs := []Job{
		{Seconds: 1, Step: Step{Rest: 1, Needs: Needs{Cores: 2}}},
		{Seconds: 1, Step: Step{Rest: 1, Needs: Needs{Cores: 1, Memory: gib}}},
		{Seconds: 1, Step: Step{Rest: 1, Needs: Needs{Cores: 1, Memory: gib}}},
		{Seconds: 1, Step: Step{Rest: 1, Needs: Needs{Alone: true}}, After: []int{0}},
	}
	for name, begin := range map[string][]float64{
		"processors": {0, 0, 1, 2}, "memory": {2, 1, 1, 3}, "company": {0, 1, 2, 1.5}, "order": {1, 2, 3, 0}, "never": {0, 1, 2, -1}, "idle": {0, 1, 9, 10},
	} {
		if wrong(jobs, h, Course{Begin: begin}) == "" {
			t.Errorf("%s: %v is taken for right", name, begin)
		}
	}
}

// A slow and simple bound: whatever keeps one processor at work, with ways that wait for each other, takes at most all the work
// shared out and the longest way beside it (R. L. Graham, Bounds on Multiprocessing Timing Anomalies, 1969).
func TestIdleProcessorsHaveAReason(t *testing.T) {
	for seed := range uint64(1000) {
		jobs, h := random(rand.New(rand.NewPCG(seed, 2)))
		var work, way float64
		for i := range jobs {
			jobs[i].Needs = Needs{Cores: 1}
			work, way = work+jobs[i].Seconds, max(way, jobs[i].Rest)
		}
		m := float64(h.Cores)
		c := Simulate(jobs, h)
		if most := work/m + (1-1/m)*way; c.Seconds > most+1e-9 {
			t.Fatalf("seed %d: %d jobs on %d processors take %.1f s, at most %.1f are to be answered for", seed, len(jobs), h.Cores, c.Seconds, most)
		}
		if c.Busy < work-1e-9 || c.Busy > work+1e-9 {
			t.Fatalf("seed %d: %.1f of %.1f processor seconds were used", seed, c.Busy, work)
		}
	}
}

// night is a matrix: each kernel is fetched and booted once; each of its cells builds, loads, does its scenarios in clones, unloads.
func night(kernels, drivers, scenarios int) []Job {
	guest := Needs{Cores: 1, Memory: gib}
	var jobs []Job
	add := func(j Job) int {
		jobs = append(jobs, j)
		return len(jobs) - 1
	}
	for k := range kernels {
		fetch := add(Job{Step: Step{Kind: Fetch, Needs: Needs{Cores: 1}}, Seconds: 1})
		boot := add(Job{Step: Step{Kind: Boot, Needs: guest}, Seconds: 4, After: []int{fetch}})
		for d := range drivers {
			build := fetch
			if d < 2 {
				build = add(Job{Step: Step{Kind: Build, Needs: Needs{Cores: 1}}, Seconds: 20 + float64(k), After: []int{fetch}})
			}
			flight := add(Job{Step: Step{Kind: Flight, Needs: Needs{Flights: 1}}, After: []int{boot, build}})
			load := add(Job{Step: Step{Kind: Fork, Needs: guest}, Seconds: 6, After: []int{flight}})
			var clones []int
			for range scenarios {
				clones = append(clones, add(Job{Step: Step{Kind: Fork, Needs: guest}, Seconds: 1.3, After: []int{load}}))
			}
			jobs[flight].Until = add(Job{Step: Step{Kind: Fork, Needs: guest}, Seconds: 2, After: clones})
		}
	}
	Chains(jobs)
	return jobs
}

// A matrix of a night keeps two processors busy: 98 of 100 seconds, with two cells that have guests at a time.
func TestAMatrixKeepsTheProcessorsBusy(t *testing.T) {
	jobs := night(12, 3, 25)
	h := Host{Cores: 2, Memory: 8 * gib, Flights: 2}
	c := Simulate(jobs, h)
	least := c.Busy / float64(h.Cores)
	t.Logf("%d jobs take %.0f s, %.0f is the least", len(jobs), c.Seconds, least)
	if c.Seconds > 1.02*least {
		t.Errorf("two processors are %.0f %% busy", 100*least/c.Seconds)
	}
	if slices.Contains(c.Begin, -1) {
		t.Error("a job never began")
	}
	// One by one, as a run of one place has it, and with memory for one guest.
	if c := Simulate(jobs, Host{Cores: 1, Flights: 1}); c.Seconds < c.Busy || c.Seconds > c.Busy+1e-6 {
		t.Errorf("one processor takes %.1f s for %.1f", c.Seconds, c.Busy)
	}
}

// Guests of a host that holds one still let builds go on.
func TestBuildsGoOnBesideTheOnlyGuest(t *testing.T) {
	jobs := night(4, 3, 5)
	c := Simulate(jobs, Host{Cores: 2, Memory: gib, Flights: 2})
	beside := 0
	for _, moment := range c.Begin {
		guests, builds := 0, 0
		for _, i := range c.at(jobs, moment) {
			switch {
			case jobs[i].Kind == Build:
				builds++
			case jobs[i].guest():
				guests++
			}
		}
		if guests > 1 {
			t.Fatalf("at %.1f s %d guests are in memory for one", moment, guests)
		}
		beside += guests * builds
	}
	if beside == 0 {
		t.Error("no build went on beside a guest")
	}
}
