// SPDX-License-Identifier: Apache-2.0

package kbuild

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// keyVersion is part of every key: a change of what is remembered makes all of them again.
const keyVersion = "5"

// maxKept bounds each part of a remembered result, in bytes.
const maxKept = 256 << 20

// Memory keeps what builds came to in an archive, by a key that is the digest of all that decides it.
type Memory struct {
	Archive *archive.Archive // nil: nothing is remembered
	Out     string           // where a build leaves its files and LogName, and where they are put when they are found
}

// record is what the archive keeps of a build: an artifact, or the driver's failure to become one.
type record struct {
	Artifact *product.Artifact         `json:"artifact,omitempty"`
	Beside   map[string]archive.Digest `json:"beside,omitempty"` // more files of the artifact's, by base name
	Failure  *failure                  `json:"failure,omitempty"`
	Log      archive.Digest            `json:"log"`
}

type failure struct {
	Finding cause.Finding `json:"finding"`
	What    string        `json:"what"`
	Hint    string        `json:"hint,omitempty"`
}

// key is the digest of all that decides what a build makes.
func (r *Request) key(k *Kind) string {
	packages := slices.Clone(r.Kernel.Packages)
	slices.Sort(packages)
	h := sha256.New()
	fmt.Fprintln(h, keyVersion, k.Version, r.Kernel.Kernel.Release, r.Kernel.Kernel.Arch, r.Source.Base(), r.Source.Digest, r.Root.Key, packages, r.Kernel.Sums,
		r.Compiler.Command, r.Force)
	return "build/" + string(k.Variant) + "/" + hex.EncodeToString(h.Sum(nil))[:32]
}

// Recall returns what was remembered under key, with its files and the log in Out; nil, nil when nothing was.
// What the archive lost or cannot read is built again.
func (m *Memory) Recall(key string) (*product.Artifact, error) {
	if m.Archive == nil {
		return nil, nil
	}
	rec, ok := m.record(key)
	if !ok {
		return nil, nil
	}
	log := filepath.Join(m.Out, LogName)
	if found, err := m.fromArchive(rec.Log, log); err != nil || !found {
		return nil, err
	}
	if f := rec.Failure; f != nil {
		return nil, &cause.Err{Finding: f.Finding, What: f.What, Hint: f.Hint}
	}
	a := rec.Artifact
	a.Path, a.LogPath, a.Cached = filepath.Join(m.Out, a.File), log, true
	if found, err := m.fromArchive(a.SHA256, a.Path); err != nil || !found {
		return nil, err
	}
	for name, d := range rec.Beside {
		if found, err := m.fromArchive(d, filepath.Join(m.Out, name)); err != nil || !found {
			return nil, err
		}
	}
	return a, nil
}

func (m *Memory) record(key string) (*record, bool) {
	d, err := m.Archive.Ref(key)
	if err != nil {
		return nil, false
	}
	f, err := m.Archive.Open(d)
	if err != nil {
		return nil, false
	}
	defer f.Close()
	var rec record
	if err := json.NewDecoder(f).Decode(&rec); err != nil {
		return nil, false
	}
	if (rec.Artifact == nil) == (rec.Failure == nil) || rec.Artifact != nil && rec.Artifact.Check() != nil {
		return nil, false
	}
	for name := range rec.Beside {
		if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
			return nil, false
		}
	}
	return &rec, true
}

func (m *Memory) fromArchive(d archive.Digest, to string) (found bool, err error) {
	f, err := m.Archive.Open(d)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if err := writeFile(to, f); err != nil {
		return false, WriteErr(err)
	}
	return true, nil
}

// Remember keeps an artifact with the files beside it in Out, and a failure that is the driver's own: that would come out
// the same again. What went wrong with the tools or the machine is not kept.
func (m *Memory) Remember(ctx context.Context, key string, a *product.Artifact, failed error, beside ...string) error {
	var rec record
	var e *cause.Err
	switch {
	case m.Archive == nil:
		return nil
	case failed == nil:
		rec.Artifact = a
	case errors.As(failed, &e) && e.State == cause.Fail && e.Fault == cause.FaultDriver:
		// The text of a wrapped error is in Error() alone.
		short := *e
		short.Hint = ""
		rec.Failure = &failure{Finding: e.Finding, What: short.Error(), Hint: e.Hint}
	default:
		return nil
	}
	var err error
	if rec.Log, err = m.add(ctx, filepath.Join(m.Out, LogName)); err != nil {
		return err
	}
	if a != nil {
		if _, err := m.add(ctx, a.Path); err != nil {
			return err
		}
		for _, name := range beside {
			d, err := m.add(ctx, filepath.Join(m.Out, name))
			if err != nil {
				return err
			}
			if rec.Beside == nil {
				rec.Beside = map[string]archive.Digest{}
			}
			rec.Beside[name] = d
		}
	}
	text, err := json.Marshal(rec)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "remember build: %w", err)
	}
	d, err := m.Archive.Add(ctx, bytes.NewReader(text), maxKept)
	if err != nil {
		return err
	}
	return m.Archive.SetRef(key, d)
}

func (m *Memory) add(ctx context.Context, file string) (archive.Digest, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", WriteErr(err)
	}
	defer f.Close()
	return m.Archive.Add(ctx, f, maxKept)
}
