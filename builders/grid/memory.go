// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// recipe is part of every key: a change of what is remembered makes all cells anew.
const recipe = "1"

// maxRecord bounds what is remembered of a cell, and maxFile its artifact and its log, in bytes. Falco's module with
// its debug information stripped has 700 KB, the legacy probe 5 MB.
const (
	maxRecord = 1 << 20
	maxFile   = 256 << 20
)

// Key is the digest of the inputs.
func (in *Inputs) Key() string {
	text, err := json.Marshal(in)
	if err != nil {
		panic(err) // strings and lists of them
	}
	h := sha256.Sum256(append([]byte(recipe+"\n"), text...))
	return hex.EncodeToString(h[:])
}

// made reports whether an artifact was built of these inputs. How it was built, the recipe, an artifact does not tell: an
// older mews may have made it otherwise, of the same sources with the same tools.
func (in *Inputs) made(a *product.Artifact) bool {
	return a.Kernel == in.Kernel && a.Variant == in.Variant && a.Source == in.Source && a.Root == in.Root &&
		a.Compiler.Command == in.Compiler && (a.Broken == nil || in.Forced) &&
		slices.Equal(a.Headers, in.Headers) && slices.Equal(a.HeaderSums, in.Sums)
}

// memory keeps what cells came to in the archive, by the key of their inputs: the journal by which a run that was killed
// goes on, and why a grid that did not change costs nothing.
type memory struct{ archive *archive.Archive }

// record is what is kept of a cell. The artifact and the log are files of the archive by themselves.
type record struct {
	Finding  cause.Finding     `json:"finding"`
	Next     string            `json:"next,omitempty"`
	Stage    string            `json:"stage"`
	Artifact *product.Artifact `json:"artifact,omitempty"`
	Log      archive.Digest    `json:"log,omitempty"`
	Seconds  float64           `json:"seconds"`
}

func ref(key string) string { return "grid/" + key[:2] + "/" + key[2:] }

// recall fills r in with what was remembered of its inputs. What the archive lost or cannot read is built again.
func (m memory) recall(r *Result) bool {
	d, err := m.archive.Ref(ref(r.Inputs.Key()))
	if err != nil {
		return false
	}
	f, err := m.archive.Open(d)
	if err != nil {
		return false
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxRecord))
	if err != nil {
		return false
	}
	rec, err := parseRecord(text)
	if err != nil || rec.Artifact != nil && !r.Inputs.made(rec.Artifact) {
		return false
	}
	logPath, err := m.archive.Path(rec.Log)
	if err != nil && rec.Log != "" {
		return false
	}
	if a := rec.Artifact; a != nil {
		if a.Path, err = m.archive.Path(a.SHA256); err != nil {
			return false
		}
		a.LogPath, a.Cached = logPath, true
	}
	r.Finding, r.Next, r.Stage, r.Origin = rec.Finding, rec.Next, rec.Stage, Remembered
	r.Artifact, r.Log, r.LogPath, r.Seconds = rec.Artifact, rec.Log, logPath, rec.Seconds
	return true
}

// parseRecord reads a record, which somebody may have written over.
func parseRecord(text []byte) (*record, error) {
	var rec record
	if err := json.Unmarshal(text, &rec); err != nil {
		return nil, err
	}
	if err := rec.Finding.Check(); err != nil {
		return nil, err
	}
	if (rec.Finding.State == cause.Pass) != (rec.Artifact != nil) {
		return nil, errors.New("a pass has an artifact, and nothing else has")
	}
	if !lasting(rec.Finding) {
		return nil, errors.New("is no result that lasts")
	}
	if rec.Artifact != nil {
		if err := rec.Artifact.Check(); err != nil {
			return nil, err
		}
	}
	return &rec, nil
}

// lasting tells results that the same input would come to again from those of a bad day: a full disk, a mirror that is
// down, a builder that lacks a tool. That the compiler does not keep the kernel's promises is of the input.
func lasting(f cause.Finding) bool {
	switch f.State {
	case cause.Pass, cause.Fail, cause.Unsupported:
		return true
	case cause.Error:
		return f.Cause == cause.ToolchainMismatch
	}
	return false
}

// keep puts the artifact and the log of r, which lie in a directory that will be gone, into the archive, and remembers r
// when it lasts.
func (m memory) keep(ctx context.Context, r *Result, log string) error {
	var err error
	if r.Log, r.LogPath, err = m.add(ctx, log); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if a := r.Artifact; a != nil {
		d, path, err := m.add(ctx, a.Path)
		if err != nil {
			return err
		}
		if d != a.SHA256 {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "%s changed after it was built: it had digest %s, and has %s", a.File, a.SHA256, d)
		}
		a.Path, a.LogPath = path, r.LogPath
	}
	if !lasting(r.Finding) {
		return nil
	}
	text, err := json.Marshal(record{r.Finding, r.Next, r.Stage, r.Artifact, r.Log, r.Seconds})
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "remember %s: %w", r.ID, err)
	}
	d, err := m.archive.Add(ctx, bytes.NewReader(text), maxRecord)
	if err != nil {
		return err
	}
	return m.archive.SetRef(ref(r.Inputs.Key()), d)
}

// add puts a file into the archive, and says where it is there.
func (m memory) add(ctx context.Context, file string) (archive.Digest, string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", err
	}
	if err != nil {
		return "", "", cause.Errorf(cause.Internal, cause.FaultInfra, "keep a build: %w", err)
	}
	defer f.Close()
	d, err := m.archive.Add(ctx, f, maxFile)
	if err != nil {
		return "", "", err
	}
	path, err := m.archive.Path(d)
	return d, path, err
}
