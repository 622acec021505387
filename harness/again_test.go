// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// nothing is what a cell is made of when its machine never starts.
type nothing struct{}

func (nothing) Kernel(context.Context, *kernels.Resolved) (*kernels.Files, error) {
	return &kernels.Files{}, nil
}
func (nothing) Initramfs(context.Context, *kernels.Files) (string, error) { return "", nil }
func (nothing) Disks(context.Context, *Cell) ([]machine.Disk, error)      { return nil, nil }
func (nothing) Source(context.Context, *Cell) error                       { return nil }
func (nothing) Inspect(*Cell, *kernels.Files, *Built) (string, error)     { return "", nil }
func (nothing) Build(context.Context, *Cell, *kernels.Files, string) (*Built, error) {
	return &Built{}, nil
}

// dying is a machine that ends each boot in its own way.
type dying struct{ deaths []error }

func (d *dying) Start(context.Context, machine.Spec) (machine.Machine, error) {
	err := d.deaths[0]
	d.deaths = d.deaths[1:]
	return nil, err
}

// notes is a recorder that keeps the stages in their order, or cannot.
type notes struct {
	stages []results.Stage
	full   bool
}

func (n *notes) Dir() string        { return "" }
func (n *notes) Start(string) error { return nil }
func (n *notes) Stage(s results.Stage) error {
	if n.full {
		return syscall.ENOSPC
	}
	n.stages = append(n.stages, s)
	return nil
}
func (n *notes) Scenario(results.Scenario) error                { return nil }
func (n *notes) Perf(...results.Perf) error                     { return nil }
func (n *notes) Alerts(string, string, []scenarios.Alert) error { return nil }

func (n *notes) boots() []results.Stage {
	return slices.DeleteFunc(slices.Clone(n.stages), func(s results.Stage) bool { return s.Name != results.StageBoot })
}

func testCell() *Cell {
	return &Cell{ID: "c", Kernel: matrix.Kernel{Name: "k"}, Resolved: &kernels.Resolved{Image: []kernels.Package{{Name: "linux-image"}}}}
}

func TestADeathMustComeTwice(t *testing.T) {
	panicked := func() error {
		return cause.Failf(cause.BootPanic, cause.FaultKernel, "the kernel panicked").With(cause.Text("Kernel panic - not syncing: first")...)
	}
	crashed := cause.Errorf(cause.VMCrashed, cause.FaultInfra, "the emulator died")
	for _, c := range []struct {
		name   string
		deaths []error
		state  cause.State
		cause  cause.Cause
		fault  cause.Fault
		boots  int // records: between two deaths stands the doubt, should the second flight be cut short
	}{
		{"twice the same", []error{panicked(), panicked()}, cause.Fail, cause.BootPanic, cause.FaultKernel, 3},
		{"once, then another", []error{panicked(), crashed}, cause.Error, cause.FlakeSuspected, cause.FaultInfra, 3},
		{"what is nobody's death is not tried again", []error{crashed}, cause.Error, cause.VMCrashed, cause.FaultInfra, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var n notes
			r := Runner{Parts: nothing{}, Starter: &dying{c.deaths}, Patience: 1, Jobs: 1, View: live.New(io.Discard), Recorder: func(string) Recorder { return &n }}
			if err := r.Run(t.Context(), []*Cell{testCell()}); err != nil {
				t.Fatal(err)
			}
			boots := n.boots()
			if len(boots) != c.boots {
				t.Fatalf("%d boots recorded, want %d: %+v", len(boots), c.boots, boots)
			}
			last := boots[len(boots)-1]
			if last.State != c.state || last.Cause != c.cause || last.Fault != c.fault {
				t.Errorf("verdict %s %s/%s, want %s %s/%s", last.State, last.Cause, last.Fault, c.state, c.cause, c.fault)
			}
			if c.cause == cause.FlakeSuspected && !slices.ContainsFunc(last.Evidence, func(e cause.Evidence) bool { return strings.Contains(e.Text, "not syncing: first") }) {
				t.Errorf("the first death's evidence is lost: %+v", last.Evidence)
			}
		})
	}
}

// A second flight that goes through clean is settled by again itself.
func TestACleanSecondFlightIsAFlake(t *testing.T) {
	f := cause.Of(flake(cause.Finding{State: cause.Fail, Cause: cause.KernelSplat, Fault: cause.FaultDriver, Evidence: cause.Text("WARNING: CPU: 0")}, "the second boot went through clean"))
	if f.State != cause.Error || f.Cause != cause.FlakeSuspected || f.Fault != cause.FaultInfra || len(f.Evidence) != 2 {
		t.Errorf("finding %+v", f)
	}
}

func TestARecordThatCannotBeWrittenIsTheRunsError(t *testing.T) {
	full, sound := &notes{full: true}, &notes{}
	other := testCell()
	other.ID = "other"
	r := Runner{Parts: nothing{}, Starter: &dying{[]error{errors.New("x")}}, Patience: 1, Jobs: 1, View: live.New(io.Discard), Recorder: func(id string) Recorder {
		if id == "c" {
			return full
		}
		return sound
	}}
	err := r.Run(t.Context(), []*Cell{testCell(), other})
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("error %v, want the record's", err)
	}
	if len(sound.boots()) != 1 {
		t.Errorf("the other cell did not come to its boot: %+v", sound.stages)
	}
}

func TestInterruptedCellsSayCancelled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	var n notes
	r := Runner{Parts: nothing{}, Starter: starterFunc(func() error { cancel(ErrInterrupted); return errors.New("killed") }), Patience: 1, Jobs: 1, View: live.New(io.Discard), Recorder: func(string) Recorder { return &n }}
	if err := r.Run(ctx, []*Cell{testCell()}); !Interrupted(err) {
		t.Errorf("error %v, want the interruption", err)
	}
	if boots := n.boots(); len(boots) != 1 || boots[0].Cause != cause.Cancelled || boots[0].State != cause.Error {
		t.Errorf("boots %+v, want one CANCELLED", boots)
	}
}

type starterFunc func() error

func (f starterFunc) Start(context.Context, machine.Spec) (machine.Machine, error) { return nil, f() }
