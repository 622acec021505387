// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/mews-farm/mews/results/cause"
)

// Path returns the path of the file with digest d, verified: a file that looks as it did when it was last hashed is
// taken at its word, any other is hashed. A file that is not held is [os.ErrNotExist]. The file stays as long as this
// process lives, whatever another evicts.
func (a *Archive) Path(d Digest) (string, error) {
	if !d.Valid() {
		return "", invalid(d)
	}
	if err := a.hold(d); err != nil {
		return "", err
	}
	path := a.blob(d)
	fi, err := os.Lstat(path)
	if err != nil {
		return "", fmt.Errorf("archive: %w", err)
	}
	if note, err := os.ReadFile(path + ".ok"); err == nil && string(note) == look(fi) {
		return path, nil
	}
	if err := a.Verify(d); err != nil {
		return "", err
	}
	return path, nil
}

// Verify hashes the file with digest d again, whatever is remembered about it.
func (a *Archive) Verify(d Digest) error {
	if !d.Valid() {
		return invalid(d)
	}
	path := a.blob(d)
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read %s: %w", path, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != string(d) {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "archived file %s was altered: its sha256 is now %s", path, got).
			Advise("remove that file, so that it is fetched again")
	}
	fi, err := f.Stat()
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read %s: %w", path, err)
	}
	a.remember(path, fi)
	return nil
}

// remember notes how the file at path looked when its content was hashed. It is a cache: where it cannot be written,
// or is torn by a crash, the file is hashed once more.
func (a *Archive) remember(path string, fi fs.FileInfo) {
	f, err := a.create("tmp")
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteString(look(fi)); err != nil || os.Rename(f.Name(), path+".ok") != nil {
		os.Remove(f.Name())
	}
}

func look(fi fs.FileInfo) string {
	var inode uint64
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprintf("%s %d %d %d\n", fi.Mode().Type(), fi.Size(), fi.ModTime().UnixNano(), inode)
}
