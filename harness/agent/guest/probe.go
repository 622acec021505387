// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"os"
	"time"

	"github.com/cilium/ebpf/btf"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// probe is the CO-RE probe in this kernel.
type probe struct{ driver *modern.Driver }

// LoadProbe loads an edition of the probe, which is attached when a consumer starts.
func (a *Agent) LoadProbe(_ context.Context, r *wire.LoadProbeRequest) (*wire.LoadProbeReply, error) {
	a.busy.Lock()
	defer a.busy.Unlock()
	if a.probe != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the probe is loaded already").Advise("unload it first")
	}
	opts := modern.Options{Edition: modern.Edition(r.GetEdition()), RingSize: int(r.GetRing()), Stats: r.GetStats()}
	if r.GetTypes() != "" {
		var err error
		if opts.BTF, err = a.uploadedTypes(r.GetTypes()); err != nil {
			return nil, err
		}
	}
	begun := time.Now()
	driver, programs, err := modern.Load(opts)
	if err != nil {
		return nil, err
	}
	a.probe = &probe{driver: driver}
	reply := &wire.LoadProbeReply{Seconds: time.Since(begun).Seconds()}
	for _, p := range programs {
		prog := &wire.Program{Name: p.Name, Loaded: p.Loaded, Seconds: p.Took.Seconds(), Log: wire.Text(p.Log[:min(len(p.Log), maxProgramLog)])}
		if p.Err != nil {
			prog.Failure = wire.FailureFrom(p.Err)
		}
		reply.Programs = append(reply.Programs, prog)
	}
	return reply, nil
}

// uploadedTypes reads the kernel types that were uploaded under a name.
func (a *Agent) uploadedTypes(name string) (*btf.Spec, error) {
	path, err := a.uploadPath(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, ours("open the uploaded types", err)
	}
	defer f.Close()
	types, err := btf.LoadSpecFromReader(f)
	if err != nil {
		return nil, ours("read the uploaded types", err)
	}
	return types, nil
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
