// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/results/cause"
)

// ownTime is a context that ends when a guest had so much time of its own: what its host kept it waiting for a processor is
// given back to it. A guest that is silent because the host is busy must not be taken for one that hangs: with twenty to run on
// two processors, nine tenths of a deadline by the clock are the others'.
type ownTime struct {
	context.Context
	end time.Time // by the clock, on a host that has nothing else to do
}

// Deadline is what the guest is told: it cannot know more. It is over sooner than the context, never later.
func (o ownTime) Deadline() (time.Time, bool) { return o.end, true }

// Err is that of a context with a deadline.
func (o ownTime) Err() error {
	err := o.Context.Err()
	if err != nil && context.Cause(o.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// withOwnTime gives limit to whom delayed tells how long he was kept waiting, all in all.
func withOwnTime(ctx context.Context, limit time.Duration, delayed func() time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	began, before := time.Now(), delayed()
	go func() {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		for {
			select {
			case <-inner.Done():
				return
			case <-timer.C:
			}
			left := limit - time.Since(began) + waited(before, delayed())
			if left <= 0 {
				cancel(context.DeadlineExceeded)
				return
			}
			timer.Reset(left)
		}
	}()
	return ownTime{inner, began.Add(limit)}, func() { cancel(context.Canceled) }
}

// waited is how long somebody was kept waiting between two looks; one who is gone tells of nothing.
func waited(before, now time.Duration) time.Duration { return max(0, now-before) }

// delayed is how long the host has kept the guest waiting for a processor, all in all; zero where it does not tell.
func (g *guest) delayed() time.Duration {
	if d, ok := g.m.(machine.Delayed); ok {
		return d.Delayed()
	}
	return 0
}

// hung adds to the finding of a hang how long the guest had to answer in.
func hung(err error, limit, kept time.Duration) error {
	var e *cause.Err
	if !errors.As(err, &e) || e.Cause != cause.KernelHang {
		return err
	}
	return e.With(cause.Text(fmt.Sprintf("it had %.0f s of its own to answer in, and %.0f s more in which the host kept it waiting for a processor", limit.Seconds(), kept.Seconds()))...)
}
