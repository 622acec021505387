// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"time"

	"github.com/mews-farm/mews/results"
)

// broken is a record that could not be written: the run cannot go on with its verdicts unkept.
type broken struct{ error }

func (b broken) Unwrap() error { return b.error }

// stage runs one stage, records it, and reports whether the cell goes on.
func (c *cellRun) stage(ctx context.Context, name string, do func() (note string, err error)) error {
	if ctx.Err() != nil {
		return cancelled(ctx)
	}
	c.now = name
	if err := c.turn.expect(func() error {
		c.view.Start(c.ID, name)
		return c.rec.Start(name)
	}); err != nil {
		return err
	}
	note, err := do()
	if err != nil && ctx.Err() != nil {
		err = cancelled(ctx)
	}
	if errors.As(err, &unforked{}) {
		return err // nothing to record: it is begun again
	}
	if ctx.Err() != nil && c.turn.unbegun() {
		return err // nor of what only waited
	}
	if err != nil && c.second {
		err = c.compare(name, err)
	}
	began, waited, cloned, lost := c.turn.over()
	if lost != nil {
		return lost
	}
	s := results.EndStage(name, began, time.Now().Add(-waited), err)
	s.Note = note
	c.last = s
	detail := note
	if err != nil {
		detail = string(s.Cause) + ": " + s.Evidence[0].Text
	}
	c.view.End(c.ID, name, s.State, detail)
	if werr := c.rec.Stage(s); werr != nil {
		return broken{werr}
	}
	if err == nil {
		c.timed(name, s.Seconds-cloned.Seconds())
	}
	return err
}
