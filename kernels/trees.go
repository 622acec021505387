// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// Trees unpacks packages, each set once, into a cache keyed by the packages' digests.
// It is safe for concurrent use, by several processes too.
type Trees struct {
	Dir      string      // the cache; DefaultTreesDir names the usual one
	Fetcher  Fetcher     // brings the packages
	Progress func(Event) // may be nil; called from several goroutines
}

// DefaultTreesDir is $XDG_CACHE_HOME/mews/trees.
func DefaultTreesDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultInfra, "find the cache directory: %w", err).
			Advise("set XDG_CACHE_HOME or HOME")
	}
	return filepath.Join(cache, "mews", "trees"), nil
}

// recipe is raised when the same packages are to give another tree.
const recipe = "1"

// Tree fetches packages and unpacks them, in their order, into one directory; of each the files that keep (cleaned names)
// wants. name is for people who look into the cache, and stands for keep: one name, one keep.
// The directory is there whole or not at all: it is renamed into its place.
func (t *Trees) Tree(ctx context.Context, name string, packages []Package, keep func(name string) bool) (string, error) {
	return t.tree(ctx, name, packages, keep, nil)
}

// tree is Tree, and packages that are shared (may be nil) are unpacked once for all trees that hold them.
func (t *Trees) tree(ctx context.Context, name string, packages []Package, keep func(name string) bool, shared func(p Package) bool) (string, error) {
	dir, err := filepath.Abs(filepath.Join(t.Dir, name+"-"+treeKey(name, packages)))
	if err != nil {
		return "", disk.Err(err, t.Dir)
	}
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(t.Dir, 0o755); err != nil {
		return "", disk.Err(err, t.Dir)
	}
	files, err := FetchAll(ctx, t.Fetcher, packages)
	if err != nil {
		return "", err
	}
	unlock, err := disk.Lock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil // somebody else was quicker
	}
	tmp := dir + ".tmp"
	// Whoever held the lock before may have been killed in the middle.
	if err := os.RemoveAll(tmp); err != nil {
		return "", disk.Err(err, tmp)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return "", disk.Err(err, tmp)
	}
	if err := t.unpack(ctx, tmp, packages, files, keep, shared); err != nil {
		os.RemoveAll(tmp)
		return "", err
	}
	return dir, disk.Err(os.Rename(tmp, dir), dir)
}

// treeKey is what tells trees apart; 64 bits of it are plenty for the kernels there are.
func treeKey(name string, packages []Package) string {
	var digests []string
	for _, p := range packages {
		digests = append(digests, cmp.Or(string(p.Digest), p.Sum))
	}
	slices.Sort(digests)
	h := sha256.New()
	fmt.Fprintln(h, recipe, name, digests)
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func (t *Trees) unpack(ctx context.Context, dir string, packages []Package, files []string, keep func(string) bool, shared func(Package) bool) error {
	var total, done int64
	for _, p := range packages {
		total += p.Size
	}
	item := filepath.Base(dir)
	for i, p := range packages {
		grafted := false
		if shared != nil && shared(p) {
			own, err := t.Tree(ctx, "package-"+p.Name, []Package{p}, keep)
			if err != nil {
				return err
			}
			if grafted, err = graft(ctx, own, dir); err != nil {
				return err
			}
		}
		if !grafted {
			if err := Unpack(ctx, files[i], dir, keep); err != nil {
				return fmt.Errorf("unpack %s %s: %w", p.Name, p.Version, err)
			}
		}
		done += p.Size
		if t.Progress != nil {
			t.Progress(Event{Kind: EventUnpack, Item: item, Done: done, Total: total})
		}
	}
	return nil
}
