// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// IndexSchema names the form of an [Index]. Changes to it are additions only.
const IndexSchema = "mews/store-index/v1"

// The names of what is made of the sidecars, in the directory of a driver version.
const (
	indexName  = "index.json"
	pageName   = "index.html"
	matrixName = "matrix.json"
)

// maxIndex bounds an index, in bytes: one of 10,000 kernels has some 12 MB.
const maxIndex = 128 << 20

// Index lists what a store has of one driver version.
type Index struct {
	Schema        string `json:"schema"`
	DriverVersion string `json:"driver_version"`
	Kernels       []Row  `json:"kernels"` // sorted by arch, target, release and version
}

// Row is one kernel.
type Row struct {
	Arch string `json:"arch"`
	Names
	Kernel   string                   `json:"kernel"` // uname -r
	Variants map[product.Variant]Cell `json:"variants"`
}

// Cell is one kernel and variant.
type Cell struct {
	Supported Supported       `json:"supported"`
	File      string          `json:"file"` // relative to the index; there if Supported is available
	SHA256    archive.Digest  `json:"sha256,omitempty"`
	Size      int64           `json:"size,omitempty"`
	Compiler  string          `json:"compiler,omitempty"`
	Why       string          `json:"why,omitempty"` // of what is not available
	Cause     cause.Cause     `json:"cause,omitempty"`
	Fault     cause.Fault     `json:"fault,omitempty"`
	Log       archive.Digest  `json:"log,omitempty"`
	Inputs    string          `json:"inputs,omitempty"`
	Variant   product.Variant `json:"-"`
}

// compareRows sorts as an index is sorted.
func compareRows(a, b Row) int {
	return cmp.Or(strings.Compare(a.Arch, b.Arch), strings.Compare(a.Target, b.Target),
		strings.Compare(a.Release, b.Release), strings.Compare(a.Version, b.Version))
}

// ParseIndex reads an index, which may come from anywhere.
func ParseIndex(data []byte) (*Index, error) {
	if len(data) > maxIndex {
		return nil, fmt.Errorf("index of more than %d bytes", maxIndex)
	}
	var x Index
	if err := json.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if x.Schema != IndexSchema {
		return nil, fmt.Errorf("index: schema %.100q, not %s", x.Schema, IndexSchema)
	}
	if err := checkVersion(x.DriverVersion); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	for i, r := range x.Kernels {
		for v, c := range r.Variants {
			k := Key{DriverVersion: x.DriverVersion, Arch: r.Arch, Kernel: r.Names, Variant: v}
			if err := k.Check(); err != nil {
				return nil, fmt.Errorf("index: %w", err)
			}
			if want := path.Join(r.Arch, k.File()); c.File != want {
				return nil, fmt.Errorf("index: %.300q stands for %s", c.File, want)
			}
			if c.Supported == Available && !c.SHA256.Valid() || c.Log != "" && !c.Log.Valid() {
				return nil, fmt.Errorf("index: %s: no SHA-256", c.File)
			}
		}
		if len(r.Variants) == 0 || i > 0 && compareRows(x.Kernels[i-1], r) >= 0 {
			return nil, fmt.Errorf("index: kernel %d (%s) is empty, twice there or not in order", i, r.Names)
		}
	}
	return &x, nil
}

// cellOf is what an index says of a sidecar, settled or not.
func cellOf(s *Sidecar, settled bool) Cell {
	c := Cell{Supported: s.Supported, File: path.Join(s.Arch, s.File), Log: s.Log, Inputs: s.Inputs, Why: s.Reason}
	switch s.Supported {
	case Available:
		c.SHA256, c.Size, c.Compiler = s.Artifact.SHA256, s.Artifact.Size, s.Artifact.Compiler.Command
		if !settled {
			c.Supported, c.Why = Pending, "not all of this kernel's artifacts are published yet"
		}
	case Failed:
		c.Cause, c.Fault = s.Finding.Cause, s.Finding.Fault
		if c.Why == "" && len(s.Finding.Evidence) > 0 {
			c.Why = s.Finding.Evidence[0].String()
		}
	}
	return c
}

// row reads a kernel's sidecars; ok is false when there are none. Where one artifact lacks, none is available yet.
func (s *Store) row(ctx context.Context, kernel Key) (r Row, ok bool, err error) {
	r = Row{Arch: kernel.Arch, Names: kernel.Kernel, Variants: map[product.Variant]Cell{}}
	var found []*Sidecar
	settled := true
	for _, v := range variantsOf(kernel.Kernel) {
		kernel.Variant = v
		st, err := s.Has(ctx, kernel)
		if err != nil {
			return r, false, err
		}
		if st.Sidecar == nil {
			continue
		}
		settled = settled && st.Settled
		found = append(found, st.Sidecar)
	}
	for _, sc := range found {
		r.Variants[sc.Variant] = cellOf(sc, settled)
		r.Kernel = sc.Kernel.Release
	}
	return r, len(found) > 0, nil
}

// Index returns what the index of a driver version says; nil when there is none.
func (s *Store) Index(ctx context.Context, driverVersion string) (*Index, error) {
	x, _, _, err := s.index(ctx, driverVersion)
	return x, err
}

