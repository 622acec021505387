// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/results/cause"
)

// session is a consumer that runs, and what it reported since the current window began.
type session struct {
	consumer consumer.Consumer
	fence    *fence.Fence
	make     func(token string) error // makes a fence
	opener   *opener                  // whose process that is; nil: this one
	watches  []string
	checked  []string // fields of the watch of [Agent.CheckEvents]; none: it is not among the watches
	programs skipped.Programs

	once    sync.Once // the consumer was stopped, and this is what came of it
	stats   consumer.Stats
	stopErr error

	mu      sync.Mutex
	window  []consumer.Match           // not fences
	dropped int                        // matches that did not fit the window
	waiting map[string]map[string]bool // token -> watches that reported it
	changed chan struct{}              // closed and renewed at every fence, and closed for good at the end
	over    bool
}

// maxWindow bounds the matches that one deed may make; a rule that fires for everything is found out by a few.
const maxWindow = 500

// start runs c with the watches, each guarded by the fence, and proves that all of them report.
func start(ctx context.Context, c consumer.Consumer, f *fence.Fence, o *opener, watches []consumer.Watch) (*session, error) {
	s := &session{consumer: c, fence: f, make: f.Make, opener: o, waiting: map[string]map[string]bool{}, changed: make(chan struct{})}
	if o != nil {
		s.make = o.make
	}
	guarded := make([]consumer.Watch, 0, len(watches))
	for _, w := range watches {
		s.watches = append(s.watches, w.Name)
		guarded = append(guarded, f.Guard(w))
	}
	if err := checkNames(s.watches); err != nil {
		return nil, err
	}
	go s.collect()
	if err := c.Start(ctx, guarded); err != nil {
		return nil, err
	}
	if err := s.wait(ctx); err != nil {
		return nil, s.unproven(ctx, err)
	}
	return s, nil
}

// lastWords is how long a consumer that did not prove itself may take to end and say why.
const lastWords = 10 * time.Second

// unproven ends a consumer whose first fence did not come through, and says why: what the consumer itself knows of its end,
// or what was lost, explains more than the silence.
func (s *session) unproven(ctx context.Context, silence error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords) // the caller's time may be over
	defer cancel()
	stats, err := s.stopped(ctx)
	switch {
	case err != nil && s.ended():
		return err
	case stats.Drops > 0:
		return cause.Errorf(cause.EventDrops, cause.FaultInfra, "%d events were lost, those that the consumer must report perhaps among them: %w", stats.Drops, silence)
	}
	return silence
}

// ended reports whether the stream of matches is over.
func (s *session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

func checkNames(names []string) error {
	sorted := slices.Sorted(slices.Values(names))
	if len(sorted) == 0 || sorted[0] == "" || len(slices.Compact(sorted)) != len(names) {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "watches must have names that differ, not %q", names)
	}
	return nil
}

// collect sorts what the consumer reports, until it ends.
func (s *session) collect() {
	for m := range s.consumer.Matches() {
		token, isFence := s.fence.Token(m)
		s.mu.Lock()
		switch {
		case !isFence && len(s.window) < maxWindow:
			s.window = append(s.window, m)
		case !isFence:
			s.dropped++
		case s.waiting[token] != nil:
			s.waiting[token][m.Watch] = true
			close(s.changed)
			s.changed = make(chan struct{})
		}
		s.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	close(s.changed)
}

// begin empties the window.
func (s *session) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.window, s.dropped = nil, 0
}

// end closes the window: what the watches reported since begin.
func (s *session) end() (matches []consumer.Match, dropped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	matches, dropped = s.window, s.dropped
	s.window, s.dropped = nil, 0
	return matches, dropped
}

// fenceEvery is how often a fence is made again that was not reported: where a driver's buffer was full for a moment, it was
// lost. What a later one proves is the same.
const fenceEvery = 250 * time.Millisecond

// wait makes a fence, again and again, and waits until every watch reported it.
func (s *session) wait(ctx context.Context) error {
	token := fence.NewToken()
	s.mu.Lock()
	s.waiting[token] = map[string]bool{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, token)
		s.mu.Unlock()
	}()
	if err := s.raise(token); err != nil {
		return ours("make a fence", err)
	}
	again := time.NewTicker(fenceEvery)
	defer again.Stop()
	for {
		s.mu.Lock()
		var lacking []string
		for _, w := range s.watches {
			if !s.waiting[token][w] {
				lacking = append(lacking, w)
			}
		}
		changed, over := s.changed, s.over
		s.mu.Unlock()
		switch {
		case len(lacking) == 0:
			return nil
		case over:
			if _, err := s.stopped(ctx); err != nil { // it knows why
				return err
			}
			return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the consumer ended while its watches %q were to report", lacking)
		}
		select {
		case <-changed:
		case <-again.C:
			if err := s.raise(token); err != nil {
				return ours("make a fence again", err)
			}
		case <-ctx.Done():
			return cause.Failf(cause.NoEvents, cause.FaultDriver, "watches %q did not report an event that they must: %w", lacking, ctx.Err())
		}
	}
}

// raise makes a fence, and has the consumer look for it.
func (s *session) raise(token string) error {
	err := s.make(token)
	if f, ok := s.consumer.(consumer.Flusher); ok {
		err = errors.Join(err, f.Flush())
	}
	return err
}

// stopped stops the consumer, once, and is what came of that.
func (s *session) stopped(ctx context.Context) (consumer.Stats, error) {
	s.once.Do(func() { s.stats, s.stopErr = s.consumer.Stop(ctx) })
	return s.stats, s.stopErr
}

// stop ends the consumer.
func (s *session) stop(ctx context.Context) (consumer.Stats, error) {
	if err := s.programs.Close(); err != nil { // a process unloads its probe when it ends
		return consumer.Stats{}, ours("let go of the eBPF programs", err)
	}
	stats, err := s.stopped(ctx)
	if s.opener != nil {
		if stopErr := s.opener.stop(); stopErr != nil {
			err = errors.Join(err, ours("end the process that makes fences", stopErr))
		}
	}
	return stats, err
}
