// SPDX-License-Identifier: Apache-2.0

package results

import (
	"cmp"
	"slices"
)

// The classes of measurements, which are never mixed in one column.
const (
	ClassInsn     = "insn"     // counted by the emulator: the same on every host; gates
	ClassVerifier = "verifier" // counted by the kernel's verifier: the same for the same kernel and program; gates
	ClassWall     = "wall"     // of a clock: advice only
)

// Metrics of what is measured.
const (
	MetricInsns         = "guest_insns_per_syscall" // instructions of the whole machine for one call to which nothing happens
	MetricInsnsMean     = "guest_insns_mean"        // the same for the mean of the calls, with what only some of them have to do
	MetricVerifierInsns = "verifier_insns"          // instructions that the verifier looked at
	MetricVerifierPeak  = "verifier_peak_states"    // states that it held at once
	MetricVerifierStack = "verifier_stack_bytes"    // of the program and what it calls, together
	MetricLoadSeconds   = "program_load_seconds"    // of the emulated guest: to compare programs of one load by
	MetricEventRate     = "events_per_second"       // of which none was lost
	MetricDropRate      = "drops_begin_per_second"  // opens of files a second at which events were lost
	MetricDrops         = "drops"                   // at that rate in a second, by category
	MetricConsumerCPU   = "consumer_cpu"            // part of a processor, at the rate of which none was lost
	MetricConsumerBytes = "consumer_memory_bytes"   // resident, at that rate
	MetricProgramNs     = "program_ns_per_run"      // of an eBPF program, as the kernel counts it
)

// The settings in which a path is measured, beside that without any driver.
const (
	SettingLoaded   = "loaded"   // nobody reads its events
	SettingConsumer = "consumer" // a consumer captures
)

// Limits of the verifier.
const (
	LimitVerifierInsns = 1_000_000 // BPF_COMPLEXITY_LIMIT_INSNS
	LimitVerifierStack = 512       // MAX_BPF_STACK, of one frame chain
)

// Perf is one measurement: a metric of a way through the kernel with the driver and without, or of one program.
type Perf struct {
	Metric   string  `json:"metric"`
	Syscall  string  `json:"syscall,omitempty"`  // the path that was measured
	Program  string  `json:"program,omitempty"`  // the eBPF program
	Category string  `json:"category,omitempty"` // of what was lost
	Setting  string  `json:"setting,omitempty"`  // loaded or consumer
	Driver   float64 `json:"driver"`             // the median of the repeats, with the driver
	Baseline float64 `json:"baseline"`           // the same without it; 0 where there is no such thing
	Low      float64 `json:"low,omitempty"`      // the least of the repeats with the driver
	High     float64 `json:"high,omitempty"`
	BaseLow  float64 `json:"baseline_low,omitempty"`
	BaseHigh float64 `json:"baseline_high,omitempty"`
	Repeats  int     `json:"repeats,omitempty"`
	Limit    float64 `json:"limit,omitempty"` // the kernel's own
	Class    string  `json:"class"`
}

// PerfKey tells measurements of one cell apart.
type PerfKey struct{ Metric, Syscall, Program, Category, Setting string }

// Key is what p is a measurement of.
func (p Perf) Key() PerfKey { return PerfKey{p.Metric, p.Syscall, p.Program, p.Category, p.Setting} }

// What names the path, the program or the category.
func (p Perf) What() string { return cmp.Or(p.Syscall, p.Program, p.Category) }

// Added is what the driver adds.
func (p Perf) Added() float64 { return p.Driver - p.Baseline }

// Spread is how far the repeats lie apart, as a part of their median; the worse of those with the driver and without.
func (p Perf) Spread() float64 {
	var worst float64
	for _, s := range [][3]float64{{p.Low, p.Driver, p.High}, {p.BaseLow, p.Baseline, p.BaseHigh}} {
		if s[1] > 0 {
			worst = max(worst, (s[2]-s[0])/s[1])
		}
	}
	return worst
}

// MeasuredInsns makes the record of a path from the repeats with the driver and those without.
func MeasuredInsns(path, setting string, with, without []float64) Perf {
	return measuredInsns(MetricInsns, path, setting, with, without)
}

// MeasuredMeans does the same with the means of the calls.
func MeasuredMeans(path, setting string, with, without []float64) Perf {
	return measuredInsns(MetricInsnsMean, path, setting, with, without)
}

func measuredInsns(metric, path, setting string, with, without []float64) Perf {
	p := Perf{Metric: metric, Syscall: path, Setting: setting, Class: ClassInsn, Repeats: min(len(with), len(without))}
	p.Low, p.Driver, p.High = lowMedianHigh(with)
	p.BaseLow, p.Baseline, p.BaseHigh = lowMedianHigh(without)
	return p
}

// MeasuredWall makes the record of what a clock says: the median of the repeats, and the least and most of them.
func MeasuredWall(metric string, repeats ...float64) Perf {
	p := Perf{Metric: metric, Setting: SettingConsumer, Class: ClassWall, Repeats: len(repeats)}
	p.Low, p.Driver, p.High = lowMedianHigh(repeats)
	return p
}

// lowMedianHigh is 0, 0, 0 of nothing.
func lowMedianHigh(v []float64) (low, median, high float64) {
	if len(v) == 0 {
		return 0, 0, 0
	}
	s := slices.Sorted(slices.Values(v))
	n := len(s)
	return s[0], (s[(n-1)/2] + s[n/2]) / 2, s[n-1]
}

// MergePerf puts measurements among earlier ones; of what was measured before, the new replaces the old.
func MergePerf(old []Perf, p ...Perf) []Perf {
	out := slices.Clone(old)
	for _, n := range p {
		if i := slices.IndexFunc(out, func(o Perf) bool { return o.Key() == n.Key() }); i >= 0 {
			out[i] = n
		} else {
			out = append(out, n)
		}
	}
	return out
}

// OfClass picks the measurements of a class.
func OfClass(list []Perf, class string) []Perf {
	return slices.DeleteFunc(slices.Clone(list), func(p Perf) bool { return p.Class != class })
}
