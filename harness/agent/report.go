// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/results/cause"
)

// Hello is what a guest says of itself.
type Hello struct {
	Agent     string        // build id of the agent
	Release   string        // uname -r
	Version   string        // uname -v
	Machine   string        // uname -m
	Hostname  string        // uname -n
	CPUs      int           // CPUs online
	Memory    uint64        // bytes of memory that the kernel manages
	Boot      time.Duration // from the kernel's start until the agent served
	Modules   []string      // modules loaded from the initramfs, in order
	Userland  string        // VERSION or PRETTY_NAME of the userland's os-release; empty without that disk
	Container bool          // the disk with the container image is mounted
}

// KernelLine is one record of the kernel's log.
type KernelLine struct {
	Sequence uint64        // number of the record; rises by one
	Level    int           // 0 emergency to 7 debug
	Time     time.Duration // since the kernel's start
	Text     string        // one line, control characters escaped by the kernel
}

// Dmesg is a part of the kernel's log.
type Dmesg struct {
	Lines []KernelLine
	Next  uint64 // where the next call goes on
	Lost  uint64 // records that were overwritten before they could be read
}

// Module is a kernel module to load.
type Module struct {
	Name   string    // as in /proc/modules
	Image  io.Reader // the .ko file, not compressed
	Params string    // parameters, as insmod takes them
	Device string    // prefix of the device nodes it must make, one per CPU ("scap" for /dev/scap0); empty: none are expected
}

// ModuleReport says how the load of a module went.
type ModuleReport struct {
	Name          string        // as in /proc/modules
	Took          time.Duration // finit_module alone
	Devices       int           // device nodes found
	APIVersion    string        // "8.0.2" as the driver answers; empty without devices or with a driver older than API versions
	SchemaVersion string        // likewise
	Dmesg         []KernelLine  // what the kernel logged meanwhile
}

// Probe is an edition of the CO-RE probe to load.
type Probe struct {
	Edition string    // one of driver/modern's; "" is the good one
	Types   io.Reader // BTF to relocate against, raw and not compressed; nil: the guest's own kernel's
	Stats   bool      // ask the verifier what each program costs it
	Ring    uint32    // size of the ring buffer in bytes, a power of two of pages; 0: that of driver/modern
}

// ProbeReport says how the load of the CO-RE probe went, program by program.
type ProbeReport struct {
	Took     time.Duration
	Programs []Program // sorted by name
}

// Program is one eBPF program of a probe.
type Program struct {
	Name    string
	Loaded  bool
	Finding cause.Finding // why it is not loaded; zero when it is
	Log     string        // what the verifier said; may be long
	Took    time.Duration // its load
}

// LegacyReport says how the load of a legacy probe went.
type LegacyReport struct {
	Took time.Duration // of sysdig, from its start to its end with one event captured
	Log  string        // the end of what it wrote to its stderr; of a program that was refused, what the verifier said
}

// The consumers that an agent can start.
const (
	Native = "native" // ours, on the CO-RE probe of LoadProbe or the tracer of LoadTracer
	Falco  = "falco"  // a Falco that the user put into the userland
	Sysdig = "sysdig" // the userland's sysdig, on the module of LoadModule or the probe of LoadLegacy
)

// The options of consumer falco.
const (
	FalcoPath = "path" // of its binary in the userland
	FalcoArgs = "args" // more arguments, a JSON list; may be left out
)

// ConsumerSpec says what to watch, and with what.
type ConsumerSpec struct {
	Kind    string // Native, Sysdig or Falco
	Watches []consumer.Watch
	Options map[string]string // by kind; an unknown one is an error
	Bare    bool              // without a watch for CheckEvents, which is an error then
}

// ConsumerReport says how the start of a consumer went.
type ConsumerReport struct {
	Took    time.Duration // until capturing was proven by the first fence
	Version string        // as the consumer names it
}

// ProbePlace stands in the arguments of a command or a Falco for the path of the legacy probe.
const ProbePlace = "{probe}"

// CommandReport is the run of a program of the user's own.
type CommandReport struct {
	ExitCode int
	Took     time.Duration
	Output   []string // lines of standard output; of a long one the first and the last hundred
	Stderr   string   // the last of it
}

// Where a deed is done.
const (
	OnHost      = "host"
	InContainer = "container"
)

// Actor is the process of a deed that will be asked for.
type Actor struct {
	ID      string          // as a Deed's
	Context string          // OnHost or InContainer
	Setup   json.RawMessage // a scenarios.Setup: of its container
}

