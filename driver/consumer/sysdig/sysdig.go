// SPDX-License-Identifier: Apache-2.0

// Package sysdig knows how to watch with the distribution's sysdig, which evaluates conditions with the real
// libsinsp on the events of the real kernel module, or of the legacy eBPF probe.
package sysdig

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/results/cause"
)

// Options say how to run sysdig.
type Options struct {
	Path  string       // the binary; empty means sysdig of $PATH
	Probe string       // a legacy eBPF probe to load; "": the kernel module is there
	Fence *fence.Fence // guards every watch: Start makes such events until each of them reported one
}

const (
	// fenceEvery is how often Start makes an event. sysdig does not say when it begins to capture.
	fenceEvery = 100 * time.Millisecond
	// dropsOfDriver is the one category of drops that sysdig tells.
	dropsOfDriver = "driver"
)

// Consumer runs one sysdig with a chisel for each watch. The filter of its command line is one, and does not say which part
// of it held; a chisel has a filter and a format of its own, compiled by the same code (sinsp_chisel::run in sysdig's chisel.cpp:
// filter, on_event, formatter; seen with 0.29.3 and 0.41.4). So each event is read from the kernel and parsed once for all watches.
type Consumer struct {
	opts    Options
	watches []consumer.Watch
	before  []ebpf.Program // what the kernel held before the process loaded its probe
	matches chan consumer.Match
	proc    *child.Process // nil: it was not started
	stop    chan struct{}  // closed when nobody reads matches any more
	once    sync.Once

	mu     sync.Mutex
	silent map[string]bool // watches that reported no fence yet
	proven chan struct{}   // closed when there is none left
}

var _ consumer.Consumer = (*Consumer)(nil)

// New makes a consumer that is not started yet.
func New(opts Options) *Consumer {
	if opts.Path == "" {
		opts.Path = "sysdig"
	}
	return &Consumer{opts: opts, matches: make(chan consumer.Match, 64), stop: make(chan struct{}), proven: make(chan struct{})}
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

// Start runs the process. Every watch must be guarded by the fence of the options; Start returns when each
// of them reported one. While it runs somebody must read Matches.
func (c *Consumer) Start(ctx context.Context, watches []consumer.Watch) (err error) {
	if c.opts.Probe != "" {
		if c.before, err = ebpf.Programs(); err != nil {
			return c.abandon(err)
		}
	}
	c.watches, c.silent = watches, map[string]bool{}
	for _, w := range watches {
		c.silent[w.Name] = true
	}
	dir, err := os.MkdirTemp("", "chisels")
	if err != nil {
		return c.abandon(cause.Errorf(cause.Internal, cause.FaultHarness, "make a directory for chisels: %w", err))
	}
	defer os.RemoveAll(dir) // it reads them before it captures
	cmd, err := c.opts.command(dir, watches)
	if err != nil {
		return c.abandon(err)
	}
	if c.proc, err = child.Start(cmd, c.line); err != nil {
		return c.abandon(cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s: %w", c.opts.Path, err).
			Advise("the userland must hold the package sysdig"))
	}
	go func() {
		<-c.proc.Done()
		close(c.matches)
	}()
	if err := c.prove(ctx); err != nil {
		return c.abandon(err)
	}
	return nil
}

// prove makes fences until every watch reported one.
func (c *Consumer) prove(ctx context.Context) error {
	tick := time.NewTicker(fenceEvery)
	defer tick.Stop()
	for {
		if err := c.opts.Fence.Make(fence.NewToken()); err != nil {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "make a fence: %w", err)
		}
		select {
		case <-c.proven:
			return nil
		case <-c.proc.Done():
			return c.died()
		case <-ctx.Done():
			if c.opts.Probe != "" {
				return ebpf.Late(c.opts.Probe, c.before, c.proc.Stderr(), ctx.Err())
			}
			return cause.Failf(cause.NoEvents, cause.FaultDriver, "sysdig runs, but reported none of the events that it must for %s: %w", strings.Join(c.unheard(), ", "), ctx.Err()).
				With(evidence(c.proc.Stderr())...)
		case <-tick.C:
		}
	}
}

// line passes a match on, and notes a watch's first fence.
func (c *Consumer) line(line []byte) error {
	m, err := ParseLine(line, c.watches)
	if err != nil {
		return err
	}
	if _, ok := c.opts.Fence.Token(m); ok {
		c.heard(m.Watch)
	}
	select {
	case c.matches <- m:
	case <-c.stop:
	}
	return nil
}

func (c *Consumer) heard(watch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent[watch] {
		delete(c.silent, watch)
		if len(c.silent) == 0 {
			close(c.proven)
		}
	}
}

// unheard are the watches that reported nothing, in their order.
func (c *Consumer) unheard() (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.watches {
		if c.silent[w.Name] {
			names = append(names, w.Name)
		}
	}
	return names
}

// abandon ends what Start began.
func (c *Consumer) abandon(err error) error {
	c.once.Do(func() { close(c.stop) })
	if c.proc != nil {
		c.proc.Kill()
	} else {
		close(c.matches)
	}
	return err
}

// Matches is the stream of matches, fences among them, in the order of the events.
func (c *Consumer) Matches() <-chan consumer.Match { return c.matches }

// Stop interrupts the process and reads what it reports.
func (c *Consumer) Stop(ctx context.Context) (consumer.Stats, error) {
	asked := c.interrupt()
	select {
	case <-c.proc.Done():
	case <-ctx.Done():
		c.once.Do(func() { close(c.stop) })
		c.proc.Kill()
		return consumer.Stats{}, errors.Join(asked, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "sysdig does not end when interrupted: %w", ctx.Err()))
	}
	stats, err := c.totals()
	return stats, errors.Join(asked, err)
}
