// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"sync"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// actor is the process of one deed: it has started, and does nothing before it has read its deed.
type actor struct {
	id      string
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	out     *heard
	words   bounded
	kill    context.CancelFunc
	ended   chan struct{}
	err     error                       // how it ended
	strikes func(context.Context) error // takes away what it was started in, and what it left running there
	exceeds func() string               // the bound that it came to, or ""
	mayStay bool                        // it is in nobody's way when it has done its deed
}

// StartActors starts actors before their deeds are asked for, and ends those that wait for one. So a guest can be saved in
// which they wait, and none of its clones has to start them: of a container that is most of what a deed takes.
func (a *Agent) StartActors(ctx context.Context, r *wire.StartActorsRequest) (*wire.StartActorsReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if err := a.endActors(ctx); err != nil {
		return nil, err
	}
	if err := wire.Warm(); err != nil {
		return nil, ours("encode and decode what a deed needs", err)
	}
	a.waiting = map[string]*actor{}
	reply := &wire.StartActorsReply{}
	for _, r := range r.GetActors() {
		if !deedID().MatchString(r.GetId()) || a.waiting[r.GetId()] != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%.100q cannot be the id of another deed", r.GetId())
		}
		var setup scenarios.Setup
		if err := json.Unmarshal(r.GetSetup(), &setup); err != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "how the container of deed %s is made cannot be read: %w", r.GetId(), err)
		}
		p, err := a.newActor(ctx, r.GetId(), r.GetContext(), setup)
		if err == nil {
			if err = p.ready(ctx); err != nil {
				err = errors.Join(err, p.discard(ctx))
			}
		}
		if err != nil { // its deed will say so
			a.log.Warn("actor", slog.String("id", r.GetId()), slog.String("error", err.Error()))
			continue
		}
		a.waiting[p.id] = p
		reply.Waiting = append(reply.Waiting, p.id)
	}
	return reply, nil
}

func (a *Agent) endActors(ctx context.Context) error {
	var errs []error
	for id, p := range a.waiting {
		delete(a.waiting, id)
		errs = append(errs, p.discard(ctx))
	}
	return errors.Join(errs...)
}

// actor is the one that waits for deed id, or else a new one.
func (a *Agent) actor(ctx context.Context, id, where string, request []byte) (*actor, error) {
	if p := a.waiting[id]; p != nil {
		delete(a.waiting, id)
		return p, nil
	}
	if where == agent.OnHost {
		return a.newActor(ctx, id, where, scenarios.Setup{})
	}
	deed, err := scenarios.ReadDeed(bytes.NewReader(request))
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the deed cannot be read: %w", err)
	}
	return a.newActor(ctx, id, where, deed.Container)
}

func (a *Agent) newActor(ctx context.Context, id, where string, setup scenarios.Setup) (*actor, error) {
	switch where {
	case agent.OnHost:
		return a.actorOnHost(ctx, id)
	case agent.InContainer:
		return a.actorInContainer(ctx, id, setup)
	}
	return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a deed is done in context %s or %s, not %q", agent.OnHost, agent.InContainer, where)
}

// actorOnHost starts an actor as a process of the guest, within its bounds.
func (a *Agent) actorOnHost(ctx context.Context, id string) (*actor, error) {
	g, err := newGroup(id)
	if err != nil {
		return nil, err
	}
	p := &actor{id: id, strikes: g.end, exceeds: func() string { return exceeded(g.dir) }}
	if err := a.startActor(ctx, p, nil, selfPath, "act"); err != nil {
		return nil, errors.Join(err, g.end(ctx))
	}
	if err := g.take(p.cmd.Process.Pid); err != nil {
		return nil, errors.Join(err, p.discard(ctx))
	}
	return p, nil
}

// startActor starts the program, which outlives ctx. Its environment is env and what is made here, with the id that tells the
// deed's events from all others.
func (a *Agent) startActor(ctx context.Context, p *actor, env []string, program string, args ...string) (err error) {
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			kill()
		}
	}()
	cmd := exec.CommandContext(life, program, args...)
	p.kill, p.cmd, p.ended, p.out = kill, cmd, make(chan struct{}), newHeard()
	p.words.limit = maxWords
	cmd.Stdout, cmd.Stderr = p.out, &p.words
	cmd.WaitDelay = lastOutput // a child that it left behind may hold its output open
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return ours("make a pipe for a deed", err)
	}
	cmd.Dir = "/"
	cmd.Env = append(env, "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", scenarios.EnvID+"="+p.id)
	if err := a.launch(ctx, cmd); err != nil {
		return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the process that does deed %s cannot be started: %w", p.id, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return nil
}

