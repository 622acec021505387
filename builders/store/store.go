// SPDX-License-Identifier: Apache-2.0

// Package store knows how built drivers are kept for others to fetch: in Falco's own layout, in a directory or a bucket,
// each with what is known of how it came to be.
//
//	<driver version>/<arch>/falco_<target>_<release>_<version>.ko              the artifact; .o of a probe
//	<driver version>/<arch>/falco_<target>_<release>_<version>.ko.json         its sidecar; alone where there is no artifact, and says why
//	<driver version>/<arch>/falco_<target>_<release>_<version>.ko.intoto.json  its provenance
//	<driver version>/{index.json,index.html,matrix.json}                       all of them, made of the sidecars
//	logs/<sha256>.log                                                          the builds' logs
//
// What a reader may count on at any moment, whoever was killed when:
//
//   - An artifact that is there has its sidecar, its provenance and its log, and they are about it. They are written first,
//     in the order log, provenance, sidecar, artifact; to replace an artifact it is taken away before they change, so that for
//     that while there is none.
//   - All sidecars of a kernel that are published together are there before the first of its artifacts is: a module whose
//     probe is still to come can be told from one that has none.
//   - index.json is the commit point: it calls the artifacts of a kernel available when all that its sidecars promise are
//     there, and not before. It is written last, whole, and by comparison with the one it was made from; so it is right, or older.
package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"strings"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Store is a store of built drivers. It is safe for concurrent use, by several processes too.
type Store struct {
	b backend
}

// Open opens the store at a directory, which is made when it is not there, or at s3://bucket/prefix. Nothing is asked of a
// bucket yet. The error is a *cause.Err.
func Open(ctx context.Context, at string) (*Store, error) {
	scheme, rest, ok := strings.Cut(at, "://")
	switch {
	case !ok:
		d, err := openDir(at)
		if err != nil {
			return nil, err
		}
		return &Store{d}, nil
	case scheme == "file":
		return Open(ctx, rest)
	case scheme == "s3":
		u, err := url.Parse(at)
		if err != nil {
			// url.Parse repeats what it was given, and there may be a secret in that.
			return nil, cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "the store's URL cannot be read").Advise("write s3://bucket/prefix")
		}
		b, err := openBucket(ctx, u)
		if err != nil {
			return nil, err
		}
		return &Store{b}, nil
	}
	return nil, cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "no store is known behind %.20s://", scheme).Advise("name a directory, or s3://bucket/prefix")
}

func (s *Store) String() string { return s.b.String() }

// Status is what a store has of one key. The zero value: nothing.
type Status struct {
	Sidecar *Sidecar
	// Settled: the sidecar's word holds. Its artifact is there, or there is none to be had. What is not settled is to be
	// published again.
	Settled bool
}

// Has tells what the store has of a key. A sidecar that cannot be read is not had.
func (s *Store) Has(ctx context.Context, k Key) (Status, error) {
	if err := k.Check(); err != nil {
		return Status{}, notAKey(err)
	}
	sc, err := s.sidecar(ctx, k)
	if err != nil || sc == nil {
		return Status{}, err
	}
	st := Status{Sidecar: sc, Settled: true}
	if sc.Supported == Available {
		st.Settled, err = s.present(ctx, sc)
	}
	return st, err
}

func notAKey(err error) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "store: %w", err)
}

// present reports whether the artifact that a sidecar promises is there; by its size only, the digest is Verify's business.
func (s *Store) present(ctx context.Context, sc *Sidecar) (bool, error) {
	i, err := s.b.stat(ctx, sc.Key().Path())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && i.size == sc.Artifact.Size, err
}

// sidecar returns the sidecar of k; nil when there is none, or none that can be read: it is written anew then.
func (s *Store) sidecar(ctx context.Context, k Key) (*Sidecar, error) {
	text, _, err := s.read(ctx, k.sidecar(), maxSidecar)
	if err != nil || text == nil {
		return nil, err
	}
	sc, err := ParseSidecar(text)
	if err != nil || sc.Key() != k {
		return nil, nil
	}
	return sc, nil
}

// read returns what a small object holds, and its version; nil when it is not there. One larger than limit is cut off behind it.
func (s *Store) read(ctx context.Context, name string, limit int64) (text []byte, version string, err error) {
	r, version, err := s.b.open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	defer r.Close()
	if text, err = io.ReadAll(io.LimitReader(r, limit+1)); err != nil {
		return nil, "", cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "store %s: read %s: %w", s.b, name, err)
	}
	return text, version, nil
}

// write puts a small object there.
func (s *Store) write(ctx context.Context, name, kind string, text []byte, only condition) (version string, err error) {
	return s.b.put(ctx, name, content{r: bytes.NewReader(text), size: int64(len(text)), sha256: archive.DigestOf(text), kind: kind}, only)
}
