// SPDX-License-Identifier: Apache-2.0

// Package history knows how long the parts of earlier runs took on this machine. It steers and estimates runs; no verdict
// hangs on it, and what cannot be read of it is forgotten.
package history

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// The parts that are no stage of a record, or only a part of one.
const (
	Start  = "start"  // from the command to the first cell: the plan
	Kernel = "kernel" // a kernel is booted to its agent, and kept
	Clone  = "clone"  // one scenario, from the start of its guest to its end
)

// Key says of what a time is. Made tells what was there already, and only looked at, from what was made.
type Key struct {
	Stage, Line, Driver, Consumer, Accelerator string
	Made                                       bool
}

func (k Key) String() string {
	stage := k.Stage
	if k.Made {
		stage += "+made"
	}
	return strings.Join([]string{stage, k.Line, k.Driver, k.Consumer, k.Accelerator}, "|")
}

// fits reports whether name is that of a key of k's stage, and of k's driver and consumer too if those are asked for.
func (k Key) fits(name string, driver bool) bool {
	of, own := strings.Split(name, "|"), strings.Split(k.String(), "|")
	return len(of) == len(own) && of[0] == own[0] && of[4] == own[4] && (!driver || of[2] == own[2] && of[3] == own[3])
}

// keep is how many times of one key are remembered: enough for a median that a busy hour does not move, and few enough to
// follow a machine that changes.
const keep = 9

// maxMade bounds what is remembered as made; the oldest go.
const maxMade = 5000

// History is what is known, and what this run adds. It is safe for concurrent use.
type History struct {
	mu    sync.Mutex
	known record
	added record
}

// record is the file.
type record struct {
	Version int                  `json:"version"`
	Runs    int                  `json:"runs"`
	Seconds map[string][]float64 `json:"seconds"` // by key, the newest last
	Made    []string             `json:"made"`    // the newest last
}

// version is raised when the same names come to mean something else.
const version = 1

// Runs is how many earlier runs are known.
func (h *History) Runs() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known.Runs
}

// Accelerator is the one that most of the times are of: what the next run will most likely have.
func (h *History) Accelerator() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	count := map[string]int{}
	most := "tcg"
	for _, name := range slices.Sorted(maps.Keys(h.known.Seconds)) {
		of := name[strings.LastIndex(name, "|")+1:]
		if count[of]++; of != "" && count[of] > count[most] {
			most = of
		}
	}
	return most
}

// defaults are seconds on an emulator, on two processors of 2024. Without any history they tell what goes first; what they
// estimate is not worth much.
var defaults = map[string]float64{
	Start: 3, Kernel: 5, Clone: 2,
	"resolve": 15, "resolve+made": 0.2, "build": 30, "build+made": 0.3, "inspect": 0.3, "boot": 0.5, "load": 2, "events": 4, "scenarios": 3, "unload": 1, "perf": 60,
}

// Seconds is how long a part takes: the median of its own times; where there are none, of its driver's on any kernel, of
// anybody's, or a default. known: by earlier runs.
func (h *History) Seconds(k Key) (seconds float64, known bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if own := h.known.Seconds[k.String()]; len(own) > 0 {
		return Median(own), true
	}
	for _, driver := range []bool{true, false} {
		var all []float64
		for _, name := range slices.Sorted(maps.Keys(h.known.Seconds)) {
			if k.fits(name, driver) {
				all = append(all, h.known.Seconds[name]...)
			}
		}
		if len(all) > 0 {
			return Median(all), true
		}
	}
	name, _, _ := strings.Cut(k.String(), "|")
	return defaults[name], false
}

// Add remembers how long a part took.
func (h *History) Add(k Key, seconds float64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.added.Seconds == nil {
		h.added.Seconds = map[string][]float64{}
	}
	h.added.Seconds[k.String()] = append(h.added.Seconds[k.String()], seconds)
}

// Made reports whether an earlier run made what, so that another need only look at it. It may be gone from the archive.
func (h *History) Made(what string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.known.Made, what)
}

// Make remembers that what was made.
func (h *History) Make(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.added.Made, what) {
		h.added.Made = append(h.added.Made, what)
	}
}

// merge is r with a run more.
func (r record) merge(added record) record {
	out := record{Version: version, Runs: r.Runs + 1, Seconds: maps.Clone(r.Seconds)}
	if out.Seconds == nil {
		out.Seconds = map[string][]float64{}
	}
	for name, s := range added.Seconds {
		all := append(slices.Clone(out.Seconds[name]), s...)
		out.Seconds[name] = all[max(0, len(all)-keep):]
	}
	old := slices.DeleteFunc(slices.Clone(r.Made), func(m string) bool { return slices.Contains(added.Made, m) })
	out.Made = append(old, added.Made...)
	out.Made = out.Made[max(0, len(out.Made)-maxMade):]
	return out
}

// Median is the middle one of v, or the mean of the two: one time that a busy hour made ten times as long does not move it.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
