// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"os"
	"path/filepath"
	"testing"
)

// tree makes files by name: a value that begins with -> is a link, and one of "/" a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch {
		case text == "/":
			err = os.MkdirAll(path, 0o755)
		case len(text) > 2 && text[:2] == "->":
			err = os.Symlink(text[2:], path)
		default:
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGraft(t *testing.T) {
	from := tree(t, map[string]string{"usr/src/common/Makefile": "all:", "usr/src/common/link": "->/etc/passwd", "usr/src/common/empty": "/"})
	if err := os.Chmod(filepath.Join(from, "usr/src/common"), 0o750); err != nil {
		t.Fatal(err)
	}
	to := tree(t, map[string]string{"usr/src/own/Makefile": "own:"})
	if ok, err := graft(t.Context(), from, to); !ok || err != nil {
		t.Fatal(ok, err)
	}
	a, err := os.Stat(filepath.Join(from, "usr/src/common/Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(to, "usr/src/common/Makefile"))
	if err != nil || !os.SameFile(a, b) {
		t.Errorf("a file of its own: %v", err)
	}
	if target, err := os.Readlink(filepath.Join(to, "usr/src/common/link")); err != nil || target != "/etc/passwd" {
		t.Errorf("link: %q, %v", target, err)
	}
	for name, mode := range map[string]os.FileMode{"usr/src/common": 0o750, "usr/src/common/empty": 0o755, "usr/src/own": 0o755} {
		if fi, err := os.Stat(filepath.Join(to, name)); err != nil || !fi.IsDir() || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
}

func TestGraftLeavesWhatIsInTheWay(t *testing.T) {
	for name, have := range map[string]map[string]string{
		"a file where it has one":      {"usr/src/common/Makefile": "other:"},
		"a link to a directory":        {"usr": "->/etc"},
		"a file where it has a folder": {"usr/src": "text"},
		"a folder where it has a file": {"usr/src/common/Makefile": "/"},
	} {
		from, to := tree(t, map[string]string{"usr/src/common/Makefile": "all:", "a": "first"}), tree(t, have)
		if ok, err := graft(t.Context(), from, to); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if _, err := os.Lstat(filepath.Join(to, "a")); err == nil {
			t.Errorf("%s: half of it was put there", name)
		}
	}
}
