// SPDX-License-Identifier: Apache-2.0

package get

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Fetch brings one package into the archive, verified by its Digest, or where that is empty by its Sum, and
// returns its path. It makes a Client a [kernels.Fetcher].
func (c *Client) Fetch(ctx context.Context, p kernels.Package) (string, error) {
	item := p.Name + "_" + p.Version + "_" + p.Arch
	unlock, err := c.fetching.Lock(ctx, string(p.Digest)+p.Sum)
	if err != nil {
		return "", err
	}
	defer unlock()
	held, err := c.held(p)
	if err == nil {
		return held, nil
	}
	if c.o.Offline {
		return "", cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "package %s is not in the archive", item).
			With(cause.Text(strings.TrimSpace("sha256 " + string(p.Digest) + " " + p.Sum))...).
			Advise("run once without --offline")
	}
	if p.Digest == "" {
		held, err = c.bySum(ctx, p, item)
	} else {
		held, err = c.Put(ctx, p.URL, item, p.Digest, cmp.Or(p.Size, -1))
	}
	if errors.Is(err, ErrNotFound) {
		return "", c.missing(p, err)
	}
	return held, err
}

// missing says of a package that its index names and the mirror does not hold that the mirror is well: to ask again is of no use.
func (c *Client) missing(p kernels.Package, err error) error {
	what := path.Base(p.URL)
	if p.Index != "" {
		what += ", which " + p.Index + " names"
	}
	e := cause.Errorf(cause.PackageMissing, cause.FaultInfra, "the mirror does not hold %s: %w", what, bare(err)).
		Advise("the mirror answers, and lacks what it promises: try another mirror, or %s", c.o.Hints.NotFound)
	text := strings.TrimSpace(p.Name + " " + p.Version + " " + p.Arch)
	if p.Size > 0 {
		text += ", " + strconv.FormatInt(p.Size, 10) + " bytes"
	}
	return e.With(cause.Evidence{File: p.Index, Text: text + ", " + cmp.Or(p.Sum, "sha256:"+string(p.Digest))})
}

// bare is err without the advice that it was given where less was known.
func bare(err error) error {
	if e := (*cause.Err)(nil); errors.As(err, &e) && e.Wrap != nil {
		return e.Wrap
	}
	return err
}

func (c *Client) held(p kernels.Package) (string, error) {
	d := p.Digest
	if d == "" {
		var err error
		if d, err = c.o.Archive.Ref(sumRef(p.Sum)); err != nil {
			return "", err
		}
	}
	return c.o.Archive.Path(d)
}

// FetchAll is [kernels.FetchAll] of c.
func (c *Client) FetchAll(ctx context.Context, ps []kernels.Package) ([]string, error) {
	return kernels.FetchAll(ctx, c, ps)
}

// Put puts what url serves into the archive if it has that digest and size (bytes; -1 when not known).
func (c *Client) Put(ctx context.Context, url, item string, want archive.Digest, size int64) (held string, err error) {
	err = c.Get(ctx, url, item, size, func(r io.Reader) error {
		held, err = c.o.Archive.Put(ctx, want, size, r)
		return err
	})
	if err != nil {
		return "", c.corrupt(url, err)
	}
	return held, nil
}

// corrupt says of an archive's refusal which file was refused, and what to do.
func (c *Client) corrupt(url string, err error) error {
	if cause.Of(err).Cause != cause.PackageCorrupt {
		return err
	}
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: %w", url, err).Advise("%s", c.o.Hints.Corrupt)
}
