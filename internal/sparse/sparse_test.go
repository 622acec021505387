// SPDX-License-Identifier: Apache-2.0

package sparse

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func create(t *testing.T, size int64, at map[int64][]byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for offset, data := range at {
		if _, err := f.WriteAt(data, offset); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestCopy(t *testing.T) {
	const size = 64<<20 + 100
	full := bytes.Repeat([]byte("x"), 3*Block)
	for name, at := range map[string]map[int64][]byte{
		"empty":                     {},
		"one byte":                  {5 << 20: {1}},
		"the last byte":             {size - 1: {1}},
		"runs between zeros":        {0: full, 10 * Block: make([]byte, 300*Block), 20 * Block: full, 31 * Block: {1}, 300*Block - 1: {2}},
		"more than is read at once": {7: bytes.Repeat([]byte("y"), 3<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := create(t, size, at), create(t, 0, nil)
			sum, err := Copy(dst, src)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := os.ReadFile(src.Name())
			got, err := os.ReadFile(dst.Name())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("copied %d bytes of %d, or others: %v", len(got), len(want), err)
			}
			for _, f := range []*os.File{src, dst} {
				if again, err := Sum(f); err != nil || again != sum {
					t.Errorf("sum %x, not %x: %v", again, sum, err)
				}
			}
			fi, err := dst.Stat()
			if err != nil {
				t.Fatal(err)
			}
			if took := fi.Sys().(*syscall.Stat_t).Blocks * 512; took > 4<<20 {
				t.Errorf("takes %d bytes of the disk", took)
			}
		})
	}
}

func TestSumSeesWhatChanged(t *testing.T) {
	base := func() *os.File {
		return create(t, 1<<20, map[int64][]byte{8 * Block: bytes.Repeat([]byte("x"), Block)})
	}
	want, err := Sum(base())
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*os.File){
		"a bit":         func(f *os.File) { f.WriteAt([]byte("y"), 8*Block+77) },
		"a bit of zero": func(f *os.File) { f.WriteAt([]byte{1}, 0) },
		"cut":           func(f *os.File) { f.Truncate(8*Block + 10) },
		"moved": func(f *os.File) {
			f.WriteAt(make([]byte, Block), 8*Block)
			f.WriteAt(bytes.Repeat([]byte("x"), Block), 9*Block)
		},
	} {
		f := base()
		change(f)
		if got, err := Sum(f); err != nil || got == want {
			t.Errorf("%s: sum %x, %v", name, got, err)
		}
	}
}
