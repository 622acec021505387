// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// scratch is a directory that builds work in. It is locked as long as its process lives, by which those that a killed
// process left are told and removed.
type scratch struct {
	dir  string
	lock *os.File
}

const scratchPrefix = "build-"

// openScratch makes a directory below parent, and removes what killed runs left there.
func openScratch(parent string) (*scratch, error) {
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return nil, scratchErr(err)
	}
	sweep(parent)
	for {
		dir, err := os.MkdirTemp(parent, scratchPrefix)
		if err != nil {
			return nil, scratchErr(err)
		}
		if lock := hold(dir); lock != nil {
			return &scratch{dir, lock}, nil
		}
		// Another run took it for one that was left, before it was locked.
	}
}

// hold locks dir, or returns nil when somebody else did or removed it.
func hold(dir string) *os.File {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
		if _, err := os.Stat(dir); err == nil {
			return f
		}
	}
	f.Close()
	return nil
}

func (s *scratch) close() error {
	return errors.Join(os.RemoveAll(s.dir), s.lock.Close())
}

// sweep removes the directories that nobody holds. What cannot be removed is left for the next who tries.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), scratchPrefix) {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		if lock := hold(dir); lock != nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

func scratchErr(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "make a directory to build in: %w", err).Advise("free some space")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "make a directory to build in: %w", err)
}
