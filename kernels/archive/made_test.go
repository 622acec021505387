// SPDX-License-Identifier: Apache-2.0

package archive_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/archive"
)

func TestMadeIsThereWholeOrNotAtAll(t *testing.T) {
	ctx := context.Background()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Made("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("something that was never made: %v", err)
	}
	failed := errors.New("failed")
	if err := a.Make(ctx, "x", func(dir string) error {
		os.WriteFile(filepath.Join(dir, "half"), nil, 0o600)
		return failed
	}); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if _, err := a.Made("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("a half: %v", err)
	}
	fill := func(text string) func(string) error {
		return func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte(text), 0o600) }
	}
	for _, text := range []string{"first", "second"} {
		if err := a.Make(ctx, "x", fill(text)); err != nil {
			t.Fatal(err)
		}
	}
	dir, err := a.Made("x")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(got) != "first" {
		t.Errorf("%q, %v", got, err)
	}
	if left, _ := os.ReadDir(filepath.Join(a.Dir(), "tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	for range 2 {
		if err := a.Unmake("x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Made("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed, and there: %v", err)
	}
	for _, name := range []string{"", ".", "..", "a/b", "/a"} {
		if err := a.Make(ctx, name, fill("")); err == nil {
			t.Errorf("%q is taken for a name", name)
		}
	}
}

// What was made counts by the blocks it takes, and the least recently used goes first, be it a file or made.
func TestMadeIsEvicted(t *testing.T) {
	ctx := context.Background()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"old", "new"} {
		if err := a.Make(ctx, name, func(dir string) error {
			f, err := os.Create(filepath.Join(dir, "memory"))
			if err != nil {
				return err
			}
			defer f.Close()
			if _, err := f.WriteAt([]byte(strings.Repeat("x", 64<<10)), 0); err != nil {
				return err
			}
			return f.Truncate(1 << 30) // a hole
		}); err != nil {
			t.Fatal(err)
		}
	}
	size, err := a.Size()
	if err != nil || size < 128<<10 || size > 1<<20 {
		t.Fatalf("size %d, %v", size, err)
	}
	old, err := a.Made("old")
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old, long, long); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(filepath.Join(old, "memory"))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	e, err := a.Evict(ctx, size*3/4)
	if err != nil || e.Files != 1 || e.Bytes != size/2 {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := a.Made("old"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the older is still there: %v", err)
	}
	if _, err := a.Made("new"); err != nil {
		t.Error(err)
	}
	if n, err := open.Read(make([]byte, 10)); n != 10 {
		t.Errorf("who has it open lost it: %v", err)
	}
}

// A process that was killed while it made something leaves nothing for ever.
func TestMadeHalfIsSwept(t *testing.T) {
	dir := t.TempDir()
	if _, err := archive.New(dir); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(dir, "tmp", "made-123")
	if err := os.MkdirAll(half, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "memory"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.New(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}
