// SPDX-License-Identifier: Apache-2.0

// Package native knows how to evaluate Falco conditions on the events of mews's own probe, without libsinsp: it is
// the second opinion beside the consumers that others wrote.
package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios/rules"
)

// Driver is where the events come from: a [modern.Driver] that is loaded and not attached.
type Driver interface {
	Attach() error
	Detach() error
	Flush() error
	Read() (modern.Event, error)
	Stats() (modern.Stats, error)
	Close() error
}

// matchBuffer is how many matches may wait for a slow reader before the ring buffer has to hold the events.
const matchBuffer = 1024

// malformed is the category of records that could not be decoded.
const malformed = "malformed record"

// Consumer is the native consumer. It owns its driver and closes it when it stops.
type Consumer struct {
	driver    Driver
	processes *modern.Processes
	hosts     string // the file of the names of addresses
	watches   []watch
	matcher   *rules.Matcher // of the watches, in their order
	event     event          // the one that is evaluated
	hits      []int          // of it
	matches   chan consumer.Match
	done      chan struct{} // closed when the last event was evaluated
	abandon   chan struct{} // closed when nobody reads the matches any more

	events    atomic.Uint64
	malformed atomic.Uint64
	err       error // of run, until done
}

var (
	_ consumer.Consumer = (*Consumer)(nil)
	_ consumer.Flusher  = (*Consumer)(nil)
	_ consumer.Teller   = (*Consumer)(nil)
)

// New makes a consumer of the events of d.
func New(d Driver) *Consumer {
	return &Consumer{
		driver:    d,
		processes: modern.NewProcesses(os.DirFS("/proc")),
		hosts:     "/etc/hosts",
		matches:   make(chan consumer.Match, matchBuffer),
		done:      make(chan struct{}),
		abandon:   make(chan struct{}),
	}
}

// watch is a consumer.Watch made ready.
type watch struct {
	name   string
	prog   *rules.Program
	fields []field
}

// field is a field to report: name[arg].
type field struct{ text, name, arg string }

func compile(w consumer.Watch) (watch, error) {
	fault := func(what string, err error) error {
		return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "watch %q: %s: %w", w.Name, what, err)
	}
	expr, err := rules.Parse(w.Condition)
	if err != nil {
		return watch{}, fault("its condition", err)
	}
	prog, err := rules.Compile(expr, Schema())
	if err != nil {
		return watch{}, fault("its condition", err)
	}
	out := watch{name: w.Name, prog: prog}
	for _, text := range w.Fields {
		// A field in an output is written as in a condition, so the parser of conditions reads it.
		expr, err := rules.Parse(text + " exists")
		if err != nil {
			return watch{}, fault("field "+text, err)
		}
		if _, err := rules.Compile(expr, Schema()); err != nil {
			return watch{}, fault("field "+text, err)
		}
		check, ok := expr.(*rules.Check)
		if !ok {
			return watch{}, fault("field "+text, errors.New("not a single field"))
		}
		out.fields = append(out.fields, field{text, check.Field, check.Arg})
	}
	return out, nil
}

// Start implements [consumer.Consumer].
func (c *Consumer) Start(_ context.Context, watches []consumer.Watch) error {
	for _, w := range watches {
		ready, err := compile(w)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(c.watches, func(o watch) bool { return o.name == ready.name }) {
			return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "two watches are named %q", ready.name)
		}
		c.watches = append(c.watches, ready)
	}
	programs := make([]*rules.Program, len(c.watches))
	for i, w := range c.watches {
		programs[i] = w.prog
	}
	c.matcher = rules.NewMatcher(programs...)
	// Attached first: a process that starts between the two is in /proc, in the events, or in both.
	if err := c.driver.Attach(); err != nil {
		return err
	}
	if err := c.processes.Seed(); err != nil {
		return err
	}
	c.event = event{processes: c.processes, names: readAccounts(), hosts: readHosts(c.hosts), work: &work{}}
	go c.run()
	return nil
}

// Matches implements [consumer.Consumer].
func (c *Consumer) Matches() <-chan consumer.Match { return c.matches }

// Flush implements [consumer.Flusher].
func (c *Consumer) Flush() error { return c.driver.Flush() }

// run evaluates events until there are no more.
func (c *Consumer) run() {
	defer close(c.done)
	defer close(c.matches)
	var ev modern.Event
	for {
		var err error
		ev, err = c.driver.Read()
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.Is(err, modern.ErrRecord):
			c.malformed.Add(1)
			if c.err == nil {
				c.err = err
			}
			continue
		case err != nil:
			c.err = err
			return
		}
		if !c.evaluate(&ev) {
			return
		}
	}
}

// look evaluates the watches on ev: c.hits are those that it meets.
func (c *Consumer) look(ev *modern.Event) {
	e := &c.event
	e.Event, e.process = ev, c.processes.Apply(ev)
	c.hits = c.hits[:0]
	if ev.Kind == modern.Fork {
		return // of the call that made it there is an event of its own
	}
	e.num = c.events.Add(1)
	e.scratch.reset()
	c.hits = c.matcher.Match(e, c.hits)
}

// evaluate reports whether there is still a reader for matches.
func (c *Consumer) evaluate(ev *modern.Event) bool {
	c.look(ev)
	e := &c.event
	for _, i := range c.hits {
		w := c.watches[i]
		m := consumer.Match{Watch: w.name, Time: wallClock(ev.Time), Fields: map[string]string{}}
		for _, f := range w.fields {
			if v, ok := e.Field(f.name, f.arg); ok {
				m.Fields[f.text] = text(v)
			}
		}
		select {
		case c.matches <- m:
		case <-c.abandon:
			return false
		}
	}
	return true
}

// Stop implements [consumer.Consumer]. Events counts those that watches were evaluated on.
func (c *Consumer) Stop(ctx context.Context) (consumer.Stats, error) {
	if err := c.driver.Detach(); err != nil {
		return consumer.Stats{}, errors.Join(err, c.driver.Close())
	}
	var late error
	select {
	case <-c.done:
	case <-ctx.Done():
		late = cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the native consumer did not get through its last events: %w", ctx.Err()).
			Advise("somebody must read Matches until it is closed")
		close(c.abandon)
	}
	driver, err := c.driver.Stats()
	// Closing ends a Read that still waits.
	err = errors.Join(late, err, c.driver.Close())
	<-c.done
	return c.totals(driver), errors.Join(err, c.err)
}

// Totals implements [consumer.Teller].
func (c *Consumer) Totals() (consumer.Stats, error) {
	driver, err := c.driver.Stats()
	select {
	case <-c.done: // of itself: nobody has stopped it
		err = errors.Join(err, c.err)
	default:
	}
	return c.totals(driver), err
}

func (c *Consumer) totals(driver modern.Stats) consumer.Stats {
	stats := consumer.Stats{Events: c.events.Load(), DropsBy: driver.DropsBy}
	if stats.DropsBy == nil {
		stats.DropsBy = map[string]uint64{}
	}
	if n := c.malformed.Load(); n > 0 {
		stats.DropsBy[malformed] = n
	}
	for _, n := range stats.DropsBy {
		stats.Drops += n
	}
	return stats
}

// wallClock turns a time since boot into a date. It reads both clocks anew, because the guest's date may be set
// while events come.
func wallClock(sinceBoot time.Duration) time.Time {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		panic(fmt.Sprintf("CLOCK_BOOTTIME, which every kernel with eBPF has: %v", err))
	}
	return time.Now().Add(sinceBoot - time.Duration(boot.Nano()))
}
