// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/machine"
)

// Visit is what somebody does in a guest of his own.
type Visit func(ctx context.Context, c *agent.Client) error

// Visit boots the guest of a cell as a run does, loads its driver if that is wanted, and lets visit in. Nothing is judged; the
// guest is gone when visit returns.
func (r *Runner) Visit(ctx context.Context, c *Cell, load bool, visit Visit) error {
	run := &cellRun{Cell: c, parts: r.Parts, starter: r.Starter, patient: r.Patience, memory: r.MemoryMiB, rec: r.Recorder(c.ID), view: r.View}
	run.noFork, run.turn, run.lengths = true, &turn{desk: newDesk(1, 1, "")}, lengths{&history.History{}, "", 1}
	if err := run.equip(ctx, load); err != nil {
		return err
	}
	initrd, err := r.Parts.Initramfs(ctx, run.files)
	if err != nil {
		return err
	}
	g, err := run.boot(ctx, machine.Spec{
		Name: c.ID, Kernel: run.files.Image, Initrd: initrd, MemoryMiB: r.MemoryMiB, Disks: run.disks, Dir: run.rec.Dir(),
	})
	if err != nil {
		return err
	}
	defer g.stop()
	if load {
		lctx, cancel := context.WithTimeout(ctx, r.Patience.of(run.startLimit()))
		defer cancel()
		if _, err := run.load(lctx, g); err != nil {
			return g.blame(ctx, r.Patience, err)
		}
	}
	return visit(ctx, g.c)
}

// equip makes what the guest consists of, and the driver if it is wanted.
func (c *cellRun) equip(ctx context.Context, driver bool) (err error) {
	if c.Err != nil {
		return c.Err
	}
	if c.files, err = c.parts.Kernel(ctx, c.Resolved); err != nil {
		return err
	}
	if c.disks, err = c.parts.Disks(ctx, c.Cell); err != nil || !driver {
		return err
	}
	if c.Denied != nil {
		return c.Denied
	}
	if err := c.parts.Source(ctx, c.Cell); err != nil {
		return err
	}
	c.built, err = c.parts.Build(ctx, c.Cell, c.files, c.rec.Dir())
	return err
}
