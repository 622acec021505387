// SPDX-License-Identifier: Apache-2.0

// Package disk knows how a full disk shows, and how to hold a file lock until a deadline.
package disk

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// Err gives an error from writing path its cause: DISK_FULL where the disk or the quota is at its end.
// An error that has a cause keeps it.
func Err(err error, path string) error {
	if err == nil {
		return nil
	}
	var c *cause.Err
	if errors.As(err, &c) {
		return err
	}
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "write %s: %w", path, err).
			Advise("free some space there, or point XDG_CACHE_HOME to a larger disk")
	}
	return cause.Errorf(cause.Internal, cause.FaultHarness, "write %s: %w", path, err)
}

// Ctx gives the error of an ended context its cause.
func Ctx(ctx context.Context, what string) error {
	if ctx.Err() == nil {
		return nil
	}
	return cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: %w", what, context.Cause(ctx))
}

// lockPoll is how often a lock that somebody else holds is tried again: flock(2) has no deadline,
// and a blocked one cannot be cancelled from Go.
const lockPoll = 50 * time.Millisecond

// Lock takes an exclusive flock(2) on path, which it makes when needed, and returns what gives it back.
// The kernel gives it back for a process that is killed.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, Err(err, path)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, Ctx(ctx, "wait for the lock "+path)
		case <-time.After(lockPoll):
		}
	}
}
