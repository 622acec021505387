// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels/archive"
)

// Check is what Verify found. Only Problems are against what a reader may count on.
type Check struct {
	Artifacts int      // read and compared
	Problems  []string // each names an object and what is wrong with it, sorted
	Pending   []Key    // promised by a sidecar and not there: a publisher is at work, or died; publish them again
	Stale     []string // driver versions whose index is older than their sidecars: publish or Reindex
}

// Clean reports whether nothing at all was found.
func (c *Check) Clean() bool { return len(c.Problems)+len(c.Pending)+len(c.Stale) == 0 }

// Verify reads a driver version, or all of them when it is empty, and compares every artifact with its sidecar, its
// provenance and its log, and the index with the sidecars.
func (s *Store) Verify(ctx context.Context, driverVersion string) (*Check, error) {
	all := []string{driverVersion}
	if driverVersion == "" {
		var err error
		if all, err = s.b.versions(ctx); err != nil {
			return nil, err
		}
	} else if err := checkVersion(driverVersion); err != nil {
		return nil, notAKey(err)
	}
	v := &verifier{Store: s, logs: map[archive.Digest]bool{}}
	for _, d := range all {
		if err := v.version(ctx, d); err != nil {
			return nil, err
		}
	}
	slices.Sort(v.Problems)
	return &v.Check, nil
}

type verifier struct {
	*Store
	Check
	logs map[archive.Digest]bool // that were read, and whether they are what their name says
}

func (v *verifier) problem(name, format string, args ...any) {
	v.Problems = append(v.Problems, name+": "+fmt.Sprintf(format, args...))
}

func (v *verifier) version(ctx context.Context, d string) error {
	var sidecars []Key
	artifacts := map[Key]bool{}
	for i, err := range v.b.list(ctx, d+"/") {
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(i.name, "/")
		if slices.Contains([]string{indexName, pageName, matrixName}, rest) {
			continue
		}
		if k, err := ParsePath(i.name); err == nil {
			artifacts[k] = true
		} else if k, ok := sidecarKey(i.name); ok {
			sidecars = append(sidecars, k)
		} else if _, err := ParsePath(strings.TrimSuffix(i.name, provenanceSuffix)); err != nil {
			v.problem(i.name, "nothing that belongs here")
		}
	}
	for k := range artifacts {
		if err := v.artifact(ctx, k); err != nil {
			return err
		}
	}
	for _, k := range sidecars {
		if err := v.sidecarOf(ctx, k, artifacts[k]); err != nil {
			return err
		}
	}
	return v.indexOf(ctx, d)
}

// artifact reads an artifact, and what is said about it.
func (v *verifier) artifact(ctx context.Context, k Key) error {
	is, err := hashed(ctx, v.b, k.Path())
	if errors.Is(err, fs.ErrNotExist) {
		return nil // replaced since it was listed
	}
	if err != nil {
		return err
	}
	v.Artifacts++
	sc, err := v.sidecar(ctx, k)
	switch {
	case err != nil:
		return err
	case sc == nil:
		v.problem(k.Path(), "has no sidecar")
		return nil
	case sc.Supported != Available:
		v.problem(k.Path(), "is there, and its sidecar says %s", sc.Supported)
	case sc.Artifact.SHA256 != is:
		v.problem(k.Path(), "has sha256 %s, and its sidecar says %s", is, sc.Artifact.SHA256)
	}
	text, _, err := v.read(ctx, k.provenance(), maxSidecar)
	if err != nil {
		return err
	}
	if text == nil {
		v.problem(k.Path(), "has no provenance")
	} else if about, err := ParseStatement(text, k.File()); err != nil {
		v.problem(k.provenance(), "%v", err)
	} else if about != is {
		v.problem(k.Path(), "has sha256 %s, and its provenance is about %s", is, about)
	}
	return nil
}

// sidecarOf reads a sidecar, and sees that its log is there.
func (v *verifier) sidecarOf(ctx context.Context, k Key, there bool) error {
	text, _, err := v.read(ctx, k.sidecar(), maxSidecar)
	if err != nil || text == nil {
		return err
	}
	sc, err := ParseSidecar(text)
	if err == nil && sc.Key() != k {
		err = fmt.Errorf("is about %s", sc.Key())
	}
	if err != nil {
		v.problem(k.sidecar(), "%v", err)
		return nil
	}
	if sc.Supported == Available && !there {
		v.Pending = append(v.Pending, k)
	}
	if sc.Log == "" {
		return nil
	}
	good, known := v.logs[sc.Log]
	if !known {
		is, err := hashed(ctx, v.b, logName(sc.Log))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		good = is == sc.Log
		v.logs[sc.Log] = good
	}
	if !good {
		v.problem(k.sidecar(), "its log %s is not there, or not what its name says", logName(sc.Log))
	}
	return nil
}

// indexOf compares the index with what would be made now. To be older is no problem; to tell of what no sidecar ever told is one.
func (v *verifier) indexOf(ctx context.Context, d string) error {
	has, text, _, err := v.index(ctx, d)
	if err != nil && text == nil {
		return err
	}
	name := path.Join(d, indexName)
	if err != nil {
		v.problem(name, "%v", errors.Unwrap(err))
		return nil
	}
	want, err := v.collect(ctx, d)
	if err != nil {
		return err
	}
	now, err := encode(want)
	if err != nil {
		return err
	}
	stale := string(now) != string(text)
	if has == nil {
		stale = len(want.Kernels) > 0
		has = &Index{}
	}
	for _, r := range has.Kernels {
		at, found := slices.BinarySearchFunc(want.Kernels, r, compareRows)
		for variant, c := range r.Variants {
			if found {
				_, found = want.Kernels[at].Variants[variant]
			}
			if !found {
				v.problem(name, "lists %s, of which there is no sidecar", c.File)
			}
		}
	}
	pages, err := v.pagesMatch(ctx, want)
	if err != nil {
		return err
	}
	if stale || !pages && len(want.Kernels) > 0 {
		v.Stale = append(v.Stale, d)
	}
	return nil
}

// pagesMatch reports whether the page and the matrix are those of the index.
func (s *Store) pagesMatch(ctx context.Context, x *Index) (bool, error) {
	html, err := x.page()
	if err != nil {
		return false, err
	}
	matrix, err := encode(x.matrix())
	if err != nil {
		return false, err
	}
	for name, want := range map[string][]byte{pageName: html, matrixName: matrix} {
		has, _, err := s.read(ctx, path.Join(x.DriverVersion, name), maxIndex)
		if err != nil || string(has) != string(want) {
			return false, err
		}
	}
	return true, nil
}
