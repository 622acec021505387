// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Entry is what is known of one kernel and variant. Exactly one of Artifact, Unavailable and Finding is set.
type Entry struct {
	Key    Key
	Kernel kernels.Kernel
	Inputs string // digest of all that decides the build; Has gives it back

	Artifact    *product.Artifact // its file at Path, its log at LogPath
	Finished    time.Time         // of the build; zero: not known
	Unavailable string            // why it cannot exist
	Finding     *cause.Finding    // why its build fell short
	LogPath     string            // of a build that fell short; may be empty
}

// Options of Publish.
type Options struct {
	Replace bool // an artifact of other content, also by the word that there is none any more
}

// Report counts what Publish did.
type Report struct {
	Written   int   // artifacts and markers that the store did not have
	Same      int   // had already, and left as they are
	Completed int   // artifacts that were there, and got the sidecar or provenance they lacked
	Replaced  int   // artifacts of other content
	Conflicts []Key // not published: the store has other content
}

// maxArtifact bounds an artifact and a log that are published, in bytes.
const maxArtifact = 256 << 20

// Publish puts entries into the store, kernel by kernel: all of a kernel's entries, or none where one of them is in conflict
// with what the store has. Other kernels are published all the same. The error is a *cause.Err: what stopped it, or else the first conflict,
// STORE_CONFLICT. What was interrupted is completed by publishing it again.
func (s *Store) Publish(ctx context.Context, entries []Entry, o Options) (Report, error) {
	groups, err := byKernel(entries)
	if err != nil {
		return Report{}, err
	}
	var r Report
	var conflict error
	touched := map[string][]Key{}
	for _, g := range groups {
		p := &publication{Store: s, o: o}
		err := p.run(ctx, g)
		k := g[0].Key.kernelOf()
		if p.done {
			touched[k.DriverVersion] = append(touched[k.DriverVersion], k)
			r.add(p.Report)
		}
		if c := (*cause.Err)(nil); errors.As(err, &c) && c.Cause == cause.StoreConflict {
			r.Conflicts = append(r.Conflicts, p.Conflicts...)
			conflict = cmp.Or(conflict, err)
			continue
		}
		if err != nil {
			return r, err
		}
	}
	for _, v := range slices.Sorted(maps.Keys(touched)) {
		if err := s.refresh(ctx, v, touched[v]); err != nil {
			return r, err
		}
	}
	return r, conflict
}

func (r *Report) add(o Report) {
	r.Written += o.Written
	r.Same += o.Same
	r.Completed += o.Completed
	r.Replaced += o.Replaced
}

// byKernel checks the entries and puts those of one kernel together, in an order of their own.
func byKernel(entries []Entry) ([][]Entry, error) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b Entry) int {
		// By variant the module comes last: most readers want that, and the probe is there then.
		return cmp.Or(strings.Compare(a.Key.kernelOf().Path(), b.Key.kernelOf().Path()), strings.Compare(string(a.Key.Variant), string(b.Key.Variant)))
	})
	var out [][]Entry
	for i, e := range entries {
		if err := e.Key.Check(); err != nil {
			return nil, notAKey(err)
		}
		if i > 0 && e.Key == entries[i-1].Key {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "store: %s is to be published twice at once", e.Key)
		}
		if i > 0 && e.Key.kernelOf() == entries[i-1].Key.kernelOf() {
			out[len(out)-1] = append(out[len(out)-1], e)
			continue
		}
		out = append(out, []Entry{e})
	}
	return out, nil
}

// sidecar is what will be beside the artifact. The log's digest is that of the file.
func (e *Entry) sidecar(log archive.Digest) (*Sidecar, error) {
	sc := &Sidecar{
		Schema: SidecarSchema, File: e.Key.File(), DriverVersion: e.Key.DriverVersion, Arch: e.Key.Arch, Names: e.Key.Kernel, Variant: e.Key.Variant,
		Kernel: e.Kernel, Inputs: e.Inputs, Artifact: e.Artifact, Reason: e.Unavailable, Finding: e.Finding, Log: log,
	}
	switch {
	case e.Artifact != nil:
		sc.Supported, sc.Log = Available, e.Artifact.Log
	case e.Unavailable != "":
		sc.Supported = Unavailable
	default:
		sc.Supported = Failed
	}
	if err := sc.check(); err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "store: %s: %w", e.Key, err)
	}
	return sc, nil
}

// file is a file to be published, or nothing.
type file struct {
	path   string
	size   int64
	sha256 archive.Digest
	kind   string
}

func (s *Store) putFile(ctx context.Context, name string, f file, only condition) error {
	in, err := os.Open(f.path)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultInfra, "store: %w", err)
	}
	defer in.Close()
	_, err = s.b.put(ctx, name, content{r: in, size: f.size, sha256: f.sha256, kind: f.kind}, only)
	return err
}

// putLog keeps a log, which is named by its digest: what is there already is the same.
func (s *Store) putLog(ctx context.Context, path string, want archive.Digest) (archive.Digest, error) {
	if path == "" {
		return "", nil
	}
	size, sum, err := measure(path)
	if err != nil {
		return "", err
	}
	if want != "" && sum != want {
		return "", changedUnderway(content{sha256: want}, sum)
	}
	if i, err := s.b.stat(ctx, logName(sum)); err == nil && i.size == size {
		return sum, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return sum, s.putFile(ctx, logName(sum), file{path, size, sum, kindLog}, condition{})
}

// same reports whether two sidecars say the same.
func same(a, b *Sidecar) (bool, error) {
	x, err := encode(a)
	if err != nil {
		return false, err
	}
	y, err := encode(b)
	return bytes.Equal(x, y), err
}
