// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// blob is a kept file, or a directory of something made.
type blob struct {
	digest Digest
	size   int64
	used   time.Time // its last use
	made   string    // the directory of something made; then there is no digest
}

// blobs lists what is kept, and the notes whose file is gone: whoever removed it was killed in between.
func (a *Archive) blobs() (all []blob, orphans []string, err error) {
	dirs, err := filepath.Glob(filepath.Join(a.dir, "blobs", "*"))
	if err != nil {
		return nil, nil, disk.Err(err, a.dir)
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, nil, cause.Errorf(cause.Internal, cause.FaultInfra, "list the archive: %w", err)
		}
		notes, found := map[Digest]time.Time{}, map[Digest]bool{}
		for _, e := range entries {
			fi, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // another evicts
			}
			if err != nil {
				return nil, nil, cause.Errorf(cause.Internal, cause.FaultInfra, "list the archive: %w", err)
			}
			name, note := strings.CutSuffix(e.Name(), ".ok")
			switch d := Digest(name); {
			case !d.Valid() || !fi.Mode().IsRegular():
			case note:
				notes[d] = fi.ModTime()
			default:
				found[d] = true
				all = append(all, blob{digest: d, size: fi.Size(), used: fi.ModTime()})
			}
		}
		for i := range all {
			if used, ok := notes[all[i].digest]; ok {
				all[i].used = used
			}
		}
		for d := range notes {
			if !found[d] {
				orphans = append(orphans, a.blob(d)+".ok")
			}
		}
	}
	made, err := a.allMade()
	return append(all, made...), orphans, err
}

// Size is how many bytes the kept files have, and what was made of them takes on the disk.
func (a *Archive) Size() (int64, error) {
	all, _, err := a.blobs()
	return sum(all), err
}

func sum(all []blob) int64 {
	var n int64
	for _, b := range all {
		n += b.size
	}
	return n
}

// Eviction is what an Evict did.
type Eviction struct {
	Files int   // removed, and directories of what was made
	Bytes int64 // removed
	Left  int64 // bytes; above the limit when Held is
	Held  int64 // bytes of what is left that could not go
}

// Evict removes the least recently used files until at most limit bytes are left. What a living process was given, what
// is pinned and what has a name stays, even if that is more.
func (a *Archive) Evict(ctx context.Context, limit int64) (Eviction, error) {
	if err := disk.Ctx(ctx, "make room in the archive"); err != nil {
		return Eviction{}, err
	}
	unlock, err := a.lockEviction(unix.LOCK_EX)
	if err != nil {
		return Eviction{}, err
	}
	defer unlock()
	held, err := a.held()
	if err != nil {
		return Eviction{}, err
	}
	all, orphans, err := a.blobs()
	if err != nil {
		return Eviction{}, err
	}
	for _, path := range orphans {
		os.Remove(path)
	}
	slices.SortFunc(all, func(a, b blob) int {
		return cmp.Or(a.used.Compare(b.used), strings.Compare(string(a.digest), string(b.digest)))
	})
	out := Eviction{Left: sum(all)}
	for _, b := range all {
		if b.made == "" && held[b.digest] {
			out.Held += b.size
			continue
		}
		if out.Left <= limit {
			continue
		}
		if b.made != "" {
			if err := a.discardMade(b.made); err != nil {
				return out, err
			}
		} else {
			path := a.blob(b.digest)
			if err := os.Remove(path); err != nil {
				return out, disk.Err(err, path)
			}
			os.Remove(path + ".ok") // an orphan's is removed the next time
		}
		out.Files++
		out.Bytes += b.size
		out.Left -= b.size
	}
	return out, nil
}

// SetLimit sets above how many bytes Put and Add evict, in this and every later process; 0: never.
func (a *Archive) SetLimit(bytes int64) error {
	path := filepath.Join(a.dir, "limit")
	if bytes > 0 {
		return a.replace(path, []byte(strconv.FormatInt(bytes, 10)+"\n"))
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Err(err, path)
	}
	return nil
}

// Limit is what SetLimit set; 0: none.
func (a *Archive) Limit() (int64, error) {
	path := filepath.Join(a.dir, "limit")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	n, perr := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err = cmp.Or(err, perr); err != nil || n <= 0 {
		return 0, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s does not hold a limit in bytes: %w", path, err).
			Advise("set it with `mews kernels archive --limit SIZE`, or remove that file")
	}
	return n, nil
}

// room is what this process knows of how full the archive is, so as not to list it at each Put.
type room struct {
	mu    sync.Mutex
	known bool
	size  int64 // when last listed, and what this process put since
	again int64 // do not evict below this size: the last time there was nothing to gain
}

// grown evicts when n new bytes made the archive too large.
func (a *Archive) grown(ctx context.Context, n int64) error {
	limit, err := a.Limit()
	if err != nil || limit == 0 {
		return err
	}
	r := &a.room
	r.mu.Lock()
	defer r.mu.Unlock()
	r.size += n
	if !r.known {
		if r.size, err = a.Size(); err != nil {
			return err
		}
		r.known = true
	}
	if r.size <= max(limit, r.again) {
		return nil
	}
	e, err := a.Evict(ctx, limit)
	if err != nil {
		return err
	}
	r.size, r.again = e.Left, 0
	if e.Left > limit {
		r.again = e.Left + e.Left/20
	}
	return nil
}
