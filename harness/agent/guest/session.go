// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/results/cause"
)

// session is a consumer that runs, and what it reported since the current window began.
type session struct {
	consumer consumer.Consumer
	fence    *fence.Fence
	opener   *opener // makes the fences; nil: this process does
	watches  []string

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
	s := &session{consumer: c, fence: f, opener: o, waiting: map[string]map[string]bool{}, changed: make(chan struct{})}
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
		s.stop(ctx)
		return nil, err
	}
	return s, nil
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

// wait makes a fence and waits until every watch reported it.
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
	made := s.fence.Make
	if s.opener != nil {
		made = s.opener.make
	}
	if err := made(token); err != nil {
		return ours("make a fence", err)
	}
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
			return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the consumer ended while its watches %q were to report", lacking)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return cause.Failf(cause.NoEvents, cause.FaultDriver, "watches %q did not report an event that they must: %w", lacking, ctx.Err())
		}
	}
}

// stop ends the consumer.
func (s *session) stop(ctx context.Context) (consumer.Stats, error) {
	stats, err := s.consumer.Stop(ctx)
	if s.opener != nil {
		if stopErr := s.opener.stop(); stopErr != nil {
			err = errors.Join(err, ours("end the process that makes fences", stopErr))
		}
	}
	return stats, err
}
