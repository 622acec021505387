// SPDX-License-Identifier: Apache-2.0

// Package drift knows when a driver's cost has changed, and when it only seems so.
//
// Two rules, both of which can be wrong only as often as they say:
//
//   - Repeats. What a driver adds to a path has changed if the repeats of the two runs do not overlap, and their medians
//     differ by more than twice what the repeats lie apart, and by more than [Floor] of the path ([MeanFloor] where the mean
//     of the calls is compared). If nothing had changed, of 2n repeats in a random order the n of one run
//     would all come first once in C(2n, n) times: with eight repeats once in 12,870 comparisons. The floor is for what
//     repeats within one boot cannot show, the difference between two boots.
//   - History. Of a series of runs, the last change must also be above the third quartile of the earlier ones plus three
//     times their interquartile range, once there are enough of them.
//
// What the verifier counts is the same whenever the same program is loaded on the same kernel: there any growth above
// [Growth] is one of the program, or of the kernel.
package drift

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/mews-farm/mews/results"
)

const (
	// Floor is the smallest change that is held against a driver, as a part of the path with the driver.
	Floor = 0.005
	// MeanFloor is the same for the mean of the calls: how many of them must take memory from the next slab depends on what
	// was done before, and has been seen to move it by 0.7 %.
	MeanFloor = 0.02
	// Growth is by how much the verifier's work may grow.
	Growth = 0.10
	// Headroom is the part of a limit of the verifier above which the next kernel may refuse the program.
	Headroom = 0.9
	// TooWide is the smallest threshold that is too large for a verdict: below it a driver might get worse unseen.
	TooWide = 0.05
	// minHistory is how many earlier changes the rule of history needs.
	minHistory = 5
)

// Verdict is what became of a cost.
type Verdict string

// The verdicts.
const (
	Same    Verdict = "same"
	Worse   Verdict = "worse"
	Better  Verdict = "better"
	New     Verdict = "new"     // not measured before
	Gone    Verdict = "gone"    // measured before, and not now: what is not measured is not proven to be well
	Unclear Verdict = "unclear" // its repeats lie too far apart to tell
)

// Change is what became of one cost of one driver on one kernel.
type Change struct {
	Kernel  string          `json:"kernel"`
	Driver  string          `json:"driver"`
	Key     results.PerfKey `json:"-"`
	Metric  string          `json:"metric"`
	What    string          `json:"what"` // the path or the program
	Setting string          `json:"setting,omitempty"`
	Class   string          `json:"class"`
	Before  float64         `json:"before"` // what the driver adds
	After   float64         `json:"after"`
	// Change is what is added now and was not before, as a part of the whole path with the driver as it was before.
	Change    float64 `json:"change"`
	Threshold float64 `json:"threshold"` // that Change was held against
	Verdict   Verdict `json:"verdict"`
	Why       string  `json:"why,omitempty"`

	repeats int // that decided, of each run
}

// Gates reports whether the change is a regression.
func (c Change) Gates() bool { return c.Verdict == Worse && c.Class != results.ClassWall }

// Lacks reports whether the change leaves a verdict lacking: figures of a clock give none in the first place.
func (c Change) Lacks() bool {
	return (c.Verdict == Gone || c.Verdict == Unclear) && c.Class != results.ClassWall
}

// Name is the change's in a line of text.
func (c Change) Name() string {
	s := c.What
	if c.Setting != "" {
		s += " (" + c.Setting + ")"
	}
	if c.Metric != results.MetricInsns {
		s += " " + c.Metric
	}
	return s
}

func (c Change) String() string {
	s := fmt.Sprintf("%s: %.0f -> %.0f, %+.2f %%", c.Name(), c.Before, c.After, 100*c.Change)
	if c.Why != "" {
		s += ": " + c.Why
	}
	return s
}

// Runs compares runs, the oldest first: the last is judged against the one before, and those before that are history.
// The changes are in the order of the last run's cells; what only the run before has comes behind them.
func Runs(runs ...results.Run) []Change {
	if len(runs) < 2 {
		return nil
	}
	last, before := runs[len(runs)-1], runs[len(runs)-2]
	var out []Change
	for _, c := range last.Cells {
		var series [][]results.Perf
		for _, r := range runs[:len(runs)-1] {
			if old, ok := cellOf(r, c); ok {
				series = append(series, old.Perf)
			}
		}
		old, known := cellOf(before, c)
		if !known && len(c.Perf) == 0 {
			continue
		}
		out = append(out, Cell(c, old, series...)...)
	}
	for _, c := range before.Cells {
		if _, ok := cellOf(last, c); !ok {
			out = append(out, Cell(results.Cell{Kernel: c.Kernel, Driver: c.Driver}, c)...)
		}
	}
	return out
}

func cellOf(r results.Run, like results.Cell) (results.Cell, bool) {
	for _, c := range r.Cells {
		if c.Kernel.Distro == like.Kernel.Distro && c.Kernel.Release == like.Kernel.Release && c.Kernel.Arch == like.Kernel.Arch &&
			c.Kernel.BuildID == like.Kernel.BuildID && c.Driver.Name == like.Driver.Name {
			return c, true
		}
	}
	return results.Cell{}, false
}

