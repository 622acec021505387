// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"slices"
)

// Listed returns the index of a driver version if the pages that are made of it are there and tell the same, else nil: a
// publisher may have died after its last artifact and before its last page.
func (s *Store) Listed(ctx context.Context, driverVersion string) (*Index, error) {
	x, err := s.Index(ctx, driverVersion)
	if err != nil || x == nil {
		return nil, err
	}
	same, err := s.pagesMatch(ctx, x)
	if err != nil || !same {
		return nil, err
	}
	return x, nil
}

// Tells reports whether the index says of an entry what publishing it would have it say.
func (x *Index) Tells(e Entry) bool {
	at, ok := slices.BinarySearchFunc(x.Kernels, Row{Arch: e.Key.Arch, Names: e.Key.Kernel}, compareRows)
	if !ok {
		return false
	}
	c, ok := x.Kernels[at].Variants[e.Key.Variant]
	switch {
	case !ok || c.Inputs != e.Inputs:
		return false
	case e.Artifact != nil:
		return c.Supported == Available && c.SHA256 == e.Artifact.SHA256
	case e.Unavailable != "":
		return c.Supported == Unavailable
	}
	return c.Supported == Failed
}
