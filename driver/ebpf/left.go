// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	bpf "github.com/cilium/ebpf"

	"github.com/mews-farm/mews/results/cause"
)

// kinds are the types of program that a legacy probe consists of.
var kinds = []bpf.ProgramType{bpf.RawTracepoint, bpf.TracePoint}

// Program is one that the kernel holds.
type Program struct {
	ID   bpf.ProgramID
	Name string
}

// Programs are those of the kernel that could be of a probe, whoever loaded them.
func Programs() ([]Program, error) {
	var out []Program
	for id := bpf.ProgramID(0); ; {
		next, err := bpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return out, nil
		}
		if err != nil {
			return nil, ours("list the eBPF programs", err)
		}
		id = next
		p, err := bpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			return nil, ours("look at an eBPF program", err)
		}
		info, err := p.Info()
		p.Close()
		if err != nil {
			return nil, ours("look at an eBPF program", err)
		}
		if slices.Contains(kinds, info.Type) {
			out = append(out, Program{id, info.Name})
		}
	}
}

// goneEvery is how often the kernel is asked whether it has freed what nobody holds any more, which it does in its own time.
const goneEvery = 50 * time.Millisecond

// Gone waits until the kernel holds no program but those of before, and is a fail of the driver if ctx ends first.
func Gone(ctx context.Context, before []Program) error {
	tick := time.NewTicker(goneEvery)
	defer tick.Stop()
	for {
		now, err := Programs()
		if err != nil {
			return err
		}
		left := slices.DeleteFunc(now, func(p Program) bool { return slices.Contains(before, p) })
		if len(left) == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			e := cause.Failf(cause.ModuleBusy, cause.FaultDriver, "%d programs of the probe are still in the kernel after its last process has ended", len(left))
			for _, p := range left[:min(len(left), 20)] {
				e.With(cause.Text(fmt.Sprintf("program %d %s", p.ID, p.Name))...)
			}
			return e
		}
	}
}
