// SPDX-License-Identifier: Apache-2.0

// Package ebpf knows whether a legacy eBPF probe loads, and why not. It runs in the guest.
//
// There is no loader of the probe but libscap: it creates the maps, loads every program, fills the tables and opens the
// perf rings, once in each process that captures. So the load is tried as it is done, by the distribution's sysdig.
package ebpf

import (
	"context"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/kmod/kmsg"
	"github.com/mews-farm/mews/results/cause"
)

// Options say what to load, and with what.
type Options struct {
	Sysdig string       // the binary; "": sysdig of $PATH
	Probe  string       // probe.o
	Fence  *fence.Fence // makes the event that must be captured
}

// Report says how a load went.
type Report struct {
	Took time.Duration // from the start of the process until it had captured an event and was gone
	Log  string        // the last 64 KiB that sysdig wrote to its stderr: of a refused program, the end of the verifier's log
}

// fenceEvery is how often an event is made until one is captured.
const fenceEvery = 100 * time.Millisecond

// Flag is sysdig's option for a probe, which wants its `=`: of "-B FILE" sysdig 0.41 takes FILE for a part of the filter.
func Flag(probe string) string { return "--bpf=" + probe }

// Load has sysdig load the probe, capture one event that is made for it, and end, which unloads the probe again. The
// report is there whenever the process was started, and nil before. The error is a *cause.Err.
func Load(ctx context.Context, o Options) (*Report, error) {
	if o.Sysdig == "" {
		o.Sysdig = "sysdig"
	}
	if _, err := whole(o.Probe); err != nil {
		return nil, err
	}
	before, err := Programs()
	if err != nil {
		return nil, err
	}
	marker, err := kmsg.End()
	if err != nil {
		return nil, ours("read the kernel's log", err)
	}
	captured := false
	watch := o.Fence.Guard(consumer.Watch{Condition: "evt.type=execve"})
	cmd := exec.Command(o.Sysdig, Flag(o.Probe), "--unbuffered", "-n", "1", "-p", "*%evt.type", watch.Condition)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}
	begun := time.Now()
	p, err := child.Start(cmd, func([]byte) error { captured = true; return nil })
	if err != nil {
		return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s: %w", o.Sysdig, err).
			Advise("the userland must hold the package sysdig")
	}
	waitErr := prove(ctx, p, o.Fence)
	r := &Report{Took: time.Since(begun), Log: p.Stderr()}
	if waitErr != nil {
		late := Late(o.Probe, before, r.Log, waitErr)
		p.Kill()
		r.Log = p.Stderr()
		if errors.Is(waitErr, context.DeadlineExceeded) {
			return r, late
		}
	}
	if waitErr != nil {
		return r, ours("make an event for the probe", waitErr)
	}
	if captured && p.ExitCode() == 0 {
		return r, nil
	}
	lines, _, _, err := kmsg.Read(marker, maxDmesg)
	if err != nil {
		return r, ours("read the kernel's log", err)
	}
	if denied := lockdown(lines); denied != nil {
		return r, denied
	}
	if err := Refusal(r.Log); err != nil {
		return r, err
	}
	return r, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig ended without an event of the probe: %s", p.State()).
		With(child.Evidence(LogFile, r.Log)...)
}

// Late says what it means that a process which runs reported no event of its probe in time; before is what the kernel held
// when it was started. A probe that was not yet loaded as a whole proves nothing: the verifier takes its time for each of
// the programs.
func Late(probe string, before []Program, stderr string, reason error) error {
	all, err := whole(probe)
	if err != nil {
		return err
	}
	now, err := Programs()
	if err != nil {
		return err
	}
	if loaded := len(now) - len(before); loaded < all {
		return cause.Errorf(cause.ConsumerBroken, cause.FaultInfra, "sysdig was still loading the probe, %d of its %d programs: %w", loaded, all, reason).
			With(child.Evidence(LogFile, stderr)...).Advise("the verifier takes its time: run the cell again on a machine with less to do")
	}
	return cause.Failf(cause.NoEvents, cause.FaultDriver, "sysdig loaded all %d programs of the probe, and reported none of the events that it must: %w", all, reason).
		With(child.Evidence(LogFile, stderr)...)
}

// whole looks whether the file ends where its own tables say, and counts its programs. sysdig 0.41 does not look: it dies
// of SIGSEGV, without a word.
func whole(probe string) (programs int, err error) {
	e, err := elf.Open(probe)
	if err != nil {
		return 0, cause.Errorf(cause.Internal, cause.FaultHarness, "the file is not a whole probe: %w", err).Advise("it may be compressed, or cut short")
	}
	defer e.Close()
	info, err := os.Stat(probe)
	if err != nil {
		return 0, ours("look at the probe", err)
	}
	for _, s := range e.Sections {
		if s.Type != elf.SHT_NOBITS && s.Offset+s.FileSize > uint64(info.Size()) {
			return 0, cause.Errorf(cause.Internal, cause.FaultHarness, "the file is not a whole probe: section %s ends at byte %d of %d", s.Name, s.Offset+s.FileSize, info.Size()).
				Advise("it may be cut short")
		}
		if s.Type == elf.SHT_PROGBITS && strings.Contains(s.Name, "tracepoint/") {
			programs++
		}
	}
	return programs, nil
}

// prove makes events until the process has ended.
func prove(ctx context.Context, p *child.Process, f *fence.Fence) error {
	tick := time.NewTicker(fenceEvery)
	defer tick.Stop()
	for {
		if err := f.Make(fence.NewToken()); err != nil {
			return err
		}
		select {
		case <-p.Done():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// maxDmesg bounds what is read of the kernel's log around one load, in bytes.
const maxDmesg = 256 << 10

// lockdown is an error if the kernel said that it is locked down. It then offers no helper that reads its memory, and the
// verifier knows of no reason but that the helper is unknown.
func lockdown(lines []kmsg.Record) error {
	for _, l := range lines {
		if strings.Contains(l.Text, "Lockdown:") {
			return cause.Failf(cause.PolicyDenied, cause.FaultKernel, "the probe may not be loaded on a locked-down kernel").
				With(cause.Evidence{File: "dmesg.log", Text: l.Text})
		}
	}
	return nil
}

func ours(what string, err error) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
}
