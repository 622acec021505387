// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent/wire"
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
		for _, t := range c.GetTicks() {
			if !(t > 0) || t > maxTicks {
				cost.Failure, cost.Ticks = fmt.Sprintf("the guest says that one call took %g ticks", t), nil
				break
			}
			cost.Ticks = append(cost.Ticks, t)
		}
		out.Paths = append(out.Paths, cost)
	}
	return out
}

// maxTicks is more than any call can take that ends before its deadline.
const maxTicks = 1e15
