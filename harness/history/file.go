// SPDX-License-Identifier: Apache-2.0

package history

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is the history's name in the cache.
const File = "durations.json"

// maxFile bounds the file: 12 kernel lines, 20 drivers and all their parts have 300 KB.
const maxFile = 16 << 20

// Open reads the history of dir. note says why there is none to be had from a file that is there; it is worth telling, and
// nothing else.
func Open(dir string) (h *History, note string) {
	r, err := read(filepath.Join(dir, File))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		note = fmt.Sprintf("how long earlier runs took is forgotten: %v", err)
	}
	return &History{known: r}, note
}

func read(path string) (record, error) {
	f, err := os.Open(path)
	if err != nil {
		return record{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("%s: %w", path, err)
	}
	if r.Version != version {
		return record{}, fmt.Errorf("%s: version %d, not %d", path, r.Version, version)
	}
	for name, s := range r.Seconds {
		for _, v := range s {
			if v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
				return record{}, fmt.Errorf("%s: %s took %v s", path, name, v)
			}
		}
	}
	return r, nil
}

// Save adds this run to the history of dir, as other runs that ended meanwhile left it. A file that cannot be read is
// replaced.
func (h *History) Save(dir string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.added.Seconds) == 0 {
		return nil // nothing came to its end
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	path := filepath.Join(dir, File)
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	now, _ := read(path) // what is torn has told all it can
	text, err := json.Marshal(now.merge(h.added))
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".durations-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	_, err = tmp.Write(append(text, '\n'))
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
