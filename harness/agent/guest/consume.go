// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/consumer/sysdig"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// StartConsumer starts a consumer with the watches that were asked for, and one of the agent's own for
// [Agent.CheckEvents].
func (a *Agent) StartConsumer(ctx context.Context, r *wire.StartConsumerRequest) (*wire.StartConsumerReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.session != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a consumer runs already").Advise("stop it first")
	}
	begun := time.Now()
	fences := a.State + "/fence"
	f, err := fence.In(fences)
	if err != nil {
		return nil, ours("make a directory for fences", err)
	}
	c, version, err := a.newConsumer(ctx, r.GetKind(), r.GetOptions(), f)
	if err != nil {
		return nil, err
	}
	var watches []consumer.Watch
	var checked []string
	if !r.GetBare() {
		w := a.checkWatch(r.GetKind(), version)
		watches, checked = append(watches, w), w.Fields
	}
	for _, w := range r.GetWatches() {
		watches = append(watches, consumer.Watch{Name: w.GetName(), Condition: w.GetCondition(), Fields: w.GetFields()})
	}
	var o *opener
	if a.tracer != nil {
		if o, err = a.newOpener(fences); err != nil {
			return nil, ours("start the process that makes fences", err)
		}
	}
	s, err := start(ctx, c, f, o, watches)
	if err != nil {
		if o != nil {
			err = errors.Join(err, o.stop())
		}
		return nil, a.versioned(err, version)
	}
	if err := s.programs.Hold(); err != nil { // those that the consumer loaded are there by now
		_, stopErr := s.stop(ctx)
		return nil, errors.Join(err, stopErr)
	}
	s.checked = checked
	a.session = s
	return &wire.StartConsumerReply{Seconds: time.Since(begun).Seconds(), Version: version}, nil
}

// versioned adds to a refusal for the driver's version what the versions are: the consumer may not tell, or tell wrong.
func (a *Agent) versioned(err error, consumer string) error {
	var e *cause.Err
	if !errors.As(err, &e) || e.Cause != cause.APISchemaMismatch {
		return err
	}
	text := "consumer: " + consumer
	if a.versions != nil {
		text += "; driver: API " + cmp.Or(a.versions.API, "unversioned") + ", schema " + cmp.Or(a.versions.Schema, "unversioned")
	}
	return e.With(cause.Evidence{Text: text})
}

// newConsumer makes a consumer of a kind.
func (a *Agent) newConsumer(ctx context.Context, kind string, options map[string]string, f *fence.Fence) (consumer.Consumer, string, error) {
	if kind == agent.Falco {
		return a.falcoConsumer(ctx, options, f)
	}
	if len(options) > 0 {
		return nil, "", cause.Errorf(cause.Internal, cause.FaultHarness, "consumer %s knows no options, not %q", kind, slices.Sorted(maps.Keys(options)))
	}
	switch kind {
	case agent.Sysdig:
		version, err := sysdig.Version(ctx, "")
		if err != nil {
			return nil, "", err
		}
		o := sysdig.Options{Fence: f}
		if a.legacy != nil {
			o.Probe = a.legacy.path
		}
		return sysdig.New(o), version, nil
	case agent.Native:
		c, err := a.nativeConsumer()
		return c, buildID(), err
	}
	return nil, "", cause.Errorf(cause.Internal, cause.FaultHarness, "no consumer is called %q", kind).Advise("%s, %s and %s are known", agent.Native, agent.Sysdig, agent.Falco)
}

// running is the session, or an error.
func (a *Agent) running() (*session, error) {
	if a.session == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no consumer runs").Advise("start one first")
	}
	return a.session, nil
}

// StopConsumer ends the consumer after what happened until now was reported.
func (a *Agent) StopConsumer(ctx context.Context, _ *wire.Empty) (*wire.StopConsumerReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
	}
	a.session = nil
	stats, err := s.stop(ctx)
	if err != nil {
		return nil, err
	}
	return wireStats(stats), nil
}

func wireStats(s consumer.Stats) *wire.StopConsumerReply {
	return &wire.StopConsumerReply{Events: s.Events, Drops: s.Drops, DropsBy: s.DropsBy}
}

// Totals are those of the watch after what happened until now was reported. A consumer that tells them only at its end is
// stopped; another goes on, and a guest that is left behind is spared the end of it.
func (a *Agent) Totals(ctx context.Context, r *wire.Empty) (*wire.StopConsumerReply, error) {
	if stats, err := a.totals(ctx); stats != nil || err != nil {
		return stats, err
	}
	return a.StopConsumer(ctx, r)
}

// totals are nil of a consumer that does not tell them.
func (a *Agent) totals(ctx context.Context) (*wire.StopConsumerReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
	}
	t, able := s.consumer.(consumer.Teller)
	if !able {
		return nil, nil
	}
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	stats, err := t.Totals()
	if err != nil {
		return nil, err
	}
	return wireStats(stats), nil
}

// Fence waits until every watch reported an event that happens now.
func (a *Agent) Fence(ctx context.Context, _ *wire.Empty) (*wire.Empty, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	s, err := a.running()
	if err != nil {
		return nil, err
	}
	return &wire.Empty{}, s.wait(ctx)
}
