// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"regexp"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/skipped"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

var deedID = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

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
	if !deedID.MatchString(r.GetId()) {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%.100q cannot be the id of a deed", r.GetId())
	}
	before, err := s.programs.Read()
	if err != nil {
		return nil, err
	}
	s.begin()
	begun := time.Now()
	var result []byte
	var deedErr error
	switch r.GetContext() {
	case agent.OnHost:
		result, deedErr = a.actOnHost(ctx, r.GetId(), r.GetRequest())
	case agent.InContainer:
		actx, cancel := shorter(ctx)
		result, deedErr = a.actInContainer(actx, r.GetId(), r.GetRequest())
		cancel()
	default:
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a deed is done in context %s or %s, not %q", agent.OnHost, agent.InContainer, r.GetContext())
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

// actOnHost does a deed as a process of the guest, within its bounds, and leaves nothing of it running.
func (a *Agent) actOnHost(ctx context.Context, id string, request []byte) (result []byte, err error) {
	g, err := newGroup()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.end(ctx)) }()
	actx, cancel := shorter(ctx)
	defer cancel()
	result, err = a.act(actx, exec.CommandContext(actx, selfPath, "act"), id, request, g)
	if over := overrun(actx, id, g.dir); over != nil {
		return nil, errors.Join(over, err)
	}
	return result, err
}

// act runs the acting process of a deed, in the cgroup g: it reads the deed from its standard input and answers on its
// standard output. cmd.Env is made here, with the id that tells the deed's events from all others.
func (a *Agent) act(ctx context.Context, cmd *exec.Cmd, id string, request []byte, g group) ([]byte, error) {
	var out, words bounded
	out.limit, words.limit = maxResult, maxWords
	cmd.Stdout, cmd.Stderr = &out, &words
	cmd.WaitDelay = lastOutput // a child that it left behind may hold its output open
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, ours("make a pipe for a deed", err)
	}
	cmd.Dir = "/"
	cmd.Env = append(cmd.Env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", scenarios.EnvID+"="+id)
	if err = a.launch(ctx, cmd); err == nil {
		// It does nothing before it has read its deed.
		err = g.take(cmd.Process.Pid)
		_, writeErr := stdin.Write(request)
		err = errors.Join(err, writeErr, stdin.Close(), cmd.Wait())
	}
	switch {
	case err != nil:
		return nil, cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the process that does deed %s failed: %w", id, err).
			With(cause.Text(words.String())...)
	case out.over || !json.Valid(out.buf.Bytes()):
		return nil, cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the process that does deed %s answered %.200q, which is no result", id, out.String()).
			With(cause.Text(words.String())...)
	}
	return out.buf.Bytes(), nil
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
