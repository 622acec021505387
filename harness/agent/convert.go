// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"slices"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// seconds makes a duration of a guest's number, which may be anything.
func seconds(s float64) time.Duration {
	if !(s > 0) || s > (24*time.Hour).Seconds() {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

func helloOf(r *wire.HelloReply) Hello {
	return Hello{
		Agent: r.GetAgent(), Release: r.GetRelease(), Version: r.GetVersion(), Machine: r.GetMachine(),
		Hostname: r.GetHostname(), CPUs: int(r.GetCpus()), Memory: r.GetMemoryBytes(), Boot: seconds(r.GetBootSeconds()),
		Modules: r.GetModules(), Userland: r.GetUserland(), Container: r.GetContainer(),
	}
}

func linesOf(in []*wire.KernelLine) []KernelLine {
	out := make([]KernelLine, 0, len(in))
	for _, l := range in {
		out = append(out, KernelLine{
			Sequence: l.GetSequence(), Level: int(l.GetLevel()), Text: l.GetText(),
			Time: time.Duration(l.GetMicroseconds()) * time.Microsecond,
		})
	}
	return out
}

func probeOf(r *wire.LoadProbeReply) ProbeReport {
	out := ProbeReport{Took: seconds(r.GetSeconds())}
	for _, p := range r.GetPrograms() {
		prog := Program{Name: p.GetName(), Loaded: p.GetLoaded(), Log: p.GetLog(), Took: seconds(p.GetSeconds())}
		if p.GetFailure() != nil {
			prog.Finding = wire.ErrOf(p.GetFailure()).Finding
		}
		out.Programs = append(out.Programs, prog)
	}
	return out
}

func eventsOf(r *wire.CheckEventsReply) EventsReport {
	out := EventsReport{Drops: r.GetDrops(), Skipped: skippedOf(r.GetSkipped())}
	for _, f := range r.GetFields() {
		out.Fields = append(out.Fields, EventField{
			Event: f.GetEvent(), Field: f.GetField(), Truth: f.GetTruth(), Seen: f.GetSeen(), Present: f.GetPresent(),
		})
	}
	return out
}

func skippedOf(in []*wire.Skipped) []skipped.Count {
	var out []skipped.Count
	for _, s := range in {
		out = append(out, skipped.Count{Program: s.GetProgram(), Calls: s.GetCalls()})
	}
	return out
}

func deedOf(r *wire.RunDeedReply) DeedReport {
	out := DeedReport{Result: r.GetResult(), Beyond: r.GetBeyond(), Fence: r.GetFence(), Drops: r.GetDrops(), Took: seconds(r.GetSeconds()), Skipped: skippedOf(r.GetSkipped())}
	for _, m := range r.GetMatches() {
		out.Matches = append(out.Matches, consumer.Match{
			Watch: m.GetWatch(), Time: time.Unix(0, m.GetUnixNano()).UTC(), Fields: m.GetFields(),
		})
	}
	if r.GetFailure() != nil {
		out.Failure = wire.ErrOf(r.GetFailure())
	}
	return out
}

func measureOf(r *wire.MeasureReply) MeasureReport {
	out := MeasureReport{Took: seconds(r.GetSeconds())}
	for _, c := range r.GetCosts() {
		cost := PathCost{Path: c.GetPath(), Calls: int(c.GetCalls()), Failure: c.GetFailure(), Lacking: c.GetLacking()}
		cost.Ticks, cost.Means = c.GetTicks(), c.GetMeans()
		for _, t := range slices.Concat(cost.Ticks, cost.Means) {
			if !(t > 0) || t > maxTicks {
				cost.Failure, cost.Ticks, cost.Means = fmt.Sprintf("the guest says that one call took %g ticks", t), nil, nil
				break
			}
		}
		if len(cost.Ticks) != len(cost.Means) {
			cost.Failure, cost.Ticks, cost.Means = "the guest does not say as often what the calls cost as what one of them did", nil, nil
		}
		out.Paths = append(out.Paths, cost)
	}
	return out
}

func strainOf(r *wire.StrainReply) (StrainReport, error) {
	out := StrainReport{Opens: r.GetOpens(), Took: seconds(r.GetSeconds()), CPU: seconds(r.GetCpuSeconds()), Memory: r.GetMemoryBytes()}
	if out.Opens < 0 || out.Took <= 0 {
		return StrainReport{}, cause.Errorf(cause.Internal, cause.FaultHarness, "the guest says that it made %d opens in %v", out.Opens, out.Took)
	}
	for _, p := range r.GetPrograms() {
		out.Programs = append(out.Programs, ProgramRuns{Name: p.GetName(), Runs: p.GetRuns(), Took: seconds(p.GetSeconds())})
	}
	return out, nil
}

// maxTicks is more than any call can take that ends before its deadline.
const maxTicks = 1e15
