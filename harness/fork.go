// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/snapshot"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// unforked says that guests of a cell could not be saved or taken up. It is no verdict on anything: the cell is flown in one
// boot instead.
type unforked struct{ error }

func (u unforked) Unwrap() error { return u.error }

// forker is who saves this cell's guests and takes them up again; nil if it flies in one boot, with the reason if that is
// worth telling.
func (c *cellRun) forker() (machine.Forker, string) {
	f, able := c.starter.(machine.Forker)
	switch {
	case c.noFork || c.Measured || !able:
		return nil, ""
	case c.second:
		return nil, "to see whether it comes again"
	case c.inOneBoot != "":
		return nil, c.inOneBoot
	case c.Driver.Fork.V == matrix.NoFork:
		return nil, c.Driver.ForkReason.V
	}
	return f, ""
}

// branches says that scenarios are done in clones. One alone, done once, has the guest to itself anyway.
func (c *cellRun) branches() bool {
	f, _ := c.forker()
	return f != nil && c.Driver.Until.V != matrix.UntilLoad && c.Consumer.Kind.V != matrix.Command && c.deeds() > 1
}

// launch comes by a guest whose agent answers: one that goes on from where another was when it had booted, or a boot.
func (c *cellRun) launch(ctx context.Context) (*guest, string, error) {
	initrd, err := c.initramfs(ctx)
	if err != nil {
		return nil, "", err
	}
	c.spec = machine.Spec{
		Name: c.ID, Kernel: c.files.Image, Initrd: initrd, MemoryMiB: c.memory, Disks: c.disks, Dir: c.rec.Dir(), Vmcore: c.vmcore, Counted: c.Measured,
	}
	if f, _ := c.forker(); f != nil {
		g, note, err := c.takeUp(ctx, f)
		u := unforked{}
		if !errors.As(err, &u) {
			return g, note, err
		}
		c.giveUpForks(u)
	}
	if err := c.turn.rise(ctx, c.rest()); err != nil {
		return nil, "", err
	}
	g, note, err := c.cold(ctx, c.spec)
	if _, why := c.forker(); err == nil && why != "" {
		note += "; all in this one boot: " + why
	}
	return g, note, err
}

func (c *cellRun) giveUpForks(why error) {
	c.inOneBoot = why.Error()
	c.view.Note(fmt.Sprintf("%s: %s; it is flown in one boot", c.ID, c.inOneBoot))
}

// cold boots. Nothing was done yet in a guest without a clock, so that another boot hides nothing.
func (c *cellRun) cold(ctx context.Context, spec machine.Spec) (g *guest, note string, err error) {
	tries := 1
	for ; ; tries++ {
		g, err = c.boot(ctx, spec)
		if !errors.Is(err, errClock) || tries == 3 {
			break
		}
		c.view.Note(fmt.Sprintf("%s: %v; booting again", c.ID, err))
	}
	if err != nil {
		return nil, "", err
	}
	note = fmt.Sprintf("agent served %.1f s after the kernel's start", g.c.Hello().Boot.Seconds())
	if tries > 1 {
		note += fmt.Sprintf(", at boot %d: the clocks of those before ran wild", tries)
	}
	return g, note, nil
}

// takeUp goes on from a booted kernel. One that does not come to life is thrown away and booted anew, once.
func (c *cellRun) takeUp(ctx context.Context, f machine.Forker) (*guest, string, error) {
	key, err := f.ForkKey(ctx, c.spec)
	if err != nil {
		return nil, "", unforked{err}
	}
	c.bootKey = key
	for {
		c.turn.desk.Raise(key, c.rest())
		waited := c.turn.idle()
		b, err := c.nest.get(ctx, key, func() (*booted, error) { return c.bootToSave(ctx) })
		waited()
		if err != nil {
			return nil, "", err
		}
		// Only now: who waits for a kernel to boot keeps no other cell from its guests.
		if err := c.turn.rise(ctx, c.rest()); err != nil {
			return nil, "", err
		}
		if err := os.WriteFile(filepath.Join(c.rec.Dir(), machine.ConsoleLog), b.console, 0o644); err != nil {
			return nil, "", broken{err}
		}
		began := time.Now()
		g, err := c.resume(ctx, b.Snapshot, c.rec.Dir(), c.branches())
		if err == nil {
			c.part(results.StageBoot, time.Since(g.born).Seconds())
			if b.kept {
				c.lengths.Make(c.bootedName())
			}
			return g, b.age(time.Since(began)), nil
		}
		if !errors.As(err, &unforked{}) || !c.nest.discard(b) {
			return nil, "", err
		}
		c.view.Note(fmt.Sprintf("%s: a booted kernel did not come to life, and is booted again: %v", c.ID, err))
	}
}

