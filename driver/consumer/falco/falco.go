// SPDX-License-Identifier: Apache-2.0

// Package falco knows how to watch with a Falco that the user supplies: its binary, its configuration, its driver's
// engine. Formats and option names are those of Falco's documentation for 0.37 and newer.
package falco

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/results/cause"
)

// Options say which Falco to run, and how.
type Options struct {
	Path   string       // the binary
	Config string       // its falco.yaml; empty: Falco's own default path
	Args   []string     // more arguments, behind ours: -o engine.kind=kmod
	Dir    string       // a directory of its own, writable: for the rules and the metrics
	Fence  *fence.Fence // guards every watch: Start makes such events until each watch reported one
}

// fenceEvery is how often Start makes an event: Falco does not say on its standard output when it begins to capture.
const fenceEvery = 100 * time.Millisecond

// Consumer is one Falco with a rule for each watch.
type Consumer struct {
	opts    Options
	matches chan consumer.Match
	stop    chan struct{} // closed when nobody reads matches any more
	once    sync.Once
	proc    *child.Process
	rules   map[string][]string // by watch: its fields

	mu      sync.Mutex
	fenced  map[string]bool // watches that reported a fence
	changed chan struct{}   // closed and renewed at every fence and every snapshot
	metrics snapshot        // the last
	lost    uint64          // by "Falco internal: syscall event drop"
}

var _ consumer.Consumer = (*Consumer)(nil)

// New makes a consumer that is not started yet.
func New(opts Options) *Consumer {
	return &Consumer{
		opts: opts, matches: make(chan consumer.Match, 64), stop: make(chan struct{}), rules: map[string][]string{},
		fenced: map[string]bool{}, changed: make(chan struct{}),
	}
}

// Start writes the watches as rules, starts Falco with nothing else to look for, and returns when every rule reported a
// fence, which proves more than its health check: that events come through. A condition that Falco refuses ends it, and
// its own words are the evidence.
func (c *Consumer) Start(ctx context.Context, watches []consumer.Watch) error {
	text, err := rulesFile(watches)
	if err != nil {
		return c.abandon(err)
	}
	for _, w := range watches {
		c.rules[w.Name] = w.Fields
	}
	file := filepath.Join(c.opts.Dir, "mews_rules.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return c.abandon(cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "write Falco's rules: %w", err))
	}
	cmd := exec.Command(c.opts.Path, c.args(file)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "LC_ALL=C", "TZ=UTC"}
	cmd.Dir = c.opts.Dir
	if c.proc, err = child.Start(cmd, c.line); err != nil {
		return c.abandon(cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "start %s: %w", c.opts.Path, err).
			Advise("name a Falco binary for this machine, and put the libraries it is linked to into the userland"))
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

// args are Falco's: nothing but our rules, every rule an event fits and not the first alone, alerts at once as JSON on
// the standard output, and its counters once a second among them.
func (c *Consumer) args(rules string) []string {
	var args []string
	if c.opts.Config != "" {
		args = append(args, "-c", c.opts.Config)
	}
	args = append(args, "-r", rules)
	for _, o := range []string{
		"json_output=true", "json_include_output_property=true", "stdout_output.enabled=true", "buffered_outputs=false",
		"rule_matching=all", "priority=debug", "outputs_queue.capacity=0", "watch_config_files=false",
		"syscall_event_drops.threshold=0", "syscall_event_drops.rate=1", "syscall_event_drops.max_burst=1000",
		"metrics.enabled=true", "metrics.interval=1s", "metrics.output_rule=true", "metrics.kernel_event_counters_enabled=true",
	} {
		args = append(args, "-o", o)
	}
	return append(args, c.opts.Args...)
}

// prove makes fences until every watch reported one.
func (c *Consumer) prove(ctx context.Context) error {
	tick := time.NewTicker(fenceEvery)
	defer tick.Stop()
	for {
		lacking, changed := c.lacking()
		if len(lacking) == 0 {
			return nil
		}
		if err := c.opts.Fence.Make(fence.NewToken()); err != nil {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "make a fence: %w", err)
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-c.proc.Done():
			return c.died()
		case <-ctx.Done():
			return cause.Failf(cause.NoEvents, cause.FaultDriver, "Falco runs, but %q reported none of the events that they must: %w", lacking, ctx.Err()).
				With(evidence(c.proc.Stderr())...)
		}
	}
}

