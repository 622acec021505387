// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// holds is what this process was given and may be using.
type holds struct {
	mu   sync.Mutex
	file *os.File // lists them; its lock ends with the process, however that ends
	has  map[Digest]bool
}

// hold keeps the file with digest d, there already or not, from being evicted while this process lives, and notes its use.
func (a *Archive) hold(d Digest) error {
	h := &a.holds
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.has[d] {
		return nil
	}
	unlock, err := a.lockEviction(unix.LOCK_SH)
	if err != nil {
		return err
	}
	defer unlock()
	if h.file == nil {
		if h.file, err = a.create("holds"); err != nil {
			return disk.Err(err, filepath.Join(a.dir, "holds"))
		}
		h.has = map[Digest]bool{}
	}
	if _, err := h.file.WriteString(string(d) + "\n"); err != nil {
		return disk.Err(err, h.file.Name())
	}
	h.has[d] = true
	// A file of another user's, or none yet: it is dated by its writer then.
	now := time.Now()
	_ = os.Chtimes(a.blob(d)+".ok", now, now)
	return nil
}

// lockEviction takes the lock that keeps who holds and who evicts apart. Evictions only unlink, and are short.
func (a *Archive) lockEviction(how int) (unlock func(), err error) {
	path := filepath.Join(a.dir, "evict.lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, disk.Err(err, path)
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "lock %s: %w", path, err)
		}
	}
}

// Pin keeps files from being evicted until Unpin, under a name such as a kernel's. A name that was there is replaced.
func (a *Archive) Pin(name string, digests ...Digest) error {
	path, err := a.pin(name)
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, d := range slices.Sorted(slices.Values(digests)) {
		if _, err := a.Path(d); err != nil { // and holds it until the pin does
			return err
		}
		text.WriteString(string(d) + "\n")
	}
	return a.replace(path, []byte(text.String()))
}

// Unpin undoes Pin. A name that is no pin is [os.ErrNotExist].
func (a *Archive) Unpin(name string) error {
	path, err := a.pin(name)
	if err != nil {
		return err
	}
	return os.Remove(path)
}

// Pins lists the names of the pins.
func (a *Archive) Pins() ([]string, error) {
	dir, err := os.ReadDir(filepath.Join(a.dir, "pins"))
	if err != nil {
		return nil, disk.Err(err, filepath.Join(a.dir, "pins"))
	}
	var out []string
	for _, e := range dir {
		out = append(out, e.Name())
	}
	return out, nil
}

func (a *Archive) pin(name string) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "%q cannot be the name of a pin", name).
			Advise("it names a file: leave out slashes")
	}
	return filepath.Join(a.dir, "pins", name), nil
}

// held reads what must not be evicted: what living processes were given, what is pinned, and what has a name.
func (a *Archive) held() (map[Digest]bool, error) {
	a.sweep() // of processes that ended
	held := map[Digest]bool{}
	for _, sub := range []string{"holds", "pins", "refs"} {
		err := filepath.WalkDir(filepath.Join(a.dir, sub), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for line := range bytes.Lines(text) {
				held[Digest(bytes.TrimSpace(line))] = true
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "see what the archive must keep: %w", err)
		}
	}
	return held, nil
}
