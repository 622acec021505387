// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// A guest that is kept waiting all the time has as much left as at the beginning, however late it is.
func TestADeadlineIsOfTheGuestsOwnTime(t *testing.T) {
	const limit = 5 * time.Millisecond
	began := time.Now()
	var busy atomic.Bool
	busy.Store(true)
	looks := make(chan int, 100)
	n := 0
	ctx, cancel := withOwnTime(t.Context(), limit, func() time.Duration {
		n++
		looks <- n
		if busy.Load() {
			return time.Since(began) // all of the time was others'
		}
		return 0
	})
	defer cancel()
	for range 5 { // once at the beginning, and then each time that the deadline was over by the clock
		<-looks
		if err := ctx.Err(); err != nil {
			t.Fatalf("ended while its host had no time for it: %v", err)
		}
	}
	busy.Store(false)
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		t.Errorf("%v, because %v", ctx.Err(), context.Cause(ctx))
	}
	if end, ok := ctx.Deadline(); !ok || end.After(began.Add(time.Minute)) {
		t.Errorf("the guest is told %v, %v", end, ok)
	}
}

func TestADeadlineEndsWithItsCaller(t *testing.T) {
	none := func() time.Duration { return 0 }
	outer, stop := context.WithCancelCause(t.Context())
	ctx, cancel := withOwnTime(outer, time.Hour, none)
	defer cancel()
	stop(ErrInterrupted)
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) || context.Cause(ctx) != ErrInterrupted {
		t.Errorf("%v, because %v", ctx.Err(), context.Cause(ctx))
	}
	ctx, cancel = withOwnTime(t.Context(), time.Hour, none)
	cancel()
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%v", ctx.Err())
	}
}

// Whoever reads of a hang sees that it was not the host; nothing else is said otherwise.
func TestAHangSaysWhatTimeTheGuestHad(t *testing.T) {
	f := cause.Of(hung(cause.Failf(cause.KernelHang, cause.FaultKernel, "silent"), 90*time.Second, 7*time.Second))
	if last := f.Evidence[len(f.Evidence)-1].Text; last != "it had 90 s of its own to answer in, and 7 s more in which the host kept it waiting for a processor" {
		t.Errorf("evidence %q", last)
	}
	other := cause.Failf(cause.KernelPanic, cause.FaultKernel, "panic")
	if got := hung(other, time.Second, 0); got != error(other) || len(cause.Of(got).Evidence) != 1 {
		t.Errorf("%v", got)
	}
	if hung(nil, time.Second, 0) != nil {
		t.Error("no error became one")
	}
}
