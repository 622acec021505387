// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// SetRef gives a held file a name, such as debian/trixie-security. A name is changed at once or not at all.
func (a *Archive) SetRef(name string, d Digest) error {
	if _, err := a.Path(d); err != nil {
		return err
	}
	path, err := a.ref(name)
	if err != nil {
		return err
	}
	return a.replace(path, []byte(d))
}

// Ref returns what SetRef last named so. A name never set is [os.ErrNotExist].
func (a *Archive) Ref(name string) (Digest, error) {
	path, err := a.ref(name)
	if err != nil {
		return "", err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("archive: %w", err)
	}
	if d := Digest(b); d.Valid() {
		return d, nil
	}
	return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "archive name %s does not hold a digest", path).
		Advise("remove that file")
}

func (a *Archive) ref(name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "invalid archive name %q", name)
	}
	return filepath.Join(a.dir, "refs", name), nil
}

// replace writes a small file at once or not at all.
func (a *Archive) replace(path string, content []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return disk.Err(err, dir)
	}
	f, err := a.create("tmp")
	if err != nil {
		return disk.Err(err, path)
	}
	defer f.Close()
	defer os.Remove(f.Name()) // in vain once it was renamed
	if _, err := f.Write(content); err != nil {
		return disk.Err(err, path)
	}
	if err := f.Sync(); err != nil {
		return disk.Err(err, path)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return disk.Err(err, path)
	}
	return disk.Err(syncDir(dir), dir)
}