func (c *Consumer) lacking() (names []string, changed chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.rules {
		if !c.fenced[name] {
			names = append(names, name)
		}
	}
	return names, c.changed
}

// line takes one line of Falco's standard output.
func (c *Consumer) line(b []byte) error {
	a, err := parseAlert(b)
	switch {
	case err != nil:
		return err
	case a.notJSON: // what it says before it reads its configuration
		return nil
	case a.internal():
		c.mu.Lock()
		defer c.mu.Unlock()
		if s, ok := a.snapshot(); ok {
			c.metrics = s
			c.tell()
		}
		c.lost += a.drops()
		return nil
	}
	fields, ours := c.rules[a.Rule]
	if !ours {
		return nil // a rule of the user's own configuration
	}
	m := a.match(fields)
	if _, ok := c.opts.Fence.Token(m); ok {
		c.mu.Lock()
		c.fenced[a.Rule] = true
		c.tell()
		c.mu.Unlock()
	}
	select {
	case c.matches <- m:
	case <-c.stop:
	}
	return nil
}

// tell wakes those who wait for a change. c.mu is held.
func (c *Consumer) tell() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// died says why Falco ended that should not have.
func (c *Consumer) died() error {
	return classify(c.proc.Stderr(), c.proc.State())
}

// abandon ends what Start began.
func (c *Consumer) abandon(err error) error {
	c.once.Do(func() { close(c.stop) })
	if c.proc == nil {
		close(c.matches)
		return err
	}
	c.proc.Kill()
	return err
}

// Matches is the stream of matches, fences among them.
func (c *Consumer) Matches() <-chan consumer.Match { return c.matches }

// Stop waits for a snapshot of Falco's counters that is younger than the call, ends Falco, and returns the totals.
// Without such a snapshot nobody knows what was lost, which is an error and not a zero.
func (c *Consumer) Stop(ctx context.Context) (consumer.Stats, error) {
	defer c.once.Do(func() { close(c.stop) })
	if c.proc.Ended() {
		return consumer.Stats{}, c.died()
	}
	s, err := c.since(ctx, time.Now())
	if err != nil {
		c.proc.Kill()
		return consumer.Stats{}, err
	}
	if err := c.proc.Signal(syscall.SIGTERM); err != nil {
		return consumer.Stats{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "end Falco: %w", err)
	}
	select {
	case <-c.proc.Done():
	case <-ctx.Done():
		c.once.Do(func() { close(c.stop) })
		c.proc.Kill()
		return consumer.Stats{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "Falco does not end when it is asked to: %w", ctx.Err()).
			With(evidence(c.proc.Stderr())...)
	}
	if err := c.proc.ReadErr(); err != nil {
		return consumer.Stats{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read the output of Falco: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	stats := consumer.Stats{Events: s.events, Drops: max(s.drops, c.lost), DropsBy: s.by}
	return stats, nil
}

// since waits for a snapshot that was taken after t.
func (c *Consumer) since(ctx context.Context, t time.Time) (snapshot, error) {
	for {
		c.mu.Lock()
		s, changed := c.metrics, c.changed
		c.mu.Unlock()
		if s.taken.After(t) {
			return s, nil
		}
		select {
		case <-changed:
		case <-c.proc.Done():
			return s, c.died()
		case <-ctx.Done():
			return s, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "Falco gave no metrics, so that nobody knows how many events it lost: %w", errors.Join(ctx.Err())).
				With(evidence(c.proc.Stderr())...).Advise("metrics need Falco 0.37 or newer, with kernel event counters")
		}
	}
}

func evidence(text string) []cause.Evidence { return child.Evidence("Falco's stderr", text) }
