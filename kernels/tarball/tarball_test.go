// SPDX-License-Identifier: Apache-2.0

package tarball

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kernel-headers.tgz")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnpack(t *testing.T) {
	archive := debtest.Tar(t, debtest.Dir("usr/"), debtest.File("usr/src/Makefile", "all:"), debtest.Link("usr/x", "/etc"), debtest.File("usr/share/doc", "no"))
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		dir := t.TempDir()
		err := Unpack(t.Context(), write(t, debtest.Compress(t, suffix, archive)), dir, Limits{}, func(name string) bool { return !strings.HasPrefix(name, "usr/share") })
		if err != nil {
			t.Errorf("%q: %v", suffix, err)
		}
		if b, _ := os.ReadFile(filepath.Join(dir, "usr/src/Makefile")); string(b) != "all:" {
			t.Errorf("%q: Makefile holds %q", suffix, b)
		}
		if _, err := os.Lstat(filepath.Join(dir, "usr/share")); err == nil {
			t.Errorf("%q: unpacked what was not wanted", suffix)
		}
	}
}

func TestBadArchives(t *testing.T) {
	whole := debtest.Tar(t, debtest.File("f", strings.Repeat("content ", 1000)))
	good := debtest.Compress(t, ".gz", whole)
	for _, tc := range []struct {
		name    string
		content []byte
		lim     Limits
		is      error
		says    string
	}{
		{"empty", nil, Limits{}, nil, "not a tar archive"},
		{"a web page", []byte("<html>no</html>"), Limits{}, nil, "not a tar archive"},
		{"cut short", good[:len(good)-20], Limits{}, nil, "EOF"},
		{"cut short, not packed", whole[:1000], Limits{}, nil, "EOF"},
		{"gzip of something else", debtest.Compress(t, ".gz", []byte(strings.Repeat("x", 1024))), Limits{}, nil, "package"},
		{"absolute name", debtest.Tar(t, debtest.File("/etc/passwd", "x")), Limits{}, unpack.ErrUnsafe, "/etc/passwd"},
		{"name with ..", debtest.Tar(t, debtest.File("../f", "x")), Limits{}, unpack.ErrUnsafe, ".."},
		{"decompression bomb", debtest.Compress(t, ".xz", debtest.Tar(t, debtest.File("zeros", string(make([]byte, 8<<20))))), Limits{Bytes: 1 << 20}, unpack.ErrLimit, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := t.TempDir()
			root := filepath.Join(base, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			err := Unpack(t.Context(), write(t, tc.content), root, tc.lim, nil)
			if cause.Of(err).Cause != cause.PackageCorrupt || tc.is != nil && !errors.Is(err, tc.is) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
			if entries, err := os.ReadDir(base); err != nil || len(entries) != 1 {
				t.Errorf("written outside: %v, %v", entries, err)
			}
		})
	}
}
