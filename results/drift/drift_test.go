// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// insn is a path that costs base without the driver and base + added with it, its repeats spread apart by a part of that.
func insn(path string, base, added, spread float64) results.Perf {
	repeats := func(v float64) []float64 {
		out := make([]float64, 8)
		for i := range out {
			out[i] = v * (1 + spread*(float64(i)/7-0.5))
		}
		return out
	}
	return results.MeasuredInsns(path, results.SettingConsumer, repeats(base+added), repeats(base))
}

// mean makes a path's record one of the mean of its calls.
func mean(p results.Perf) results.Perf {
	p.Metric = results.MetricInsnsMean
	return p
}

func counted(metric, program string, v, limit float64) results.Perf {
	return results.Perf{Metric: metric, Program: program, Driver: v, Limit: limit, Class: results.ClassVerifier}
}

func cellWith(p ...results.Perf) results.Cell {
	return results.Cell{ID: "k~d", Kernel: results.Kernel{Distro: "debian", Release: "6.1.0"}, Driver: results.Driver{Name: "d"}, Perf: p}
}

func TestCell(t *testing.T) {
	for _, c := range []struct {
		name        string
		before, now results.Perf
		want        Verdict
	}{
		{"the same", insn("execve", 190000, 20000, 0.001), insn("execve", 190000, 20000, 0.001), Same},
		{"one in a hundred of the path", insn("execve", 190000, 20000, 0.001), insn("execve", 190000, 22100, 0.001), Worse},
		{"one in a hundred less", insn("execve", 190000, 20000, 0.001), insn("execve", 190000, 17900, 0.001), Better},
		{"below the floor", insn("execve", 190000, 20000, 0), insn("execve", 190000, 20000+210000*Floor*0.99, 0), Same},
		{"above the floor", insn("execve", 190000, 20000, 0), insn("execve", 190000, 20000+210000*Floor*1.01, 0), Worse},
		{"repeats that overlap prove nothing", insn("execve", 190000, 20000, 0.02), insn("execve", 190000, 22100, 0.02), Same},
		{"the kernel's part grew, the driver's did not", insn("execve", 190000, 20000, 0.0005), insn("execve", 220000, 20000, 0.0005), Same},
		{"the mean below its own floor", mean(insn("execve", 190000, 20000, 0)), mean(insn("execve", 190000, 20000+210000*MeanFloor*0.99, 0)), Same},
		{"the mean above it", mean(insn("execve", 190000, 20000, 0)), mean(insn("execve", 190000, 20000+210000*MeanFloor*1.01, 0)), Worse},
		{"a driver that added nothing", insn("getppid", 387, 0, 0), insn("getppid", 387, 0, 0), Same},
		{"adds something now", insn("getppid", 387, 0, 0), insn("getppid", 387, 8, 0), Worse},
		{"the verifier's work grew a little", counted(results.MetricVerifierInsns, "openat", 10000, 1e6), counted(results.MetricVerifierInsns, "openat", 10999, 1e6), Same},
		{"and much", counted(results.MetricVerifierInsns, "openat", 10000, 1e6), counted(results.MetricVerifierInsns, "openat", 11001, 1e6), Worse},
		{"little, but to the limit", counted(results.MetricVerifierStack, "openat", 456, 512), counted(results.MetricVerifierStack, "openat", 464, 512), Worse},
		{"at the limit before", counted(results.MetricVerifierStack, "openat", 480, 512), counted(results.MetricVerifierStack, "openat", 488, 512), Same},
		{"from nothing", counted(results.MetricVerifierStack, "openat", 0, 512), counted(results.MetricVerifierStack, "openat", 8, 512), Worse},
		{"a load that took longer", counted(results.MetricLoadSeconds, "openat", 1, 0), counted(results.MetricLoadSeconds, "openat", 3, 0), Same},
	} {
		got := Cell(cellWith(c.now), cellWith(c.before))
		if len(got) != 1 || got[0].Verdict != c.want {
			t.Errorf("%s: %+v, want %s", c.name, got, c.want)
		}
	}
}

