// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

func open(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// files lists what is visible of an archive: blobs and names, not what is being written or remembered.
func files(t *testing.T, a *Archive) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(a.Dir(), func(path string, d fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, a.Dir()+"/")
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(name, ".ok") && !strings.HasPrefix(name, "holds/") && name != "evict.lock" {
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPutOpen(t *testing.T) {
	a := open(t, t.TempDir())
	want := []byte("content")
	d := DigestOf(want)
	if _, err := a.Open(d); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("Open before Put: %v", err)
	}
	for _, size := range []int64{int64(len(want)), -1} {
		if _, err := a.Put(t.Context(), d, size, bytes.NewReader(want)); err != nil {
			t.Fatal(err)
		}
	}
	f, err := a.Open(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := a.DigestAt(f.Name()); got != d || err != nil {
		t.Errorf("DigestAt %s: %s, %v", f.Name(), got, err)
	}
	if got, err := a.DigestAt("/elsewhere/" + string(d)); err == nil {
		t.Errorf("a file elsewhere is %s", got)
	}
	if got, _ := io.ReadAll(f); !bytes.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestPutRefuses(t *testing.T) {
	want := []byte("content")
	broken := errors.New("broken pipe")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name string
		ctx  context.Context
		d    Digest
		size int64
		r    io.Reader
		want cause.Cause
	}{
		{"altered", t.Context(), DigestOf(want), 7, strings.NewReader("c0ntent"), cause.PackageCorrupt},
		{"short", t.Context(), DigestOf(want), 7, strings.NewReader("conten"), cause.PackageCorrupt},
		{"long", t.Context(), DigestOf(want), 7, strings.NewReader("content and more"), cause.PackageCorrupt},
		{"right content of another size", t.Context(), DigestOf(want), 6, bytes.NewReader(want), cause.PackageCorrupt},
		{"digest with a path", t.Context(), "../../" + DigestOf(want)[6:], 7, bytes.NewReader(want), cause.PackageCorrupt},
		{"reader fails", t.Context(), DigestOf(want), 7, io.MultiReader(strings.NewReader("con"), errReader{broken}), ""},
		{"cancelled", cancelled, DigestOf(want), 7, bytes.NewReader(want), cause.Cancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := open(t, t.TempDir())
			_, err := a.Put(tc.ctx, tc.d, tc.size, tc.r)
			if err == nil {
				t.Fatal("stored")
			}
			if tc.want == "" {
				if !errors.Is(err, broken) {
					t.Errorf("got %v, not the reader's error", err)
				}
			} else if got := cause.Of(err).Cause; got != tc.want {
				t.Errorf("cause %s of %v, want %s", got, err, tc.want)
			}
			if left := files(t, a); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestAddLimit(t *testing.T) {
	a := open(t, t.TempDir())
	if _, err := a.Add(t.Context(), strings.NewReader("12345"), 4); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("five bytes under a limit of four: %v", err)
	}
	d, err := a.Add(t.Context(), strings.NewReader("1234"), 4)
	if err != nil || d != DigestOf([]byte("1234")) {
		t.Errorf("got %s, %v", d, err)
	}
}

func TestAlteredFile(t *testing.T) {
	a := open(t, t.TempDir())
	want := []byte("content")
	d := DigestOf(want)
	path, err := a.Put(t.Context(), d, 7, bytes.NewReader(want))
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	alter(t, path, "c0ntent", time.Now().Add(time.Hour))
	if _, err := a.Open(d); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("Open of an altered file: %v", err)
	}

	// Bit rot changes neither size nor time: only Verify can see it.
	alter(t, path, "c0ntent", before.ModTime())
	if err := a.Verify(d); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("Verify of an altered file: %v", err)
	}

	// The next Put mends it.
	alter(t, path, "c0ntent", time.Now().Add(2*time.Hour))
	if _, err := a.Put(t.Context(), d, 7, bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if err := a.Verify(d); err != nil {
		t.Errorf("after Put: %v", err)
	}
}

func alter(t *testing.T, path, content string, at time.Time) {
	t.Helper()
	for _, err := range []error{os.Chmod(path, 0o644), os.WriteFile(path, []byte(content), 0o644), os.Chtimes(path, at, at)} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// alterLikeRot changes the content of a file, and neither its size nor its time.
func alterLikeRot(t *testing.T, a *Archive, d Digest) {
	t.Helper()
	fi, err := os.Stat(a.blob(d))
	if err != nil {
		t.Fatal(err)
	}
	alter(t, a.blob(d), strings.Repeat("?", int(fi.Size())), fi.ModTime())
}

// TestTouched: a file that only looks different is hashed, found good, and remembered anew.
func TestTouched(t *testing.T) {
	a := open(t, t.TempDir())
	path, err := a.Put(t.Context(), DigestOf([]byte("x")), 1, strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1e9, 0)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	note, _ := os.ReadFile(path + ".ok")
	if _, err := a.Path(DigestOf([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if again, _ := os.ReadFile(path + ".ok"); bytes.Equal(note, again) {
		t.Errorf("still remembered as %s", again)
	}
}

func TestRefs(t *testing.T) {
	a := open(t, t.TempDir())
	if _, err := a.Ref("debian/sid"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unset: %v", err)
	}
	if err := a.SetRef("debian/sid", DigestOf([]byte("not held"))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("name for what is not held: %v", err)
	}
	for _, content := range []string{"1", "2"} {
		d, err := a.Add(t.Context(), strings.NewReader(content), 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := a.SetRef("debian/sid", d); err != nil {
			t.Fatal(err)
		}
		if got, err := a.Ref("debian/sid"); got != d || err != nil {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if _, err := a.Ref("../blobs"); err == nil {
		t.Error("a name that leaves the archive is taken")
	}
}

func TestDiskFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("cannot mount a small file system: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	a := open(t, dir)
	big := bytes.Repeat([]byte("x"), 1<<20)
	_, err := a.Put(t.Context(), DigestOf(big), int64(len(big)), bytes.NewReader(big))
	if got := cause.Of(err); got.Cause != cause.DiskFull || got.Fault != cause.FaultInfra {
		t.Errorf("got %+v", got)
	}
	if left := files(t, a); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