// Cell compares what a cell measured with what it measured before. series are the measurements of earlier runs, the oldest
// first, the one before last among them.
func Cell(now, before results.Cell, series ...[]results.Perf) []Change {
	var out []Change
	for _, p := range now.Perf {
		c := change(now, p)
		if old, ok := find(before.Perf, p.Key()); ok {
			c.judge(old, p, history(series, p.Key()))
		} else {
			c.Verdict = New
		}
		out = append(out, c)
	}
	for _, old := range before.Perf {
		if _, ok := find(now.Perf, old.Key()); !ok {
			c := change(now, old)
			c.Before, c.After, c.Verdict = old.Added(), 0, Gone
			out = append(out, c)
		}
	}
	return out
}

func change(in results.Cell, p results.Perf) Change {
	return Change{
		Kernel: in.Kernel.String(), Driver: in.Driver.Name, Key: p.Key(), Metric: p.Metric, What: p.What(), Setting: p.Setting, Class: p.Class,
		After: p.Added(),
	}
}

func find(list []results.Perf, k results.PerfKey) (results.Perf, bool) {
	i := slices.IndexFunc(list, func(p results.Perf) bool { return p.Key() == k })
	if i < 0 {
		return results.Perf{}, false
	}
	return list[i], true
}

func (c *Change) judge(before, now results.Perf, history []float64) {
	c.Before = before.Added()
	c.Change = part(c.After-c.Before, before.Driver)
	switch c.Class {
	case results.ClassInsn:
		c.repeats = min(before.Repeats, now.Repeats)
		c.Threshold = max(c.floor(), 2*before.Spread(), 2*now.Spread())
		if limit, ok := outlier(history); ok && limit > c.Threshold {
			c.Threshold, c.Why = limit, "beyond what its history varies by"
		}
		if math.Abs(c.Change) > c.Threshold && apart(before, now) {
			c.Verdict = direction(c.Change)
			return
		}
		if wide := 2 * max(before.Spread(), now.Spread()); wide > TooWide {
			c.Verdict, c.Why = Unclear, fmt.Sprintf("repeats lie %.1f %% apart", 50*wide)
			return
		}
	case results.ClassVerifier:
		if c.Metric == results.MetricLoadSeconds {
			break // of a clock
		}
		c.Threshold = Growth
		if math.Abs(c.Change) > Growth {
			c.Verdict = direction(c.Change)
			return
		}
		if now.Limit > 0 && now.Driver > Headroom*now.Limit && before.Driver <= Headroom*now.Limit {
			c.Verdict, c.Why = Worse, fmt.Sprintf("above %.0f %% of the kernel's limit of %.0f", 100*Headroom, now.Limit)
			return
		}
	}
	c.Verdict, c.Why = Same, ""
}

// floor is the smallest change of the metric that is held against a driver.
func (c *Change) floor() float64 {
	if c.Metric == results.MetricInsnsMean {
		return MeanFloor
	}
	return Floor
}

func direction(change float64) Verdict {
	if change > 0 {
		return Worse
	}
	return Better
}

// part is x of whole; all of it, or nothing, where there was none.
func part(x, whole float64) float64 {
	switch {
	case x == 0:
		return 0
	case whole <= 0:
		return math.Copysign(1, x)
	}
	return x / whole
}

// apart reports whether the repeats of what the driver adds do not overlap: the least of one run's, had the path without
// the driver cost the most that was seen, is above the most of the other's.
func apart(a, b results.Perf) bool {
	aLow, aHigh := a.Low-a.BaseHigh, a.High-a.BaseLow
	bLow, bHigh := b.Low-b.BaseHigh, b.High-b.BaseLow
	return bLow > aHigh || bHigh < aLow
}

// history lists the sizes of the changes from run to run.
func history(series [][]results.Perf, k results.PerfKey) []float64 {
	var out []float64
	var last *results.Perf
	for _, list := range series {
		p, ok := find(list, k)
		if !ok {
			continue
		}
		if last != nil {
			out = append(out, math.Abs(part(p.Added()-last.Added(), last.Driver)))
		}
		last = &p
	}
	return out
}

// outlier is the third quartile plus three interquartile ranges; not ok where there is too little to tell.
func outlier(v []float64) (float64, bool) {
	if len(v) < minHistory {
		return 0, false
	}
	s := slices.Sorted(slices.Values(v))
	q1, q3 := quantile(s, 0.25), quantile(s, 0.75)
	return q3 + 3*(q3-q1), true
}

// quantile of sorted values, between two of them in proportion.
func quantile(s []float64, q float64) float64 {
	at := q * float64(len(s)-1)
	i := int(at)
	if i+1 >= len(s) {
		return s[len(s)-1]
	}
	return s[i] + (at-float64(i))*(s[i+1]-s[i])
}

// FalseAlarm is how likely at most any of the n changes that repeats decided is called worse though nothing changed: each
// comparison may be wrong once in C(2r, r) times of r repeats. What is counted exactly adds nothing.
func FalseAlarm(changes []Change) (p float64, n int) {
	for _, c := range changes {
		if c.repeats > 0 {
			n++
			p += 1 / orders(c.repeats)
		}
	}
	return min(1, p), n
}

// orders is C(2n, n).
func orders(n int) float64 {
	out := 1.0
	for i := 1; i <= n; i++ {
		out *= float64(n+i) / float64(i)
	}
	return out
}

// Worst sorts changes: regressions first, the largest first.
func Worst(changes []Change) []Change {
	out := slices.Clone(changes)
	slices.SortStableFunc(out, func(a, b Change) int {
		if a.Gates() != b.Gates() {
			if a.Gates() {
				return -1
			}
			return 1
		}
		return cmp.Compare(math.Abs(b.Change), math.Abs(a.Change))
	})
	return out
}