// What is measured for the first time is no regression; what is not measured any more is no pass.
func TestNewAndGone(t *testing.T) {
	a, b := insn("openat", 10000, 7000, 0), insn("openat2", 10000, 7000, 0)
	got := Cell(cellWith(a), cellWith(b))
	if len(got) != 2 || got[0].Verdict != New || got[1].Verdict != Gone || got[1].What != "openat2" {
		t.Fatalf("%+v", got)
	}
	if ExitCode(got[:1]) != results.ExitExpected || ExitCode(got) != results.ExitLacking {
		t.Error("what is not measured any more leaves a verdict lacking, what is new does not")
	}
	if err := Err(got[:1]); err != nil {
		t.Errorf("new: %v", err)
	}
	if f := cause.Of(Err(got)); f.State != cause.Error || f.Fault != cause.FaultHarness {
		t.Errorf("gone: %+v", f)
	}
}

// A third more may hide where repeats lie that far apart: neither a pass nor held against anybody.
func TestUnclear(t *testing.T) {
	got := Cell(cellWith(insn("clone", 60000, 26000, 0.4)), cellWith(insn("clone", 60000, 20000, 0.01)))
	if len(got) != 1 || got[0].Verdict != Unclear || ExitCode(got) != results.ExitLacking {
		t.Errorf("%+v, exit %d", got, ExitCode(got))
	}
	if f := cause.Of(Err(got)); f.State != cause.Error || f.Fault != cause.FaultHarness {
		t.Errorf("%+v", f)
	}
}

func TestErrNamesWhatGrew(t *testing.T) {
	old := []results.Perf{insn("openat", 10000, 7000, 0), insn("execve", 190000, 20000, 0)}
	now := []results.Perf{insn("openat", 10000, 7100, 0), insn("execve", 190000, 30000, 0)}
	f := cause.Of(Err(Cell(cellWith(now...), cellWith(old...))))
	if f.State != cause.Fail || f.Cause != cause.OverheadRegression || f.Fault != cause.FaultDriver {
		t.Fatalf("%+v", f)
	}
	if !strings.Contains(f.Evidence[0].Text, "execve") || !strings.Contains(f.Evidence[1].Text, "openat") {
		t.Errorf("the largest first: %+v", f.Evidence)
	}
}

// Figures of a clock are told, and gate nothing: neither ten times worse nor gone.
func TestWallNeverGates(t *testing.T) {
	wall := results.MeasuredWall(results.MetricEventRate, 1000, 1010, 1020)
	cpu := results.MeasuredWall(results.MetricConsumerCPU, 0.1, 0.1, 0.1)
	for _, c := range []struct {
		name        string
		now, before results.Cell
	}{
		{"ten times fewer events", cellWith(results.MeasuredWall(results.MetricEventRate, 100, 101, 102)), cellWith(wall)},
		{"ten times the processor", cellWith(results.MeasuredWall(results.MetricConsumerCPU, 1, 1, 1)), cellWith(cpu)},
		{"repeats all over", cellWith(results.MeasuredWall(results.MetricConsumerCPU, 0, 1, 10)), cellWith(cpu)},
		{"gone", cellWith(), cellWith(wall, cpu)},
	} {
		got := Cell(c.now, c.before)
		if len(got) == 0 || Err(got) != nil || ExitCode(got) != results.ExitExpected {
			t.Errorf("%s: exit %d, %v", c.name, ExitCode(got), Err(got))
		}
	}
}

func run(p ...results.Perf) results.Run { return results.Run{Cells: []results.Cell{cellWith(p...)}} }

// A series that jumps about by a half per cent needs more than that to be found worse; one that is still does not.
func TestHistory(t *testing.T) {
	jumpy := func(last float64) []results.Run {
		var out []results.Run
		for i := range 8 {
			out = append(out, run(insn("clone", 60000, 10000+float64(i%2)*350+float64(i)*10, 0)))
		}
		return append(out, run(insn("clone", 60000, last, 0)))
	}
	if got := Runs(jumpy(10800)...)[0]; got.Verdict != Same || got.Threshold <= Floor {
		t.Errorf("within its history: %+v", got)
	}
	if got := Runs(jumpy(12500)...)[0]; got.Verdict != Worse {
		t.Errorf("beyond its history: %+v", got)
	}
	if got := Runs(jumpy(10800)[6:]...)[0]; got.Verdict != Worse {
		t.Errorf("too short a history to excuse it: %+v", got)
	}
	if Runs(jumpy(1)[0]) != nil {
		t.Error("one run has nothing to be compared with")
	}
}

