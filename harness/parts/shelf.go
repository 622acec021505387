// SPDX-License-Identifier: Apache-2.0

package parts

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/results/cause"
)

// Shelf is a store as a grid sees it.
type Shelf struct {
	Store   *store.Store
	Replace bool // publish over an artifact of other content

	mu     sync.Mutex
	listed map[string]*store.Index // by driver version, as far as this grid changed nothing
}

var _ grid.Store = (*Shelf)(nil)

func keyOf(c *grid.Cell) (store.Key, error) {
	k := c.Kernel.Resolved
	if c.Driver.Variant == product.Modern {
		return store.Key{DriverVersion: c.Driver.Version, Arch: k.Kernel.Arch, Kernel: store.AnyBTF, Variant: product.Modern}, nil
	}
	names, err := store.NamesOf(k.Kernel, k.PackageVersion)
	if err != nil {
		return store.Key{}, err
	}
	return store.Key{DriverVersion: c.Driver.Version, Arch: k.Kernel.Arch, Kernel: names, Variant: c.Driver.Variant}, nil
}

// Find implements grid.Store.
func (s *Shelf) Find(ctx context.Context, c *grid.Cell, key string) (*product.Artifact, error) {
	k, err := keyOf(c)
	if err != nil {
		return nil, err
	}
	st, err := s.Store.Has(ctx, k)
	if err != nil || !st.Settled || st.Sidecar.Supported != store.Available || st.Sidecar.Inputs != key {
		return nil, err
	}
	return st.Sidecar.Artifact, nil
}

// Publish implements grid.Store. What the store says already of all of them costs it a look at each.
func (s *Shelf) Publish(ctx context.Context, rs []*grid.Result) error {
	var entries, told []store.Entry
	same := true
	for _, r := range rs {
		if !worthTelling(r) {
			continue
		}
		e, err := entryOf(r)
		if err != nil {
			return err
		}
		if r.Origin == grid.Stored {
			told = append(told, e)
			continue
		}
		if twice, err := published(entries, e); err != nil {
			return err
		} else if twice {
			continue
		}
		st, err := s.Store.Has(ctx, e.Key)
		if err != nil {
			return err
		}
		if st.Settled && st.Sidecar.Supported == store.Available && r.State == cause.Error && !s.Replace {
			continue // that it could not be built today takes no artifact away
		}
		same = same && st.Settled && says(st.Sidecar, &e)
		entries = append(entries, e)
	}
	if same {
		return s.list(ctx, append(told, entries...))
	}
	_, err := s.Store.Publish(ctx, entries, store.Options{Replace: s.Replace})
	s.changed(rs[0].Version)
	return err
}

// list makes the index again of which a publisher that died in its last step left an old one: the artifacts that it published
// are there, and nobody finds them.
func (s *Shelf) list(ctx context.Context, entries []store.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	version := entries[0].Key.DriverVersion
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.listed[version]
	if x == nil {
		var err error
		if x, err = s.Store.Listed(ctx, version); err != nil {
			return err
		}
	}
	if x == nil || slices.ContainsFunc(entries, func(e store.Entry) bool { return !x.Tells(e) }) {
		delete(s.listed, version)
		return s.Store.Reindex(ctx, version)
	}
	if s.listed == nil {
		s.listed = map[string]*store.Index{}
	}
	s.listed[version] = x
	return nil
}

func (s *Shelf) changed(version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listed, version)
}

// worthTelling tells results that are about the kernel and the driver from those about the day. Of a kernel or a driver
// that could not even be found there is no name to publish under.
func worthTelling(r *grid.Result) bool {
	if r.Cell.Kernel.Resolved == nil || r.Version == "" {
		return false
	}
	switch r.State {
	case cause.Pass, cause.Fail, cause.Unsupported:
		return true
	case cause.Error:
		return r.Cause == cause.HeadersMissing || r.Cause == cause.ToolchainMismatch
	}
	return false
}

func entryOf(r *grid.Result) (store.Entry, error) {
	k, err := keyOf(r.Cell)
	if err != nil {
		return store.Entry{}, err
	}
	e := store.Entry{Key: k, Kernel: r.Kernel, Artifact: r.Artifact}
	if r.Inputs != nil {
		e.Inputs = r.Inputs.Key()
	}
	switch r.State {
	case cause.Pass:
		if r.Origin == grid.Built {
			e.Finished = time.Now()
		}
	case cause.Unsupported:
		e.Unavailable = string(r.Cause) + ": " + r.What()
	default:
		f := r.Finding
		e.Finding, e.LogPath = &f, r.LogPath
	}
	return e, nil
}

// published reports whether entries have e already, as two drivers of one version may: of the same content, or it is a
// conflict that no order of publishing would settle.
func published(entries []store.Entry, e store.Entry) (bool, error) {
	for _, o := range entries {
		if o.Key != e.Key {
			continue
		}
		if o.Artifact != nil && e.Artifact != nil && o.Artifact.SHA256 == e.Artifact.SHA256 {
			return true, nil
		}
		return false, cause.Errorf(cause.StoreConflict, cause.FaultInfra, "two drivers of the grid are %s", e.Key).
			Advise("build them one by one, or into stores of their own")
	}
	return false, nil
}

// says reports whether a sidecar tells what e would.
func says(s *store.Sidecar, e *store.Entry) bool {
	switch {
	case s.Inputs != e.Inputs:
		return false
	case e.Artifact != nil:
		return s.Supported == store.Available && s.Artifact.SHA256 == e.Artifact.SHA256
	case e.Unavailable != "":
		return s.Supported == store.Unavailable && s.Reason == e.Unavailable
	}
	return s.Supported == store.Failed && s.Finding.State == e.Finding.State && s.Finding.Cause == e.Finding.Cause
}
