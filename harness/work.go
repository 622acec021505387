// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"time"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/schedule"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
)

// rest is how much the cell has before it.
func (c *cellRun) rest() float64 { return c.lengths.rest(c.Cell, c.now, int(c.undone.Load())) }

// step is one of the cell's that no guest is for.
func (c *cellRun) step(k schedule.Kind) schedule.Step {
	return schedule.Step{Kind: k, Rest: c.rest(), Needs: needs(k)}
}

// looked is more than it takes to find a kernel unpacked, and less than to unpack one.
const looked = 500 * time.Millisecond

// fetch makes what the cell consists of, but for its driver. What it shares with other cells is made once.
func (c *cellRun) fetch(ctx context.Context) error {
	if c.Source.Name != "" {
		if _, err := once(ctx, c, "source "+c.Source.Name+" "+c.Source.Version, false, func() (struct{}, error) {
			return struct{}{}, c.parts.Source(ctx, c.Cell)
		}); err != nil {
			return err
		}
	}
	var err error
	if c.files, err = once(ctx, c, c.unpackedName(), false, func() (*kernels.Files, error) {
		began := time.Now()
		files, err := c.parts.Kernel(ctx, c.Resolved)
		if err == nil {
			took := time.Since(began)
			c.lengths.Add(c.lengths.key(c.Cell, results.StageResolve, took < looked), took.Seconds())
			c.lengths.Make(c.unpackedName())
		}
		return files, err
	}); err != nil {
		return err
	}
	c.learn()
	if !c.Boots() {
		return nil
	}
	c.disks, err = once(ctx, c, "disks "+c.Driver.Consumer.V, false, func() ([]machine.Disk, error) { return c.parts.Disks(ctx, c.Cell) })
	return err
}

// initramfs makes what boots the cell's kernel.
func (c *cellRun) initramfs(ctx context.Context) (string, error) {
	kernel, _ := c.Label()
	return once(ctx, c, "initramfs "+kernel, true, func() (string, error) { return c.parts.Initramfs(ctx, c.files) })
}

// timed remembers how long a stage of this cell took by itself, for runs to come. What only --no-fork does is no measure.
func (c *cellRun) timed(stage string, seconds float64) {
	forks, _ := c.forker()
	switch stage {
	case results.StageResolve, results.StageBoot:
		return // its parts are shared, and remembered by themselves
	case results.StageBuild:
		if c.Log != nil {
			return
		}
		c.lengths.Add(c.lengths.key(c.Cell, stage, c.built.Kept || c.Driver.Source.Builtin.V != ""), seconds)
		c.lengths.Make(c.builtName())
		return
	case results.StageScenarios:
		if forks == nil {
			return
		}
	}
	c.lengths.Add(c.lengths.key(c.Cell, stage, false), seconds)
}

// part remembers how long a part of a stage took.
func (c *cellRun) part(name string, seconds float64) {
	c.lengths.Add(c.lengths.key(c.Cell, name, false), seconds)
}

// bootedOnce remembers the boot of a kernel that is kept.
func (c *cellRun) bootedOnce(took time.Duration) {
	c.part(history.Kernel, took.Seconds())
	c.lengths.Make(c.bootedName())
}
