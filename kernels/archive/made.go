// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// What was made of kept files and can be made again is kept in made/<name>/, each a directory of files that never change.
// It counts by the blocks that it takes on the disk, as it may have holes, and goes like the files do, by its last use. It is
// held by nobody: who has a file of it open keeps that until it closes it.

// Made is the directory of what was made under a name, and notes its use; [os.ErrNotExist] if nothing was.
func (a *Archive) Made(name string) (string, error) {
	dir, err := a.made(name)
	if err != nil {
		return "", err
	}
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil {
		return "", disk.Err(err, dir)
	}
	return dir, nil
}

// Make has fill write the files of what is to be had under a name. They appear all at once, or not at all. If another was
// quicker, its are kept.
func (a *Archive) Make(ctx context.Context, name string, fill func(dir string) error) (err error) {
	dir, err := a.made(name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return disk.Err(err, dir)
	}
	tmp, lock, err := a.createDir()
	if err != nil {
		return disk.Err(err, filepath.Join(a.dir, "tmp"))
	}
	defer lock.Close()
	defer os.RemoveAll(tmp)
	if err := fill(tmp); err != nil {
		return disk.Err(err, tmp)
	}
	size, err := blocks(tmp)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
		return disk.Err(err, dir)
	}
	return a.grown(ctx, size)
}

// Unmake removes what was made under a name, if anything was.
func (a *Archive) Unmake(name string) error {
	dir, err := a.made(name)
	if err != nil {
		return err
	}
	return a.discardMade(dir)
}

// discardMade takes the name away first: nobody finds a half.
func (a *Archive) discardMade(dir string) error {
	tmp, lock, err := a.createDir()
	if err != nil {
		return disk.Err(err, filepath.Join(a.dir, "tmp"))
	}
	defer lock.Close()
	defer os.RemoveAll(tmp)
	if err := os.Rename(dir, filepath.Join(tmp, "gone")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return disk.Err(err, dir)
	}
	return nil
}

func (a *Archive) made(name string) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "%q cannot be the name of something made", name)
	}
	return filepath.Join(a.dir, "made", name), nil
}

// createDir makes a directory in tmp that its lock protects from sweep.
func (a *Archive) createDir() (string, *os.File, error) {
	for {
		dir, err := os.MkdirTemp(filepath.Join(a.dir, "tmp"), "made-")
		if err != nil {
			return "", nil, err
		}
		f, err := os.Open(dir)
		if err == nil && unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			if _, err := os.Stat(dir); err == nil {
				return dir, f, nil
			}
		}
		f.Close() // a sweep was quicker than the lock
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", nil, err
		}
	}
}

// blocks is what a directory's files take on the disk, in bytes.
func blocks(dir string) (int64, error) {
	var n int64
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		n += fi.Sys().(*syscall.Stat_t).Blocks * 512
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) { // another evicts
		err = nil
	}
	if err != nil {
		return 0, cause.Errorf(cause.Internal, cause.FaultInfra, "see what %s takes on the disk: %w", dir, err)
	}
	return n, nil
}

// allMade lists what was made.
func (a *Archive) allMade() ([]blob, error) {
	entries, err := os.ReadDir(filepath.Join(a.dir, "made"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "list the archive: %w", err)
	}
	var all []blob
	for _, e := range entries {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.IsDir() {
			continue
		}
		if err != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "list the archive: %w", err)
		}
		dir := filepath.Join(a.dir, "made", e.Name())
		n, err := blocks(dir)
		if err != nil {
			return nil, err
		}
		all = append(all, blob{size: n, used: fi.ModTime(), made: dir})
	}
	return all, nil
}
