// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mews-farm/mews/kernels/internal/disk"
)

// graft puts what the tree from holds into the tree to as well: its files are links to the same ones, which nobody writes to.
// It reports false, having changed nothing, when both have something of one name that is not a directory in both: what becomes
// of that is for who unpacks.
func graft(ctx context.Context, from, to string) (bool, error) {
	for _, do := range []func(name string, e fs.DirEntry) error{
		func(name string, e fs.DirEntry) error { return inTheWay(filepath.Join(to, name), e) },
		func(name string, e fs.DirEntry) error {
			return plant(filepath.Join(from, name), filepath.Join(to, name), e)
		},
	} {
		err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
			if err = errors.Join(err, ctx.Err()); err != nil || path == from {
				return err
			}
			name, err := filepath.Rel(from, path)
			if err != nil {
				return err
			}
			return do(name, e)
		})
		switch {
		case errors.Is(err, errInTheWay):
			return false, nil
		case ctx.Err() != nil:
			return false, disk.Ctx(ctx, "unpack "+filepath.Base(from))
		case err != nil:
			return false, disk.Err(err, to)
		}
	}
	return true, nil
}

var errInTheWay = errors.New("something else is there")

// inTheWay says that an entry cannot be at path besides what is there, and leaves out of the walk what nothing is in the way of.
func inTheWay(path string, e fs.DirEntry) error {
	there, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if e.IsDir() {
			return fs.SkipDir
		}
		return nil
	case err != nil:
		return err
	case !e.IsDir() || !there.IsDir():
		return errInTheWay
	}
	return nil
}

// plant makes an entry of one tree one of another, of which all directories that lead to it are its own.
func plant(from, to string, e fs.DirEntry) error {
	switch {
	case e.Type() == fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case !e.IsDir():
		return os.Link(from, to)
	}
	fi, err := e.Info()
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.Chmod(to, fi.Mode().Perm())
}
