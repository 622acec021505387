// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// doubtful are the causes that are held against nobody before they came twice. Under multi-threaded TCG a guest
// with two CPUs panics now and then while the kernel patches its own text: 2 of about 36 boots of 7.2.12 with
// Falco's module, which was innocent (docs/architecture.md).
var doubtful = []cause.Cause{cause.BootPanic, cause.BootTimeout, cause.KernelPanic, cause.KernelHang, cause.KernelSplat}

func suspicious(err error) bool {
	return err != nil && slices.Contains(doubtful, cause.Of(err).Cause)
}

// again flies the cell once more from a cold boot after the kernel died under it. The same death in the same stage
// stands; anything else, a clean flight too, is a suspected flake: neither pass nor fail.
func (c *cellRun) again(ctx context.Context) error {
	c.first, c.second = c.last, true
	c.view.Note(fmt.Sprintf("%s: %s must come twice; booting again", c.ID, c.first.Cause))
	// Already now, so that a second flight that ends before it, or is cut short, leaves no death on the record that came
	// once. The same death again replaces it.
	if err := c.doubt("the second boot did not come to this stage"); err != nil {
		return err
	}
	if err := c.fly(ctx); err != nil {
		return err
	}
	if err := c.doubt("the second boot went through clean"); err != nil {
		return err
	}
	return flake(c.first.Finding, "the second boot went through clean")
}

// doubt records the first flight's death as a suspected flake.
func (c *cellRun) doubt(second string) error {
	now := time.Now()
	s := results.EndStage(c.first.Name, now, now, flake(c.first.Finding, second))
	c.view.End(c.ID, s.Name, s.State, string(s.Cause))
	if err := c.rec.Stage(s); err != nil {
		return broken{err}
	}
	return nil
}

// compare says what an error of the second flight proves together with that of the first.
func (c *cellRun) compare(stage string, err error) error {
	f := cause.Of(err)
	if f.Cause == cause.Cancelled {
		return err
	}
	if stage == c.first.Name && f.Cause == c.first.Cause {
		return &cause.Err{Finding: f, What: "came twice, in two boots: " + err.Error()}
	}
	return flake(c.first.Finding, "the second boot ended otherwise: stage "+stage+": "+err.Error())
}

func flake(first cause.Finding, second string) error {
	e := cause.Errorf(cause.FlakeSuspected, cause.FaultInfra, "%s came once in two boots; %s", first.Cause, second).
		Advise("run the cell again; a real death comes back")
	return e.With(first.Evidence...)
}