// index returns the index, its bytes and its version. One that cannot be read is STORE_CORRUPT.
func (s *Store) index(ctx context.Context, v string) (x *Index, text []byte, version string, err error) {
	if err := checkVersion(v); err != nil {
		return nil, nil, "", notAKey(err)
	}
	name := path.Join(v, indexName)
	text, version, err = s.read(ctx, name, maxIndex)
	if err != nil || text == nil {
		return nil, nil, version, err
	}
	if x, err = ParseIndex(text); err == nil && x.DriverVersion != v {
		err = fmt.Errorf("index of %s", x.DriverVersion)
	}
	if err != nil {
		return nil, text, version, cause.Errorf(cause.StoreCorrupt, cause.FaultInfra, "store %s: %s: %w", s.b, name, err).Advise("make it anew of the sidecars (Reindex)")
	}
	return x, text, version, nil
}

// refreshes is how often an index is made again because another publisher was faster. Each time that one came to its end.
const refreshes = 50

// refresh brings the index to what the store has of these kernels, or of all when there is no index that can be read.
// Another publisher's work is never lost: the index is replaced only if it is still the one that the new one was made from.
func (s *Store) refresh(ctx context.Context, v string, changed []Key) error {
	for range refreshes {
		x, text, version, err := s.index(ctx, v)
		var c *cause.Err
		if errors.As(err, &c) && c.Cause == cause.StoreCorrupt {
			x, err = nil, nil
		}
		if err != nil {
			return err
		}
		if x == nil || changed == nil {
			if x, err = s.collect(ctx, v); err != nil {
				return err
			}
		} else if err := s.merge(ctx, x, changed); err != nil {
			return err
		}
		settled, err := s.writeIndex(ctx, x, text, version)
		if err != nil || settled {
			return err
		}
	}
	return cause.Errorf(cause.StoreConflict, cause.FaultInfra, "store %s: %s/%s was changed by others each of %d times that it was made", s.b, v, indexName, refreshes).
		Advise("publish again when the other publishers are done")
}

// writeIndex writes an index and what is made of it, if it is still the one whose bytes and version are given. It reports
// whether that is so, also after the pages were written: they have no condition of their own.
func (s *Store) writeIndex(ctx context.Context, x *Index, was []byte, version string) (settled bool, err error) {
	text, err := encode(x)
	if err != nil {
		return false, err
	}
	name := path.Join(x.DriverVersion, indexName)
	if !bytes.Equal(text, was) {
		only := condition{version: version, absent: version == ""}
		version, err = s.write(ctx, name, kindJSON, text, only)
		if errors.Is(err, errChanged) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	if err := s.writePages(ctx, x); err != nil {
		return false, err
	}
	now, err := s.b.stat(ctx, name)
	return now.version == version, err
}

// merge puts what the store has of the changed kernels into the index.
func (s *Store) merge(ctx context.Context, x *Index, changed []Key) error {
	for _, k := range changed {
		r, ok, err := s.row(ctx, k)
		if err != nil {
			return err
		}
		at, there := slices.BinarySearchFunc(x.Kernels, r, compareRows)
		if there {
			x.Kernels = slices.Delete(x.Kernels, at, at+1)
		}
		if ok {
			x.Kernels = slices.Insert(x.Kernels, at, r)
		}
	}
	return nil
}

// collect makes the index of all sidecars there are.
func (s *Store) collect(ctx context.Context, v string) (*Index, error) {
	kernels := map[Key]bool{}
	for i, err := range s.b.list(ctx, v+"/") {
		if err != nil {
			return nil, err
		}
		if k, ok := sidecarKey(i.name); ok {
			kernels[k.kernelOf()] = true
		}
	}
	x := &Index{Schema: IndexSchema, DriverVersion: v, Kernels: []Row{}}
	for k := range kernels {
		r, ok, err := s.row(ctx, k)
		if err != nil {
			return nil, err
		}
		if ok {
			x.Kernels = append(x.Kernels, r)
		}
	}
	slices.SortFunc(x.Kernels, compareRows)
	return x, nil
}

// sidecarKey is the key whose sidecar has that name.
func sidecarKey(name string) (Key, bool) {
	if strings.HasSuffix(name, provenanceSuffix) {
		return Key{}, false
	}
	stem, ok := strings.CutSuffix(name, sidecarSuffix)
	if !ok {
		return Key{}, false
	}
	k, err := ParsePath(stem)
	return k, err == nil
}

// Reindex makes the index of a driver version anew, of its sidecars alone; of all versions when it is empty.
func (s *Store) Reindex(ctx context.Context, driverVersion string) error {
	all := []string{driverVersion}
	if driverVersion == "" {
		var err error
		if all, err = s.b.versions(ctx); err != nil {
			return err
		}
	}
	for _, v := range all {
		if err := checkVersion(v); err != nil {
			return notAKey(err)
		}
		if err := s.refresh(ctx, v, nil); err != nil {
			return err
		}
	}
	return nil
}