// A cell that only the run before has is gone, with all it measured.
func TestRunsLosesNoCell(t *testing.T) {
	got := Runs(run(insn("openat", 10000, 7000, 0)), results.Run{})
	if len(got) != 1 || got[0].Verdict != Gone {
		t.Errorf("%+v", got)
	}
}

func TestOutlier(t *testing.T) {
	if _, ok := outlier([]float64{1, 2, 3, 4}); ok {
		t.Error("four values are no history")
	}
	if got, _ := outlier([]float64{1, 2, 3, 4, 5}); got != 4+3*2 {
		t.Errorf("Q3 + 3 IQR of 1..5 is 10, not %g", got)
	}
	if got, _ := outlier([]float64{2, 2, 2, 2, 2, 2}); got != 2 {
		t.Errorf("of equals it is they: %g", got)
	}
}

// The rule cries wolf no more often than it says: 20,000 comparisons of repeats from one distribution, wide enough that
// the floor saves none.
func TestFalseAlarmsAreAsRareAsStated(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 20000
	draw := func() []float64 {
		out := make([]float64, 5)
		for i := range out {
			out[i] = 1000 * math.Exp(0.05*r.NormFloat64())
		}
		return out
	}
	alarms, overlapFree, stated := 0, 0, 0.0
	for range n {
		none := []float64{100, 100, 100, 100, 100}
		now, before := results.MeasuredInsns("p", "loaded", draw(), none), results.MeasuredInsns("p", "loaded", draw(), none)
		if now.Low > before.High && apart(before, now) {
			overlapFree++
		}
		got := Cell(cellWith(now), cellWith(before))
		p, _ := FalseAlarm(got)
		stated += p
		if got[0].Verdict == Worse {
			alarms++
		}
	}
	// 20000/252 = 79 are stated of the repeats alone, with a standard deviation of 9; that twice the spread must be exceeded too takes nearly all of them away.
	if float64(alarms) > stated || math.Abs(float64(overlapFree)-stated) > 4*math.Sqrt(stated) {
		t.Errorf("%d false alarms, %d by the repeats alone, in %d comparisons; at most %.0f are stated", alarms, overlapFree, n, stated)
	}
}

// Whatever the figures: swapping the runs turns worse into better, and the same run is the same.
func TestSymmetry(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		a := insn("p", 100+r.Float64()*1e5, r.Float64()*1e5, r.Float64()*0.01)
		b := insn("p", 100+r.Float64()*1e5, r.Float64()*1e5, r.Float64()*0.01)
		there, back := Cell(cellWith(b), cellWith(a))[0], Cell(cellWith(a), cellWith(b))[0]
		if there.Verdict == Worse && back.Change > 0 || there.Verdict == Better && back.Change < 0 {
			t.Fatalf("%+v\n%+v", there, back)
		}
		if there.Verdict == Worse && there.After <= there.Before {
			t.Fatalf("worse, and not more: %+v", there)
		}
		if self := Cell(cellWith(a), cellWith(a))[0]; self.Verdict != Same {
			t.Fatalf("a run against itself: %+v", self)
		}
	}
}

func TestOrders(t *testing.T) {
	for n, want := range map[int]float64{1: 2, 2: 6, 5: 252, 8: 12870} {
		if got := orders(n); math.Abs(got-want) > 1e-6 {
			t.Errorf("C(%d, %d) = %g, not %g", 2*n, n, want, got)
		}
	}
}

func TestRender(t *testing.T) {
	old := []results.Perf{insn("openat", 10000, 7000, 0), insn("execve", 190000, 20000, 0), insn("read", 2000, 800, 0)}
	now := []results.Perf{insn("openat", 10000, 6000, 0), insn("execve", 190000, 30000, 0), insn("read", 2000, 800, 0)}
	hostile := cellWith(now...)
	hostile.Driver.Name = "d\x1b[2J"
	var b bytes.Buffer
	if err := Render(&b, Cell(hostile, cellWith(old...)), false); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{"WORSE", "better", "3 costs: 1 worse, 1 better, 1 same", "+4.76 %", "among the 3 counted in instructions would be 0.00023 at most"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") || strings.Index(got, "execve") > strings.Index(got, "openat") || strings.Contains(got, "read") {
		t.Errorf("%s", got)
	}
}
