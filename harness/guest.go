// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results/cause"
)

// guest is a booted machine with its agent answering.
type guest struct {
	m      machine.Machine
	c      *agent.Client
	leave  func() // gives its place back
	born   time.Time
	dir    string // where its logs go
	thrown bool   // away after one scenario, with all that its deeds leave
	driver string // what a kernel's stack trace calls the driver once it is loaded; empty before
}

// Patience is how long the parts of a cell may take. The figures are for KVM; a guest that is emulated takes
// about ten times as long (a stock 6.1 boots in about 0.3 s and 3 s).
type Patience float64

// The limits. They end waits that would never end; nothing is measured by them.
const (
	bootLimit  = 15 * time.Second // above the machine's own of 12 s, whose account of a guest that never comes up is the better one
	callLimit  = 6 * time.Second
	startLimit = 12 * time.Second // a consumer's start: it reads the whole of /proc first
	deedLimit  = 9 * time.Second
	deathLimit = 500 * time.Millisecond // from a lost agent to the machine's own account of it
)

func (p Patience) of(d time.Duration) time.Duration { return time.Duration(float64(d) * float64(p)) }

// boot starts a machine and waits for its agent. The kernel that answers must be the kernel that was asked for.
func (c *cellRun) boot(ctx context.Context, spec machine.Spec) (*guest, error) {
	p, k := c.patient, c.files.Kernel
	m, leave, err := c.start(ctx, spec)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	g := &guest{m: m, dir: spec.Dir, leave: leave, born: began}
	dctx, cancel := context.WithTimeout(ctx, p.of(bootLimit))
	defer cancel()
	// The machine may give up before the agent answers: its own account is the better one.
	go func() {
		select {
		case <-m.Done():
			cancel()
		case <-dctx.Done():
		}
	}()
	g.c, err = agent.Dial(dctx, m.Agent())
	if err != nil {
		err = g.blame(ctx, p, err)
		g.stop()
		return nil, err
	}
	if h := g.c.Hello(); h.Release != k.Release || h.Machine != k.Arch {
		g.stop()
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "asked for kernel %s %s, but %s %s answered", k.Release, k.Arch, h.Release, h.Machine)
	}
	if err := clock(g.c.Hello().Boot, time.Since(began)); err != nil {
		g.stop()
		return nil, err
	}
	return g, nil
}

// errClock is of a guest whose clock is of no use.
var errClock = errors.New("the guest's clock runs wild")

// clock compares the guest's time since its boot with the host's. Under an emulator on a busy host the kernel now and then
// calibrates its TSC wrong by orders of magnitude (7.3.4 under TCG, load 5 on two cores: 1098 s in the guest for 24 s). Every
// deadline in such a guest is over before anything is done.
func clock(guest, host time.Duration) error {
	if guest <= 2*host+5*time.Second {
		return nil
	}
	return cause.Errorf(cause.FlakeSuspected, cause.FaultInfra, "%w: %.0f s since its boot, %.0f s here", errClock, guest.Seconds(), host.Seconds()).
		Advise("the host is too busy to emulate a clock: fewer --jobs")
}

// blame finds out what an agent's error really was: a guest that panicked or hangs does not say so itself.
func (g *guest) blame(ctx context.Context, p Patience, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	f := cause.Of(err)
	if f.Cause != cause.AgentLost && !errors.Is(err, context.DeadlineExceeded) && !g.gone() {
		return err
	}
	timer := time.NewTimer(p.of(deathLimit))
	defer timer.Stop()
	select {
	case <-g.m.Done():
		if why := g.m.Err(); why != nil {
			return g.attribute(why)
		}
		return cause.Errorf(cause.AgentLost, cause.FaultHarness, "the guest powered itself off: %w", err).With(g.m.Console().Tail(20)...)
	case <-timer.C:
		return g.attribute(g.m.Diagnose(ctx))
	}
}

func (g *guest) gone() bool {
	select {
	case <-g.m.Done():
		return true
	default:
		return false
	}
}

// died is how the kernel of a guest that is gone died, with a driver in it: by a panic, or with a complaint that nothing
// excuses. It is nil where no driver was loaded: what a kernel does by itself says nothing of one.
func (g *guest) died(allow []splat.Allowance) error {
	if g.driver == "" {
		return nil
	}
	err := g.m.Err()
	if f := cause.Of(err); err != nil && (f.Cause == cause.BootPanic || f.Cause == cause.KernelPanic) {
		return g.attribute(err)
	}
	_, err = complaints(nil, g.m.Console().Splats(), allow, time.Now())
	return err
}

// attribute holds a kernel's death against the driver if the driver is in the stack trace.
func (g *guest) attribute(err error) error {
	var e *cause.Err
	if !errors.As(err, &e) || g.driver == "" || e.Fault != cause.FaultKernel {
		return err
	}
	if slices.ContainsFunc(e.Evidence, func(ev cause.Evidence) bool { return strings.Contains(ev.Text, g.driver) }) {
		e.Fault = cause.FaultDriver
	}
	return e
}

// cancelled is the finding of whatever was under way when the run was interrupted.
func cancelled(ctx context.Context) error {
	return cause.Errorf(cause.Cancelled, cause.FaultInfra, "interrupted: %w", context.Cause(ctx)).Advise("the same call with --resume and the run directory goes on from here")
}

// kernelLogFrom reads the kernel's log from record next on, and says where it goes on. Records that were overwritten before
// they could be read may have been complaints: without them nothing is proven.
func (g *guest) kernelLogFrom(ctx context.Context, next uint64) ([]agent.KernelLine, uint64, error) {
	var lines []agent.KernelLine
	for {
		d, err := g.c.Dmesg(ctx, next)
		if err != nil {
			return lines, next, err
		}
		if d.Lost > 0 {
			return lines, next, cause.Errorf(cause.EventDrops, cause.FaultInfra, "%d records of the kernel's log were overwritten before they could be read", d.Lost).
				Advise("see console.log for what the kernel printed; something logs more than its ring holds")
		}
		if len(d.Lines) == 0 || d.Next <= next {
			return lines, next, nil
		}
		lines, next = append(lines, d.Lines...), d.Next
	}
}

// keepLogs writes the agent's log and the kernel's beside the cell's record, as far as the guest still answers.
func (g *guest) keepLogs(p Patience) {
	if g.c == nil {
		return
	}
	// The run's context may have ended already; what the guest knows is wanted all the same.
	ctx, cancel := context.WithTimeout(context.Background(), p.of(callLimit))
	defer cancel()
	// What was read before an error is worth keeping too.
	if lines, _, _ := g.kernelLogFrom(ctx, 0); len(lines) > 0 {
		var b strings.Builder
		for _, l := range lines {
			fmt.Fprintf(&b, "[%12.6f] %s\n", l.Time.Seconds(), l.Text)
		}
		_ = os.WriteFile(filepath.Join(g.dir, "dmesg.log"), []byte(b.String()), 0o644)
	}
	if lines, _, err := g.c.Log(ctx, 0); err == nil {
		_ = os.WriteFile(filepath.Join(g.dir, "agent.log"), []byte(strings.Join(append(lines, ""), "\n")), 0o644)
	}
}

// stop ends the machine, and gives its place to another. It may be called more than once.
func (g *guest) stop() {
	defer g.leave()
	if g.c != nil {
		g.c.Close()
	}
	// Stop keeps its own deadline of two seconds and must run even when the run's context has ended.
	_ = g.m.Stop(context.Background())
}
