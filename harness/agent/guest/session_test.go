// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/results/cause"
)

// scripted is a consumer that reports what a test tells it to.
type scripted struct {
	out     chan consumer.Match
	watches []consumer.Watch
	stats   consumer.Stats // what Stop says
	err     error
}

func (c *scripted) Start(_ context.Context, w []consumer.Watch) error { c.watches = w; return nil }
func (c *scripted) Matches() <-chan consumer.Match                    { return c.out }
func (c *scripted) Stop(context.Context) (consumer.Stats, error)      { return c.stats, c.err }

// echo reports every fence that a session waits for, on behalf of the watches of that name.
func (c *scripted) echo(ctx context.Context, s *session, dir string, names ...string) {
	seen := map[string]bool{}
	for ctx.Err() == nil {
		s.mu.Lock()
		var tokens []string
		for t := range s.waiting {
			tokens = append(tokens, t)
		}
		s.mu.Unlock()
		for _, t := range tokens {
			for _, n := range names {
				if !seen[t+n] {
					seen[t+n] = true
					c.out <- consumer.Match{Watch: n, Fields: map[string]string{"fd.name": dir + "/" + t}}
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
}

// newSession is a session of two watches over a scripted consumer.
func newSession(t *testing.T) (*session, *scripted, string) {
	t.Helper()
	dir := t.TempDir()
	f, err := fence.In(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &scripted{out: make(chan consumer.Match)}
	s := &session{consumer: c, fence: f, make: f.Make, watches: []string{"a", "b"}, waiting: map[string]map[string]bool{}, changed: make(chan struct{})}
	go s.collect()
	return s, c, dir
}

func TestFenceNeedsEveryWatch(t *testing.T) {
	s, c, dir := newSession(t)
	defer close(c.out)
	echo, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() { defer close(stopped); c.echo(echo, s, dir, "a") }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.wait(ctx)
	stop()
	<-stopped
	if f := cause.Of(err); f.Cause != cause.NoEvents || f.State != cause.Fail || f.Fault != cause.FaultDriver {
		t.Errorf("watch b is silent, and the fence says %v", err)
	}
}

// What a full buffer swallows is made again.
func TestFenceIsMadeAgain(t *testing.T) {
	s, c, dir := newSession(t)
	defer close(c.out)
	made := 0
	s.make = func(token string) error {
		if made++; made == 3 {
			for _, w := range s.watches {
				c.out <- consumer.Match{Watch: w, Fields: map[string]string{"fd.name": dir + "/" + token}}
			}
		}
		return nil
	}
	if err := s.wait(t.Context()); err != nil || made != 3 {
		t.Errorf("after %d fences: %v", made, err)
	}
}

// Why a consumer does not report what it must is its own to say, if it can.
func TestStartSaysWhyNothingCame(t *testing.T) {
	schema := cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "of another schema")
	for _, c := range []struct {
		name string
		dies bool
		scripted
		want cause.Cause
	}{
		{"silent", false, scripted{}, cause.NoEvents},
		{"silent, and slow to end", false, scripted{err: cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "late")}, cause.NoEvents},
		{"lost events", false, scripted{stats: consumer.Stats{Drops: 7}}, cause.EventDrops},
		{"died of what it read", true, scripted{err: schema, stats: consumer.Stats{Drops: 7}}, cause.APISchemaMismatch},
		{"died without a word", true, scripted{}, cause.ConsumerBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, err := fence.In(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			c.out = make(chan consumer.Match)
			if c.dies {
				close(c.out)
			} else {
				defer close(c.out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			_, err = start(ctx, &c.scripted, f, nil, []consumer.Watch{{Name: "w", Condition: "evt.num > 0"}})
			if got := cause.Of(err); got.Cause != c.want || got.State == cause.Pass {
				t.Errorf("got %+v", err)
			}
		})
	}
}

func TestWindow(t *testing.T) {
	s, c, dir := newSession(t)
	defer close(c.out)
	echo, stop := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	defer func() { stop(); <-stopped }()
	go func() { defer close(stopped); c.echo(echo, s, dir, "a", "b") }()

	c.out <- consumer.Match{Watch: "a", Fields: map[string]string{"proc.name": "before"}}
	if err := s.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.begin()
	for i := range maxWindow + 3 {
		c.out <- consumer.Match{Watch: "b", Fields: map[string]string{"proc.name": fmt.Sprint(i)}}
	}
	if err := s.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	got, dropped := s.end()
	if len(got) != maxWindow || dropped != 3 || got[0].Fields["proc.name"] != "0" {
		t.Errorf("%d matches, %d dropped, the first %v", len(got), dropped, got[0])
	}
	if f := cause.Of(tooMany(dropped)); f.Cause != cause.EventDrops {
		t.Errorf("matches were lost, and the deed says %+v", f)
	}
	if again, _ := s.end(); len(again) != 0 {
		t.Errorf("the window still holds %v", again)
	}
}

func TestConsumerDies(t *testing.T) {
	s, c, _ := newSession(t)
	close(c.out)
	if f := cause.Of(s.wait(t.Context())); f.Cause != cause.ConsumerBroken {
		t.Errorf("got %+v", f)
	}

	// What it knows of its end says more.
	s, c, _ = newSession(t)
	c.err = cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "its last words")
	close(c.out)
	for range 2 { // it is stopped once
		if err := s.wait(t.Context()); err != c.err {
			t.Errorf("got %v, want its last words", err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, bad := range [][]string{nil, {""}, {"a", "b", "a"}} {
		if err := checkNames(bad); err == nil {
			t.Errorf("watches %q are accepted", bad)
		}
	}
	if err := checkNames([]string{"b", "a"}); err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	l := NewLog()
	for i := range maxLogLines + 10 {
		l.Info(fmt.Sprint(i))
	}
	lines, next := l.Since(0, 1<<30)
	if len(lines) != maxLogLines || next != maxLogLines+10 {
		t.Errorf("%d lines, next %d", len(lines), next)
	}
	if lines, next := l.Since(next, 1<<30); len(lines) != 0 || next != maxLogLines+10 {
		t.Errorf("after the end: %d lines, next %d", len(lines), next)
	}
	if lines, next := l.Since(20, 100); len(lines) > 3 || next != 20+uint64(len(lines)) {
		t.Errorf("limited: %d lines, next %d", len(lines), next)
	}
}
