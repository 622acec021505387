// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plant makes files (text), directories (name/) and links (-> target) below a new directory.
func plant(t *testing.T, entries map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range entries {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case link:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLay(t *testing.T) {
	root := map[string]string{"usr/bin/sh": "sh", "usr/src/": "", "usr/lib/x/y": "root's", "lib": "-> usr/lib", "etc/passwd": "root"}
	for _, c := range []struct {
		name  string
		trees []map[string]string
		want  string // number of the tree and place
	}{
		{"headers as Debian has them", []map[string]string{{"usr/src/linux-headers-1/Makefile": "", "usr/src/linux-kbuild-1": "-> ../lib/linux-kbuild-1", "usr/lib/linux-kbuild-1/tool": ""}},
			"0/usr/lib/linux-kbuild-1 0/usr/src"},
		{"the root's files win", []map[string]string{{"usr/lib/x/y": "tree's", "usr/lib/x/z": "tree's", "etc/passwd": "evil", "usr/bin/sh/": ""}}, "0/usr/lib/x/z"},
		{"a link of the root wins over a directory", []map[string]string{{"lib/modules/x": ""}}, ""},
		{"two trees, apart", []map[string]string{{"opt/a/f": ""}, {"usr/src/b/f": ""}}, "0/opt 1/usr/src"},
		{"two trees with one directory", []map[string]string{{"opt/a": "first"}, {"opt/a": "second", "opt/b": ""}}, "0/opt/a 1/opt/b"},
		{"two trees in an empty directory of the root", []map[string]string{{"usr/src/a/f": ""}, {"usr/src/b/f": ""}}, "0/usr/src/a 1/usr/src/b"},
		{"a file hides the directories behind it", []map[string]string{{"opt": "file"}, {"opt/b": ""}}, "0/opt"},
		{"a link that no mount can show", []map[string]string{{"usr/bin/cc": "-> gcc"}}, "error: the link /usr/bin/cc"},
		{"nothing", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var trees []string
			for _, e := range c.trees {
				trees = append(trees, plant(t, e))
			}
			mounts, err := lay(plant(t, root), trees)
			var got []string
			for _, m := range mounts {
				for i, tree := range trees {
					if m.Source == filepath.Join(tree, m.Target) {
						got = append(got, fmt.Sprintf("%d%s", i, m.Target))
					}
				}
				if !m.ReadOnly {
					t.Errorf("%s can be written to", m.Target)
				}
			}
			if err != nil {
				got = []string{"error: " + err.Error()}
			}
			if text := strings.Join(got, " "); text != c.want && !(strings.HasPrefix(c.want, "error") && strings.HasPrefix(text, c.want)) {
				t.Errorf("got %s, want %s", text, c.want)
			}
		})
	}
}

func TestTarIsTheSameForTheSameTree(t *testing.T) {
	tree := map[string]string{"usr/bin/dash": "dash", "usr/bin/sh": "-> dash", "tmp/": "", "etc/x": "x"}
	one, two := plant(t, tree), plant(t, tree)
	for _, dir := range []string{one, two} {
		if err := os.Link(filepath.Join(dir, "usr/bin/dash"), filepath.Join(dir, "usr/bin/hard")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(two, "etc/x"), time.Now(), time.Now().AddDate(-1, 0, 0)); err != nil {
		t.Fatal(err)
	}
	var a, b bytes.Buffer
	for dir, w := range map[string]io.Writer{one: &a, two: &b} {
		if err := writeTar(t.Context(), dir, w); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("equal trees became different archives")
	}
	var got []string
	in := tar.NewReader(&a)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %c%s %d", h.Name, h.Mode, h.Typeflag, h.Linkname, h.Uid))
	}
	want := "etc/ 755 5 0|etc/x 644 0 0|tmp/ 1777 5 0|usr/ 755 5 0|usr/bin/ 755 5 0|usr/bin/dash 644 0 0|usr/bin/hard 644 1usr/bin/dash 0|usr/bin/sh 777 2dash 0"
	if text := strings.Join(got, "|"); text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := writeTar(ctx, one, io.Discard); err == nil {
		t.Error("an archive that nobody waits for is made to its end")
	}
}

func TestOrphaned(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for label, want := range map[string]bool{
		owner():                        false, // this process
		host + "/1/" + startedAt(1):    false, // another one that is there
		host + "/1/77":                 true,  // its number came again
		host + "/999999999/77":         true,  // gone
		"elsewhere/999999999/77":       false, // cannot be known
		"":                             false,
		host + "/x/77":                 false,
		host + "/999999999":            false,
		host + "/999999999/77/further": false,
	} {
		if got := orphaned(label); got != want {
			t.Errorf("%q: %v", label, got)
		}
	}
}