// Deed is something that an agent shall do while the consumer watches.
type Deed struct {
	ID      string          // MEWS_ID in the environment of the process that does it: [A-Za-z0-9-], at most 64 bytes
	Context string          // OnHost or InContainer
	Request json.RawMessage // what scenarios.Act reads
	Leave   bool            // the guest is thrown away after the scenario: its container may stay as it is
}

// DeedReport says what came of a deed.
type DeedReport struct {
	Result  json.RawMessage  // what scenarios.Act wrote; empty when the process did not get that far
	Matches []consumer.Match // of every watch, from the start of the deed to the fence after it; no fences among them
	Beyond  uint64           // matches that Matches had no room for; Failure says so too
	Fence   bool             // every watch reported the fence after the deed: silence before it is proven
	Drops   uint64           // events lost so far, as far as the consumer can tell while it runs
	Skipped []skipped.Count  // eBPF programs that the kernel did not run though their event happened, from the start of the deed to the fence
	Took    time.Duration    // the deed alone
	Failure error            // why the deed could not be done or the fence was not seen; nil when all went well
}

// Measurement says what to measure, and how often.
type Measurement struct {
	Paths   []string // by their names in package meter; nil: all
	Repeats int      // each gives one figure
	Batches int      // of which a figure is made
}

// MeasureReport is what system calls cost.
type MeasureReport struct {
	Took  time.Duration
	Paths []PathCost
}

// PathCost is what one path through the kernel cost.
type PathCost struct {
	Path    string
	Calls   int       // a batch
	Ticks   []float64 // of the time-stamp counter for one call to which nothing happens, by repeat
	Means   []float64 // the same for the mean of the calls
	Failure string    // why there are none
	Lacking bool      // because the kernel has no such call
}

// StrainReport is what came of making events.
type StrainReport struct {
	Opens    int64
	Took     time.Duration // of making them
	CPU      time.Duration // the consumer's
	Memory   uint64        // the consumer's, resident
	Programs []ProgramRuns // eBPF programs that ran meanwhile, where the kernel counts
}

// ProgramRuns is how often an eBPF program ran, and how long in all.
type ProgramRuns struct {
	Name string
	Runs uint64
	Took time.Duration
}

// EventField is what the consumer said about a known event, beside what really happened.
type EventField struct {
	Event   string // "exec" or "open"
	Field   string // the Falco field
	Truth   string // what the agent did
	Seen    string // what the consumer reported
	Present bool   // the consumer reported the field at all
}

// EventsReport is the result of [Client.CheckEvents].
type EventsReport struct {
	Kernel  string // uname -r
	Fields  []EventField
	Drops   uint64          // events lost so far
	Skipped []skipped.Count // eBPF programs that the kernel did not run though their event happened, while these did or a crowd of threads opened files
}

// Err says what is wrong with the events: nil when every field that was looked at was seen as it really was.
func (r EventsReport) Err() error {
	var wrong []cause.Evidence
	for _, f := range r.Fields {
		switch {
		case !f.Present:
			wrong = append(wrong, cause.Evidence{Text: fmt.Sprintf("%s: %s is lacking, it was %q", f.Event, f.Field, f.Truth)})
		case f.Seen != f.Truth:
			wrong = append(wrong, cause.Evidence{Text: fmt.Sprintf("%s: %s = %q, it was %q", f.Event, f.Field, f.Seen, f.Truth)})
		}
	}
	switch {
	case len(r.Fields) == 0:
		return cause.Errorf(cause.Internal, cause.FaultHarness, "the check of the events' content checked nothing")
	case len(r.Skipped) > 0: // right fields prove nothing of the others: which events are lost is chance
		return cause.Failf(cause.EventDrops, cause.FaultDriver, "the kernel did not run the driver's programs for %d events, which no counter of its own knows of; %d of %d event fields are wrong",
			skipped.Sum(r.Skipped), len(wrong), len(r.Fields)).With(append(skipped.Evidence(r.Kernel, r.Skipped), wrong...)...).
			Advise("since 7.0 programs at raw tracepoints can be preempted, and are skipped for every other task of the CPU meanwhile: attach them to the tracepoints proper")
	case len(wrong) > 0 && r.Drops > 0:
		return cause.Errorf(cause.EventDrops, cause.FaultInfra, "%d of %d event fields are wrong, and %d events were lost: those that were looked at may be among them", len(wrong), len(r.Fields), r.Drops).With(wrong...)
	case len(wrong) > 0:
		return cause.Failf(cause.EventFieldWrong, cause.FaultDriver, "%d of %d event fields are wrong", len(wrong), len(r.Fields)).With(wrong...)
	}
	return nil
}
