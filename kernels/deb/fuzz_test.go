// SPDX-License-Identifier: Apache-2.0

package deb

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/mews-farm/mews/kernels/internal/debtest"
)

func FuzzAr(f *testing.F) {
	f.Add([]byte(arMagic))
	f.Add(Ar(Part("debian-binary", []byte("2.0\n")), Part("odd/", []byte("x"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := arMembers(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		for _, m := range members {
			data, err := io.ReadAll(m.data)
			if err != nil || int64(len(data)) != m.data.Size() {
				t.Fatalf("member %q promises %d bytes, has %d: %v", m.name, m.data.Size(), len(data), err)
			}
		}
	})
}

// FuzzUnpack takes any bytes for the uncompressed tar archive of a package.
func FuzzUnpack(f *testing.F) {
	f.Add(Tar(f, Dir("./usr/"), File("./usr/f", "x"), HardLink("./usr/g", "./usr/f"), Link("./lib", "usr"), File("./lib/h", "y")))
	f.Add(Tar(f, Link("./out", "../.."), File("./out/f", "x")))
	f.Fuzz(func(t *testing.T, b []byte) {
		base := t.TempDir()
		root := filepath.Join(base, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(base, "p.deb")
		if err := os.WriteFile(file, Ar(Part("debian-binary", []byte("2.0\n")), Part("data.tar", b)), 0o644); err != nil {
			t.Fatal(err)
		}
		lim := Limits{Bytes: 1 << 20, Files: 100}
		// What comes out is for the table tests to judge; here nothing may be written outside, and no name may be odd.
		Unpack(t.Context(), file, root, lim, nil)
		Walk(t.Context(), file, lim, func(h *tar.Header, _ io.Reader) error {
			if strings.HasPrefix(h.Name, "/") || strings.Contains("/"+h.Name+"/", "/../") {
				t.Errorf("walked over %q", h.Name)
			}
			return nil
		})
		entries, err := os.ReadDir(base)
		if err != nil || len(entries) != 2 {
			t.Errorf("written outside: %v, %v", entries, err)
		}
	})
}