// bootToSave boots, and stops the kernel as soon as the agent has answered.
func (c *cellRun) bootToSave(ctx context.Context) (*booted, error) {
	spec := c.spec
	spec.Saved = true
	g, _, err := c.cold(ctx, spec)
	if err != nil {
		return nil, err
	}
	b := booted{label: snapshot.Label{Taken: time.Now(), Boot: g.c.Hello().Boot}}
	if _, bad := complaints(nil, g.m.Console().Splats(), c.Allow, time.Now()); bad != nil {
		g.stop()
		return nil, unforked{fmt.Errorf("a kernel that complained while it booted is not kept: %w", bad)}
	}
	if b.Snapshot, err = g.save(ctx, c.patient, nil); err != nil {
		return nil, err
	}
	if b.console, err = os.ReadFile(g.m.Console().Path()); err != nil {
		b.Close()
		return nil, unforked{err}
	}
	c.bootedOnce(time.Since(g.born))
	return &b, nil
}

// resume takes a snapshot up in a guest of its own, whose logs go to dir; saved: it will be saved in its turn. What goes
// wrong before its agent has answered is held against the snapshot, unless the kernel died of it with a driver inside.
func (c *cellRun) resume(ctx context.Context, s *machine.Snapshot, dir string, saved bool) (*guest, error) {
	spec := c.spec
	spec.From, spec.Saved, spec.Dir = s, saved, dir
	m, leave, err := c.start(ctx, spec)
	if err != nil {
		return nil, notRestored(ctx, err)
	}
	g := &guest{m: m, dir: dir, leave: leave, driver: c.loaded, born: time.Now()}
	wctx, cancel := withOwnTime(ctx, c.patient.of(callLimit), g.delayed)
	defer cancel()
	g.c, err = agent.Wake(wctx, m.Agent(), scenarios.NewID())
	if err == nil && g.c.Hello().Release != c.files.Kernel.Release {
		err = fmt.Errorf("kernel %s answered", g.c.Hello().Release)
	}
	if err != nil {
		g.stop()
		if died := g.died(c.Allow); died != nil && ctx.Err() == nil {
			return nil, died
		}
		return nil, notRestored(ctx, errors.Join(err, m.Err()))
	}
	return g, nil
}

func notRestored(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	return unforked{fmt.Errorf("a guest could not be taken up from where it was: %w", err)}
}

// save stops the guest where it is. It is gone after that, whatever came of it.
func (g *guest) save(ctx context.Context, p Patience, allow []splat.Allowance) (*machine.Snapshot, error) {
	defer g.stop()
	sctx, cancel := context.WithTimeout(ctx, p.of(callLimit))
	defer cancel()
	saver, able := g.m.(machine.Saver)
	if !able {
		return nil, unforked{errors.New("this machine cannot be saved")}
	}
	s, err := saver.Save(sctx)
	if err == nil {
		return s, nil
	}
	if ctx.Err() != nil {
		return nil, cancelled(ctx)
	}
	g.stop()
	if died := g.died(allow); died != nil {
		return nil, died
	}
	return nil, unforked{fmt.Errorf("a guest could not be saved: %w", err)}
}

// start starts a machine as soon as it is its turn, and tries again with fewer beside it when the host's memory is what it
// lacked.
func (c *cellRun) start(ctx context.Context, spec machine.Spec) (_ machine.Machine, leave func(), err error) {
	for {
		step := guestStep(spec, c.bootKey)
		step.Rest = c.rest()
		leave, err = c.turn.take(ctx, step)
		if err != nil {
			return nil, nil, err
		}
		m, err := c.starter.Start(ctx, spec)
		if err == nil {
			return m, leave, nil
		}
		again := noMemory(err) && c.turn.desk.Refused()
		leave()
		if !again {
			return nil, nil, err
		}
		c.view.Note(fmt.Sprintf("%s: no memory for another guest: fewer at once", c.ID))
	}
}

// noMemory tells the host's want of memory from whatever else a start may fail of.
func noMemory(err error) bool {
	if errors.Is(err, syscall.ENOMEM) {
		return true
	}
	for _, e := range cause.Of(err).Evidence { // what QEMU itself said
		if strings.Contains(e.Text, syscall.ENOMEM.Error()) || strings.Contains(e.Text, "Cannot allocate memory") {
			return true
		}
	}
	return false
}
