// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// shelve puts ten-byte files, the first the least recently used, by a process that is gone by now.
func shelve(t *testing.T, dir string, contents ...string) []Digest {
	t.Helper()
	a := open(t, dir)
	var out []Digest
	for i, c := range contents {
		d, err := a.Add(t.Context(), strings.NewReader(c), 10)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1e9+int64(i), 0)
		if err := os.Chtimes(a.blob(d)+".ok", at, at); err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	if err := a.holds.file.Close(); err != nil { // as its end does
		t.Fatal(err)
	}
	return out
}

const one, two, three = "1111111111", "2222222222", "3333333333"

// left says which of the digests a has, without using them.
func left(a *Archive, digests []Digest) string {
	var out []string
	for i, d := range digests {
		if _, err := os.Stat(a.blob(d)); err == nil {
			out = append(out, string('1'+rune(i)))
		}
	}
	return strings.Join(out, " ")
}

func TestEvict(t *testing.T) {
	for _, tc := range []struct {
		name  string
		limit int64
		keep  func(a *Archive, d []Digest) error
		want  string
		e     Eviction
	}{
		{"there is room", 30, nil, "1 2 3", Eviction{Left: 30}},
		{"the least recently used goes", 29, nil, "2 3", Eviction{Files: 1, Bytes: 10, Left: 20}},
		{"all", 0, nil, "", Eviction{Files: 3, Bytes: 30}},
		{"used", 10, func(a *Archive, d []Digest) error {
			b, err := New(a.Dir())
			if err != nil {
				return err
			}
			_, err = b.Path(d[0])
			return errors.Join(err, b.holds.file.Close())
		}, "1", Eviction{Files: 2, Bytes: 20, Left: 10}},
		{"in use", 0, func(a *Archive, d []Digest) error { _, err := a.Path(d[1]); return err }, "2", Eviction{Files: 2, Bytes: 20, Left: 10, Held: 10}},
		{"pinned", 0, func(a *Archive, d []Digest) error {
			b, err := New(a.Dir())
			if err != nil {
				return err
			}
			return errors.Join(b.Pin("mine", d[2], d[0]), b.holds.file.Close())
		}, "1 3", Eviction{Files: 1, Bytes: 10, Left: 20, Held: 20}},
		{"unpinned", 0, func(a *Archive, d []Digest) error {
			b, err := New(a.Dir())
			if err != nil {
				return err
			}
			return errors.Join(b.Pin("mine", d[2]), b.Unpin("mine"), b.holds.file.Close())
		}, "", Eviction{Files: 3, Bytes: 30}},
		{"named", 0, func(a *Archive, d []Digest) error {
			b, err := New(a.Dir())
			if err != nil {
				return err
			}
			return errors.Join(b.SetRef("debian/sid", d[1]), b.holds.file.Close())
		}, "2", Eviction{Files: 2, Bytes: 20, Left: 10, Held: 10}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			digests := shelve(t, dir, one, two, three)
			a := open(t, dir)
			if tc.keep != nil {
				if err := tc.keep(a, digests); err != nil {
					t.Fatal(err)
				}
			}
			e, err := a.Evict(t.Context(), tc.limit)
			if err != nil || e != tc.e {
				t.Errorf("%+v, %v", e, err)
			}
			if got := left(a, digests); got != tc.want {
				t.Errorf("left: %s", got)
			}
			if size, err := a.Size(); err != nil || size != tc.e.Left {
				t.Errorf("size %d, %v", size, err)
			}
			notes, _ := filepath.Glob(filepath.Join(dir, "blobs", "*", "*.ok"))
			if n := len(strings.Fields(tc.want)); len(notes) != n {
				t.Errorf("%d notes of %d files", len(notes), n)
			}
		})
	}
}

func TestEvictSparesALivingProcess(t *testing.T) {
	dir := t.TempDir()
	d := shelve(t, dir, one)
	p := start(t, dir, childHolds+"="+string(d[0]))
	a := open(t, dir)
	if e, err := a.Evict(t.Context(), 0); err != nil || e.Held != 10 || left(a, d) != "1" {
		t.Errorf("what a living process was given is gone: %+v, %v", e, err)
	}
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.Wait() // says that it was killed
	if e, err := a.Evict(t.Context(), 0); err != nil || e.Files != 1 {
		t.Errorf("a killed process still holds: %+v, %v", e, err)
	}
	if holds, _ := filepath.Glob(filepath.Join(dir, "holds", "*")); len(holds) > 0 {
		t.Errorf("not swept up: %v", holds)
	}
}

func TestEvictSparesWhatIsBeingPut(t *testing.T) {
	a := open(t, t.TempDir())
	p := start(t, a.Dir())
	if _, err := a.Evict(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	path := p.finish(t)
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestEvictRemovesOrphanedNotes(t *testing.T) {
	dir := t.TempDir()
	d := shelve(t, dir, one)
	a := open(t, dir)
	if err := os.Remove(a.blob(d[0])); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Evict(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	if got := files(t, a); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
	if _, err := os.Stat(a.blob(d[0]) + ".ok"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the note of a file that is gone stays: %v", err)
	}
}

func TestLimit(t *testing.T) {
	dir := t.TempDir()
	old := shelve(t, dir, one, two)
	if err := open(t, dir).SetLimit(25); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir)
	if n, err := a.Limit(); n != 25 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	d, err := a.Add(t.Context(), strings.NewReader(three), 10)
	if err != nil {
		t.Fatal(err)
	}
	if got := left(a, append(slices.Clone(old), d)); got != "2 3" {
		t.Errorf("left: %s", got)
	}
	b := open(t, dir)
	if err := a.holds.file.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), old[0], 10, strings.NewReader(one)); err != nil {
		t.Fatal(err)
	}
	if got := left(b, append(slices.Clone(old), d)); got != "1 3" {
		t.Errorf("left: %s", got)
	}
	a = b
	// All of this process's own stays, even above the limit.
	for _, c := range []string{two, three} {
		if _, err := a.Put(t.Context(), DigestOf([]byte(c)), 10, strings.NewReader(c)); err != nil {
			t.Fatal(err)
		}
	}
	if got := left(a, append(slices.Clone(old), d)); got != "1 2 3" {
		t.Errorf("left: %s", got)
	}
	if err := a.SetLimit(0); err != nil {
		t.Fatal(err)
	}
	if n, err := a.Limit(); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "limit"), []byte("many"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Limit(); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("got %v", err)
	}
}

func TestPins(t *testing.T) {
	a := open(t, t.TempDir())
	if err := a.Pin("x", DigestOf([]byte("not there"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pinned what is not there: %v", err)
	}
	for _, bad := range []string{"", ".", "..", "../x", "a/b"} {
		if err := a.Pin(bad); err == nil {
			t.Errorf("%q is the name of a pin", bad)
		}
	}
	if err := a.Pin("debian:6.1"); err != nil {
		t.Fatal(err)
	}
	if names, err := a.Pins(); err != nil || !slices.Equal(names, []string{"debian:6.1"}) {
		t.Errorf("%v, %v", names, err)
	}
	if err := a.Unpin("other"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
