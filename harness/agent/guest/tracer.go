// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"os/exec"
	"time"

	"github.com/mews-farm/mews/driver/ptrace"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// LoadTracer starts the tracer, under which every deed is done from then on. There is nothing to put into the kernel.
func (a *Agent) LoadTracer(context.Context, *wire.Empty) (*wire.LoadTracerReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.tracer != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a tracer runs already").Advise("unload it first")
	}
	begun := time.Now()
	tracer, err := ptrace.Start(selfPath)
	if err != nil {
		return nil, err
	}
	a.tracer = tracer
	return &wire.LoadTracerReply{Seconds: time.Since(begun).Seconds()}, nil
}

// UnloadTracer ends the tracer, and says how many threads it must stay with.
func (a *Agent) UnloadTracer(context.Context, *wire.Empty) (*wire.UnloadTracerReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.tracer == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no tracer runs")
	}
	if a.session != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a consumer still reads the tracer").Advise("stop it first")
	}
	tracer := a.tracer
	a.tracer = nil
	traced, err := tracer.Traced()
	if err != nil {
		return nil, err
	}
	if err := tracer.Close(); err != nil {
		return nil, ours("end the tracer", err)
	}
	return &wire.UnloadTracerReply{Traced: int32(traced)}, nil
}

// launch starts a process that the driver must see: from the main thread, and under the tracer if there is one.
func (a *Agent) launch(ctx context.Context, cmd *exec.Cmd) error {
	start := func(cmd *exec.Cmd) error { return a.start(ctx, cmd) }
	if a.tracer == nil {
		return start(cmd)
	}
	return a.tracer.Launch(cmd, start)
}
