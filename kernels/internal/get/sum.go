// SPDX-License-Identifier: Apache-2.0

package get

import (
	"context"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// maxSummed bounds a file of unpublished size; a kernel's debug packages have 1 GB.
const maxSummed = 4 << 30

// The checksums that sources publish. md5 and sha1 are all that some have (Google's bucket listings, snapshot.debian.org,
// repositories before 2010): they find damage, and an attacker only as far as the transport does.
var sums = map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// parseSum takes apart "sha1:0123...".
func parseSum(sum string) (kind, want string, err error) {
	kind, want, _ = strings.Cut(sum, ":")
	want = strings.ToLower(want)
	if h := sums[kind]; h != nil {
		if b, err := hex.DecodeString(want); err == nil && len(b) == h().Size() {
			return kind, want, nil
		}
	}
	return "", "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%q is no checksum", sum).
		Advise("it must be md5:, sha1:, sha256: or sha512: and hexadecimal digits")
}

// sumRef is the archive's name for what has that checksum.
func sumRef(sum string) string {
	return "sums/" + strings.ReplaceAll(strings.ToLower(sum), ":", "/")
}

// bySum brings a package without a digest into the archive, which keeps the checksum as another name of it.
func (c *Client) bySum(ctx context.Context, p kernels.Package, item string) (held string, err error) {
	kind, want, err := parseSum(p.Sum)
	if err != nil {
		return "", err
	}
	limit := p.Size
	if limit == 0 {
		limit = maxSummed
	}
	err = c.Get(ctx, p.URL, item, p.Size, func(r io.Reader) error {
		s := &summed{r: r, h: sums[kind](), kind: kind, want: want, size: p.Size}
		d, err := c.o.Archive.Add(ctx, s, limit)
		if err != nil {
			return err
		}
		if err := c.o.Archive.SetRef(sumRef(p.Sum), d); err != nil {
			return err
		}
		held, err = c.o.Archive.Path(d)
		return err
	})
	if err != nil {
		return "", c.corrupt(p.URL, err)
	}
	return held, nil
}

// summed ends well only if what it read has the wanted checksum and size: the archive keeps nothing else.
type summed struct {
	r          io.Reader
	h          hash.Hash
	kind, want string
	size, n    int64
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.h.Write(p[:n])
	s.n += int64(n)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if s.size > 0 && s.n != s.size {
		return n, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "content has %d bytes, not %d", s.n, s.size)
	}
	if got := hex.EncodeToString(s.h.Sum(nil)); got != s.want {
		return n, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "content has %s %s, not %s", s.kind, got, s.want)
	}
	return n, io.EOF
}
