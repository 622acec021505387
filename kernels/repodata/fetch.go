// SPDX-License-Identifier: Apache-2.0

package repodata

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/internal/get"
)

// sums are the checksums of createrepo_c; "sha" is what it called SHA-1.
var sums = map[string]func() hash.Hash{"sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New}

// checksum makes kind:digits of what an index says.
func checksum(kind, digits string) (string, error) {
	if kind == "sha" {
		kind = "sha1"
	}
	digits = strings.ToLower(strings.TrimSpace(digits))
	h, ok := sums[kind]
	if !ok {
		return "", fmt.Errorf("checksum %q is too weak, or not known", kind)
	}
	if b, err := hex.DecodeString(digits); err != nil || len(b) != h().Size() {
		return "", fmt.Errorf("%q is no %s", digits, kind)
	}
	return kind + ":" + digits, nil
}

// Packages returns the packages of the given names: by name, the newest first.
func (r *Repo) Packages(ctx context.Context, c *get.Client, names ...string) ([]Package, error) {
	f, err := os.CreateTemp("", "mews-repodata-")
	if err != nil {
		return nil, disk.Err(err, os.TempDir())
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := r.fetch(ctx, c, f); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, disk.Err(err, f.Name())
	}
	packages, err := r.read(ctx, f, names)
	if err := disk.Ctx(ctx, "read "+r.primary.url); err != nil {
		return nil, err
	}
	if err != nil {
		return nil, corrupt(r.primary.url, err)
	}
	slices.SortFunc(packages, order)
	return packages, nil
}

// fetch brings the index into f, verified.
func (r *Repo) fetch(ctx context.Context, c *get.Client, f *os.File) error {
	i := r.primary
	kind, want, _ := strings.Cut(i.sum, ":")
	return c.Get(ctx, i.url, path.Base(i.url), i.size, func(body io.Reader) error {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return disk.Err(err, f.Name())
		}
		if err := f.Truncate(0); err != nil {
			return disk.Err(err, f.Name())
		}
		limit := i.size
		if limit < 0 {
			limit = maxPacked
		}
		h, in := sums[kind](), &source{r: io.LimitReader(body, limit+1)}
		n, err := io.Copy(io.MultiWriter(f, h), in)
		switch {
		case in.err != nil:
			return in.err
		case err != nil:
			return disk.Err(err, f.Name())
		case n > limit:
			return corrupt(i.url, fmt.Errorf("%w: more than %d bytes", ErrLimit, limit))
		case i.size >= 0 && n != i.size, hex.EncodeToString(h.Sum(nil)) != want:
			return corrupt(i.url, fmt.Errorf("%w: %d bytes came", ErrChecksum, n))
		}
		return nil
	})
}

// source remembers that reading failed, so that the failure is not taken for one of writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// read reads the verified index.
func (r *Repo) read(ctx context.Context, packed io.Reader, names []string) ([]Package, error) {
	packages, err := r.unpack(ctx, packed, names)
	if errors.Is(err, decompress.ErrLimit) {
		return nil, fmt.Errorf("%w: %w", ErrLimit, err)
	}
	return packages, err
}

func (r *Repo) unpack(ctx context.Context, packed io.Reader, names []string) ([]Package, error) {
	limit := int64(maxIndex)
	if r.primary.openSize > 0 {
		limit = r.primary.openSize
	}
	z, err := decompress.NewReader(packed, r.primary.suffix, limit)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	if r.primary.sqlite {
		return r.fromSQLite(ctx, z, names)
	}
	return r.fromXML(ctx, z, names)
}
