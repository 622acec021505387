// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/results/cause"
)

// Fetcher brings packages into the archive. It is safe for concurrent use.
type Fetcher interface {
	// Fetch returns the path of the verified package file, which must not be written to.
	Fetch(ctx context.Context, p Package) (path string, err error)
}

// fetchedAtOnce is how many packages are fetched at a time.
const fetchedAtOnce = 4

// FetchAll fetches many packages; paths are in the order of ps. Of packages that the mirror lacks the error has all: who
// mends one would only find the next.
func FetchAll(ctx context.Context, f Fetcher, ps []Package) (paths []string, err error) {
	paths = make([]string, len(ps))
	lacks := make([]*cause.Err, len(ps))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchedAtOnce)
	for i, p := range ps {
		g.Go(func() (err error) {
			paths[i], err = f.Fetch(ctx, p)
			if e := (*cause.Err)(nil); errors.As(err, &e) && e.Cause == cause.PackageMissing {
				lacks[i] = e
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var first *cause.Err
	for _, e := range lacks {
		switch {
		case e == nil:
		case first == nil:
			first = e
		default:
			first.With(e.Evidence...)
		}
	}
	if first != nil {
		return nil, first
	}
	return paths, nil
}
