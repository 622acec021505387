// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"context"
	"errors"
	"os"
)

// Snapshot is a machine that was stopped where it was, and from which any number of others can go on. Its files have no
// name and are never written to again: they are gone with the last process that has them open, however that ends.
type Snapshot struct {
	Key    string   // of the provider and the machine, see [Forker]: another machine cannot take it up
	Memory *os.File // the guest's, of its full size, with holes where nothing was ever written
	State  *os.File // what the devices and processors held
}

// Close gives the files back. Machines that run from them go on.
func (s *Snapshot) Close() error { return errors.Join(s.Memory.Close(), s.State.Close()) }

// Forker is a [Starter] whose machines can be saved and taken up again.
type Forker interface {
	Starter

	// ForkKey names what of spec and of the provider a snapshot depends on: one that was taken under another key is of no
	// use. An error says why machines cannot be saved here.
	ForkKey(ctx context.Context, spec Spec) (string, error)
}

// Saver is a [Machine] that was started with [Spec].Saved set.
type Saver interface {
	Machine

	// Save stops the machine where it is and ends it. What it returns is the caller's. The guest's agent must have no call
	// under way, and learns from whoever takes the snapshot up that time has passed.
	Save(ctx context.Context) (*Snapshot, error)
}
