// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// manifestSchema names the form of an exported file: an uncompressed tar of manifest.json, manifest.sha256 (of the
// former) and blobs/<sha256>, in the manifest's order.
const manifestSchema = "mews/export/v1"

// manifest is the first file of an export.
type manifest struct {
	Schema string          `json:"schema"`
	Name   string          `json:"name"`
	Meta   json.RawMessage `json:"meta"` // what the exporter has to say of it
	Files  []exported      `json:"files"`
}

type exported struct {
	Digest Digest `json:"sha256"`
	Size   int64  `json:"size"`
}

// The bounds of an import. Kernels have up to a dozen packages.
const (
	maxManifest = 16 << 20
	maxExported = 1024
)

// Export writes the files with the given digests, verified, and meta, which is JSON, into one file for an Import.
// The same content makes the same bytes.
func (a *Archive) Export(ctx context.Context, w io.Writer, name string, meta any, digests ...Digest) error {
	text, err := json.Marshal(meta)
	if err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "export %s: %w", name, err)
	}
	m := manifest{Schema: manifestSchema, Name: name, Meta: text}
	for _, d := range slices.Compact(slices.Sorted(slices.Values(digests))) {
		path, err := a.Path(d)
		if err == nil {
			err = a.Verify(d)
		}
		if err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		fi, err := os.Stat(path)
		if err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		m.Files = append(m.Files, exported{d, fi.Size()})
	}
	if text, err = json.MarshalIndent(m, "", "  "); err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "export %s: %w", name, err)
	}
	out := tar.NewWriter(w)
	if err := add(out, "manifest.json", int64(len(text)), bytes.NewReader(text)); err != nil {
		return disk.Err(err, name)
	}
	sum := []byte(DigestOf(text))
	if err := add(out, "manifest.sha256", int64(len(sum)), bytes.NewReader(sum)); err != nil {
		return disk.Err(err, name)
	}
	for _, x := range m.Files {
		if err := disk.Ctx(ctx, "export "+name); err != nil {
			return err
		}
		f, err := a.Open(x.Digest)
		if err != nil {
			return fmt.Errorf("export %s: %w", name, err)
		}
		err = add(out, "blobs/"+string(x.Digest), x.Size, f)
		f.Close()
		if err != nil {
			return disk.Err(err, name)
		}
	}
	return disk.Err(out.Close(), name)
}

func add(out *tar.Writer, name string, size int64, r io.Reader) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := io.Copy(out, r)
	return err
}

// Imported is what an export holds.
type Imported struct {
	Name    string
	Meta    json.RawMessage
	Digests []Digest // now in the archive
}

// Import brings what an Export wrote into the archive: all of it, verified, or nothing. The hashes show damage; whether
// the file comes from somebody to trust they cannot show.
func (a *Archive) Import(ctx context.Context, r io.Reader) (*Imported, error) {
	in := tar.NewReader(r)
	m, err := readManifest(in)
	if err != nil {
		return nil, err
	}
	var all []*temp
	defer func() {
		for _, t := range all {
			t.discard()
		}
	}()
	for _, x := range m.Files {
		if err := next(in, "blobs/"+string(x.Digest), x.Size); err != nil {
			return nil, err
		}
		t, err := a.receive(ctx, in, x.Size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, notExport("it is cut short")
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t)
		if t.digest != x.Digest {
			return nil, notExport("the file %s in it has sha256 %s", x.Digest, t.digest)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		return nil, notExport("it goes on after the last file of its manifest")
	}
	out := &Imported{Name: m.Name, Meta: m.Meta}
	var size int64
	for _, t := range all {
		if _, err := t.keep(); err != nil {
			return nil, err
		}
		out.Digests = append(out.Digests, t.digest)
		size += t.size
	}
	return out, a.grown(ctx, size)
}

func readManifest(in *tar.Reader) (*manifest, error) {
	text, err := small(in, "manifest.json")
	if err != nil {
		return nil, err
	}
	sum, err := small(in, "manifest.sha256")
	if err != nil {
		return nil, err
	}
	if got := DigestOf(text); string(sum) != string(got) {
		return nil, notExport("its manifest has sha256 %s, not %q", got, sum)
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, notExport("its manifest: %v", err)
	}
	if m.Schema != manifestSchema {
		return nil, notExport("it has schema %q, and this mews knows %s", m.Schema, manifestSchema)
	}
	if len(m.Files) > maxExported {
		return nil, notExport("it claims %d files; %d is the limit", len(m.Files), maxExported)
	}
	for _, x := range m.Files {
		if !x.Digest.Valid() || x.Size < 0 {
			return nil, notExport("its manifest names a file %q of %d bytes", x.Digest, x.Size)
		}
	}
	return &m, nil
}

func small(in *tar.Reader, name string) ([]byte, error) {
	if err := next(in, name, -1); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(in, maxManifest+1))
	if err != nil {
		return nil, notExport("%s: %v", name, err)
	}
	if len(text) > maxManifest {
		return nil, notExport("%s has more than %d bytes", name, maxManifest)
	}
	return text, nil
}

// next goes to the next file, which must be the plain one that is expected: a sparse one could claim any size.
func next(in *tar.Reader, name string, size int64) error {
	h, err := in.Next()
	if err != nil {
		return notExport("%s: %v", name, err)
	}
	if h.Name != name || h.Typeflag != tar.TypeReg || len(h.PAXRecords) > 0 || size >= 0 && h.Size != size {
		return notExport("it holds %q of %d bytes where %s was expected", h.Name, h.Size, name)
	}
	return nil
}

func notExport(format string, args ...any) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "this is no export of mews, or it was damaged: %s", fmt.Sprintf(format, args...)).
		Advise("write it again with `mews kernels export`, and compare the checksums of both copies; nothing was imported")
}
