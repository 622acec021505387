// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"os"

	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/ebpf"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// legacy is a legacy eBPF probe. It is a file: each process that captures loads it for itself.
type legacy struct {
	path   string
	before []ebpf.Program // what the kernel held without it
}

// LoadLegacy tries an uploaded probe, and keeps it for the consumer.
func (a *Agent) LoadLegacy(ctx context.Context, r *wire.LoadLegacyRequest) (*wire.LoadLegacyReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.legacy != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a legacy probe is there already").Advise("unload it first")
	}
	path, err := a.uploadPath(r.GetUpload())
	if err != nil {
		return nil, err
	}
	l := &legacy{path: path}
	if l.before, err = ebpf.Programs(); err != nil {
		return nil, err
	}
	if r.GetKeep() {
		if _, err := os.Stat(path); err != nil {
			return nil, ours("keep the probe", err)
		}
		a.legacy = l
		return &wire.LoadLegacyReply{}, nil
	}
	f, err := fence.In(a.State + "/fence")
	if err != nil {
		return nil, ours("make a directory for fences", err)
	}
	report, err := ebpf.Load(ctx, ebpf.Options{Probe: path, Fence: f})
	if report == nil {
		return nil, err
	}
	reply := &wire.LoadLegacyReply{Seconds: report.Took.Seconds(), Log: wire.Text(report.Log)}
	if err != nil {
		reply.Failure = wire.FailureFrom(err)
		return reply, os.Remove(path)
	}
	a.legacy = l
	return reply, nil
}

// UnloadLegacy removes the probe, and proves that nothing of it is left in the kernel.
func (a *Agent) UnloadLegacy(ctx context.Context, _ *wire.Empty) (*wire.Empty, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.legacy == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no legacy probe is there")
	}
	if a.session != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a consumer still reads the probe").Advise("stop it first")
	}
	l := a.legacy
	a.legacy = nil
	if err := os.Remove(l.path); err != nil {
		return nil, ours("remove the probe", err)
	}
	return &wire.Empty{}, ebpf.Gone(ctx, l.before)
}
