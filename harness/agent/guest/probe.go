// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"time"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// probe is the CO-RE probe in this kernel.
type probe struct{ driver *modern.Driver }

// LoadProbe loads the probe, which is attached when a consumer starts.
func (a *Agent) LoadProbe(context.Context, *wire.Empty) (*wire.LoadProbeReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.probe != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the probe is loaded already").Advise("unload it first")
	}
	begun := time.Now()
	driver, programs, err := modern.Load(modern.Options{})
	if err != nil {
		return nil, err
	}
	a.probe = &probe{driver: driver}
	reply := &wire.LoadProbeReply{Seconds: time.Since(begun).Seconds()}
	for _, p := range programs {
		prog := &wire.Program{Name: p.Name, Loaded: p.Loaded, Log: wire.Text(p.Log[:min(len(p.Log), maxProgramLog)])}
		if p.Err != nil {
			prog.Failure = wire.FailureFrom(p.Err)
		}
		reply.Programs = append(reply.Programs, prog)
	}
	return reply, nil
}

// maxProgramLog bounds a verifier's log: some tens of programs must fit one message.
const maxProgramLog = 64 << 10

// UnloadProbe takes the probe out of the kernel.
func (a *Agent) UnloadProbe(context.Context, *wire.Empty) (*wire.Empty, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.probe == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "no probe is loaded")
	}
	if a.session != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "a consumer still reads the probe").Advise("stop it first")
	}
	driver := a.probe.driver
	a.probe = nil
	if err := driver.Close(); err != nil {
		return nil, ours("unload the probe", err)
	}
	return &wire.Empty{}, nil
}
