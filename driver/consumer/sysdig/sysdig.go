// SPDX-License-Identifier: Apache-2.0

// Package sysdig knows how to watch with the distribution's sysdig, which evaluates conditions with the real
// libsinsp on the events of the real kernel module, or of the legacy eBPF probe.
package sysdig

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/results/cause"
)

// Options say how to run sysdig.
type Options struct {
	Path  string       // the binary; empty means sysdig of $PATH
	Probe string       // a legacy eBPF probe to load; "": the kernel module is there
	Fence *fence.Fence // guards every watch: Start makes such events until each process reported one
}

// fenceEvery is how often Start makes an event. sysdig does not say when it begins to capture.
const fenceEvery = 100 * time.Millisecond

// Consumer runs one sysdig process per watch: a sysdig has one filter, and does not say which part of it held.
// A second process costs about 0.6 s of an emulated guest, and a ring of 8 MiB per CPU in the kernel; with a legacy probe,
// which each process loads for itself, about 12 s.
type Consumer struct {
	opts    Options
	before  []ebpf.Program // what the kernel held before the first process loaded its probe
	matches chan consumer.Match
	procs   []*process
	stop    chan struct{} // closed when nobody reads matches any more
	once    sync.Once
}

var _ consumer.Consumer = (*Consumer)(nil)

// New makes a consumer that is not started yet.
func New(opts Options) *Consumer {
	if opts.Path == "" {
		opts.Path = "sysdig"
	}
	return &Consumer{opts: opts, matches: make(chan consumer.Match, 64), stop: make(chan struct{})}
}

// Version asks the binary for its version.
func Version(ctx context.Context, path string) (string, error) {
	if path == "" {
		path = "sysdig"
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "ask %s for its version: %w", path, err).
			With(stderrOf(err)...).Advise("the userland must hold the package sysdig and the libraries it is linked to")
	}
	return parseVersion(string(out))
}

func stderrOf(err error) []cause.Evidence {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return nil
	}
	return evidence(string(exit.Stderr))
}

// Start runs the processes. Every watch must be guarded by the fence of the options; Start returns when each
// process reported one. While it runs somebody must read Matches.
func (c *Consumer) Start(ctx context.Context, watches []consumer.Watch) (err error) {
	if c.opts.Probe != "" {
		if c.before, err = ebpf.Programs(); err != nil {
			return c.abandon(err)
		}
	}
	for _, w := range watches {
		args, err := Args(w)
		if err != nil {
			return c.abandon(err)
		}
		if c.opts.Probe != "" {
			args = append([]string{ebpf.Flag(c.opts.Probe)}, args...)
		}
		p := &process{watch: w, probe: c.opts.Probe != "", ready: make(chan struct{})}
		cmd := exec.Command(c.opts.Path, args...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}
		if err := p.start(cmd, c.deliver); err != nil {
			return c.abandon(cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s for %s: %w", c.opts.Path, w.Name, err).
				Advise("the userland must hold the package sysdig"))
		}
		c.procs = append(c.procs, p)
	}
	go func() {
		for _, p := range c.procs {
			<-p.Done()
		}
		close(c.matches)
	}()
	if err := c.prove(ctx); err != nil {
		return c.abandon(err)
	}
	return nil
}

// prove makes fences until every process reported one.
func (c *Consumer) prove(ctx context.Context) error {
	tick := time.NewTicker(fenceEvery)
	defer tick.Stop()
	for _, p := range c.procs {
		for waiting := true; waiting; {
			if err := c.opts.Fence.Make(fence.NewToken()); err != nil {
				return cause.Errorf(cause.Internal, cause.FaultHarness, "make a fence: %w", err)
			}
			select {
			case <-p.ready:
				waiting = false
			case <-p.Done():
				return p.died()
			case <-ctx.Done():
				if p.probe {
					return ebpf.Late(c.opts.Probe, c.before, p.Stderr(), ctx.Err())
				}
				return cause.Failf(cause.NoEvents, cause.FaultDriver, "sysdig for %s runs, but reported none of the events that it must: %w", p.watch.Name, ctx.Err()).
					With(evidence(p.Stderr())...)
			case <-tick.C:
			}
		}
	}
	return nil
}

// deliver passes a match on, and notes a process's first fence.
func (c *Consumer) deliver(p *process, m consumer.Match) {
	if _, ok := c.opts.Fence.Token(m); ok {
		p.once.Do(func() { close(p.ready) })
	}
	select {
	case c.matches <- m:
	case <-c.stop:
	}
}

// abandon ends what Start began.
func (c *Consumer) abandon(err error) error {
	c.once.Do(func() { close(c.stop) })
	for _, p := range c.procs {
		p.Kill()
	}
	return err
}

// Matches is the stream of matches, fences among them. Matches of one watch come in the order of the events.
func (c *Consumer) Matches() <-chan consumer.Match { return c.matches }

// Stop interrupts the processes and adds up what they report. Events and drops are counted once per process:
// each reads a ring of its own, and a drop in any of them can make its watch silent.
func (c *Consumer) Stop(ctx context.Context) (consumer.Stats, error) {
	stats := consumer.Stats{DropsBy: map[string]uint64{}}
	var errs []error
	for _, p := range c.procs {
		errs = append(errs, p.interrupt())
	}
	for _, p := range c.procs {
		select {
		case <-p.Done():
		case <-ctx.Done():
			c.once.Do(func() { close(c.stop) })
			p.Kill()
			errs = append(errs, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig for %s does not end when interrupted: %w", p.watch.Name, ctx.Err()))
			continue
		}
		events, drops, err := p.totals()
		stats.Events += events
		stats.Drops += drops
		stats.DropsBy[p.watch.Name] = drops
		errs = append(errs, err)
	}
	return stats, errors.Join(errs...)
}
