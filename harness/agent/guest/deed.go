// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
)

var deedID = lazy.Regexp(`^[A-Za-z0-9-]{1,64}$`)

// Bounds of what an acting process may say.
const (
	maxResult = 1 << 20
	maxWords  = 16 << 10
)

// RunDeed does a deed in a process of its own, then fences, so that what was not reported will not be.
func (a *Agent) RunDeed(ctx context.Context, r *wire.RunDeedRequest) (*wire.RunDeedReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
	}
	if !deedID().MatchString(r.GetId()) {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%.100q cannot be the id of a deed", r.GetId())
	}
	before, err := s.programs.Read()
	if err != nil {
		return nil, err
	}
	s.begin()
	begun := time.Now()
	var result []byte
	p, deedErr := a.actor(ctx, r.GetId(), r.GetContext(), r.GetRequest())
	if deedErr == nil {
		if r.GetLeave() && p.mayStay {
			a.left = append(a.left, p)
			result, deedErr = p.doAndStay(ctx, r.GetRequest())
		} else {
			result, deedErr = p.do(ctx, r.GetRequest())
		}
	}
	reply := &wire.RunDeedReply{Result: result, Seconds: time.Since(begun).Seconds()}
	fenceErr := s.wait(ctx)
	reply.Fence = fenceErr == nil
	matches, dropped := s.end()
	after, err := s.programs.Read()
	if err != nil {
		return nil, err
	}
	reply.Skipped = wireSkipped(after.Since(before))
	reply.Matches, reply.Beyond = wireMatches(matches), uint64(dropped)
	deedErr = errors.Join(deedErr, tooMany(dropped))
	// A deed that failed explains a fence that was not seen sooner than the other way round.
	if err := errors.Join(deedErr, fenceErr); err != nil {
		reply.Failure = wire.FailureFrom(err)
	}
	return reply, nil
}

func wireSkipped(in []skipped.Count) []*wire.Skipped {
	var out []*wire.Skipped
	for _, c := range in {
		out = append(out, &wire.Skipped{Program: wire.Text(c.Program), Calls: c.Calls})
	}
	return out
}

func tooMany(dropped int) error {
	if dropped == 0 {
		return nil
	}
	return cause.Errorf(cause.EventDrops, cause.FaultHarness, "the watches reported %d matches beyond the %d that are kept of one deed", dropped, maxWindow)
}

// bounded keeps the first bytes written to it and swallows the rest, so that the writer is not blocked.
type bounded struct {
	buf   bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := b.limit - b.buf.Len()
	b.over = b.over || len(p) > room
	b.buf.Write(p[:min(len(p), room)])
	return len(p), nil
}

func (b *bounded) String() string { return b.buf.String() }

func wireMatches(in []consumer.Match) []*wire.Match {
	out := make([]*wire.Match, 0, len(in))
	for _, m := range in {
		fields := make(map[string]string, len(m.Fields))
		for k, v := range m.Fields {
			fields[wire.Text(k)] = wire.Text(v)
		}
		out = append(out, &wire.Match{Watch: m.Watch, UnixNano: m.Time.UnixNano(), Fields: fields})
	}
	return out
}
