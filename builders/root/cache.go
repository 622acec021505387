// SPDX-License-Identifier: Apache-2.0

// Package root knows how to make a file tree to build in, and a disk for a guest, out of Debian packages without
// running anything that is in them.
package root

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Cache makes roots and disks, each once, and keeps them by the digests of what they are made of.
// It is safe for concurrent use, by several processes too.
type Cache struct {
	Dir      string              // DefaultDir names the usual one
	Fetcher  kernels.Fetcher     // brings the packages; not asked for what is made already
	Progress func(kernels.Event) // may be nil; called from several goroutines
}

// DefaultDir is $XDG_CACHE_HOME/mews/roots.
func DefaultDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultInfra, "no cache directory: %w", err).Advise("set HOME or XDG_CACHE_HOME")
	}
	return filepath.Join(base, "mews", "roots"), nil
}

// key is the digest of what a product is made of: its kind, the recipe, the packages and whatever else is said.
func key(kind string, pkgs []kernels.Package, more ...string) string {
	digests := make([]string, 0, len(pkgs))
	for _, p := range pkgs {
		digests = append(digests, string(p.Digest))
	}
	slices.Sort(digests)
	h := sha256.New()
	for _, s := range slices.Concat([]string{kind, recipeVersion}, digests, more) {
		fmt.Fprintf(h, "%d:%s\n", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))[:32]
}

// fetch brings the packages, and returns their paths in the order of names: the result must not depend on the caller's.
func (c *Cache) fetch(ctx context.Context, pkgs []kernels.Package) ([]string, error) {
	pkgs = slices.Clone(pkgs)
	slices.SortFunc(pkgs, func(a, b kernels.Package) int {
		if d := strings.Compare(a.Name, b.Name); d != 0 {
			return d
		}
		return strings.Compare(string(a.Digest), string(b.Digest))
	})
	return kernels.FetchAll(ctx, c.Fetcher, pkgs)
}

// once returns the path of product name, which build makes at the path it is given when it is not there yet.
// What a killed process leaves behind is never taken for the product.
func (c *Cache) once(ctx context.Context, name string, build func(tmp string) error) (string, error) {
	final := filepath.Join(c.Dir, name)
	if _, err := os.Lstat(final); err == nil {
		return final, nil
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return "", diskErr("make "+c.Dir, err)
	}
	unlock, err := lock(ctx, final+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Lstat(final); err == nil {
		return final, nil // another process made it meanwhile
	}
	tmp := final + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return "", diskErr("remove what an interrupted run left in "+tmp, err)
	}
	if err := build(tmp); err != nil {
		if cleanup := os.RemoveAll(tmp); cleanup != nil {
			return "", errors.Join(err, cleanup)
		}
		return "", err
	}
	if err := syncAll(tmp); err != nil {
		return "", diskErr("write "+final, err)
	}
	if err := os.Rename(tmp, final); err != nil {
		return "", diskErr("write "+final, err)
	}
	return final, nil
}

// lock takes the lock file, which is left in place: to remove it would race with its next holder.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, diskErr("lock "+file, err)
	}
	got := make(chan error, 1)
	go func() { got <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-got:
		if err != nil {
			f.Close()
			return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "lock %s: %w", file, err)
		}
		return func() { f.Close() }, nil
	case <-ctx.Done():
		go func() { // the lock may still come; it is given back then
			<-got
			f.Close()
		}()
		return nil, cause.Errorf(cause.Cancelled, cause.FaultInfra, "waiting for another process that makes %s: %w", filepath.Base(file), context.Cause(ctx))
	}
}

// syncAll flushes the file system that holds p: one call is far cheaper than one for each of ten thousand files.
func syncAll(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// diskErr tells a full disk from the other ways in which writing fails. An error that has a cause keeps it.
func diskErr(what string, err error) error {
	var known *cause.Err
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "%s: %w", what, err).Advise("free some space, or set XDG_CACHE_HOME to where there is more")
	}
	return cause.Errorf(cause.Internal, cause.FaultInfra, "%s: %w", what, err)
}

// Digests of the packages, sorted.
func digests(pkgs []kernels.Package) []archive.Digest {
	out := make([]archive.Digest, 0, len(pkgs))
	for _, p := range pkgs {
		out = append(out, p.Digest)
	}
	slices.Sort(out)
	return out
}