// ready waits until the actor waits for its deed.
func (p *actor) ready(ctx context.Context) error {
	select {
	case <-p.out.begun:
		return nil
	case <-p.ended:
		return p.failed(p.err)
	case <-ctx.Done():
		return ours("start an actor", ctx.Err())
	}
}

// do has the actor do its deed, within a share of ctx's time, and leaves nothing of it.
func (p *actor) do(ctx context.Context, request []byte) (result []byte, err error) {
	defer func() { err = errors.Join(err, p.strike(ctx)) }()
	return p.perform(ctx, request, p.ended, p.stdin.Close)
}

// doAndStay is do in a guest that is thrown away afterwards: the actor stays, with the container around it, if its process is
// still what it was. To end a container, and its network above all, was a quarter of all code that a clone ran.
func (p *actor) doAndStay(ctx context.Context, request []byte) (result []byte, err error) {
	return p.perform(ctx, request, p.out.done, func() error { return nil })
}

// perform hands over the deed, and then does what tells the actor that no other comes. It is over when done is closed, or
// when the actor has ended.
func (p *actor) perform(ctx context.Context, request []byte, done <-chan struct{}, handed func() error) (result []byte, err error) {
	dctx, cancel := shorter(ctx)
	defer cancel()
	over, stopped := "", make(chan struct{})
	stop := context.AfterFunc(dctx, func() {
		defer close(stopped)
		over = p.exceeds() // before it is gone with what bounded it
		p.kill()
	})
	// In one line, and JSON has no line breaks but between its tokens.
	_, err = p.stdin.Write(append(bytes.ReplaceAll(request, []byte("\n"), []byte(" ")), '\n'))
	err = errors.Join(err, handed())
	select {
	case <-done:
	case <-p.ended:
	}
	if stop() {
		over = p.exceeds()
	} else {
		<-stopped
		if over == "" {
			err = errors.Join(cause.Errorf(cause.ScenarioTimeout, cause.FaultScenario, "deed %s did not end in its time", p.id), err)
		}
	}
	if over != "" {
		err = errors.Join(cause.Errorf(cause.ScenarioLimit, cause.FaultScenario, "deed %s came to %s", p.id, over), err)
	}
	result, whole := p.out.result()
	switch exit := p.exit(); {
	case err != nil || exit != nil:
		return nil, errors.Join(err, p.failed(exit))
	case !whole || !json.Valid(result):
		return nil, p.failed(fmt.Errorf("it answered %.200q, which is no result", result))
	}
	return result, nil
}

// exit is how the actor ended; nil if it is there.
func (p *actor) exit() error {
	select {
	case <-p.ended:
		return p.err
	default:
		return nil
	}
}

func (p *actor) failed(err error) error {
	return cause.Errorf(cause.ScenarioBroken, cause.FaultScenario, "the process that does deed %s failed: %w", p.id, err).
		With(cause.Text(p.words.String())...)
}

// discard ends an actor that is not needed: without a deed it leaves by itself, and takes its container with it.
func (p *actor) discard(ctx context.Context) error {
	stop := context.AfterFunc(ctx, p.kill)
	defer stop()
	_ = p.stdin.Close() // it may have ended
	<-p.ended
	return p.strike(ctx)
}

func (p *actor) strike(ctx context.Context) error {
	p.kill()
	return p.strikes(ctx)
}

// heard is what an actor says: see [scenarios.Act].
type heard struct {
	begun chan struct{} // closed at its first word
	done  chan struct{} // closed when its result is whole, and it is what it was

	mu    sync.Mutex
	said  bounded
	lines int
}

func newHeard() *heard {
	return &heard{begun: make(chan struct{}), done: make(chan struct{}), said: bounded{limit: maxResult}}
}

// lastLine is empty, after one that is empty and the result's.
const lastLine = 3

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.lines
	h.lines += bytes.Count(p, []byte("\n"))
	if before == 0 && h.lines > 0 {
		close(h.begun)
	}
	n, err := h.said.Write(p)
	if before < lastLine && h.lines >= lastLine {
		close(h.done)
	}
	return n, err
}

// result is what it said, and whether that is all of it.
func (h *heard) result() (text []byte, whole bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return bytes.Clone(bytes.TrimSpace(h.said.buf.Bytes())), !h.said.over
}
