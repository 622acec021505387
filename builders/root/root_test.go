// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// entry is a file, directory (name/) or link (with a target) of a made package.
type entry struct {
	name, target, content string
	mode                  int64
}

// shelf is a Fetcher of made packages.
type shelf struct {
	dir     string
	fetched sync.Map
	err     error
}

func (s *shelf) Fetch(_ context.Context, p kernels.Package) (string, error) {
	if s.err != nil {
		return "", s.err
	}
	s.fetched.Store(p.Name, true)
	return filepath.Join(s.dir, p.Name+".deb"), nil
}

// put makes a .deb and returns how an index would name it.
func (s *shelf) put(t *testing.T, name string, entries ...entry) kernels.Package {
	t.Helper()
	var data bytes.Buffer
	tw := tar.NewWriter(&data)
	for _, e := range entries {
		h := &tar.Header{Name: "./" + e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg, ModTime: epoch.AddDate(30, 0, 0)}
		switch {
		case strings.HasSuffix(e.name, "/"):
			h.Typeflag = tar.TypeDir
		case e.target != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, e.target
		}
		if h.Mode == 0 {
			h.Mode = 0o755
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	var empty bytes.Buffer
	if err := tar.NewWriter(&empty).Close(); err != nil {
		t.Fatal(err)
	}
	deb := bytes.NewBufferString("!<arch>\n")
	for _, m := range []struct {
		name string
		data []byte
	}{{"debian-binary", []byte("2.0\n")}, {"control.tar", empty.Bytes()}, {"data.tar", data.Bytes()}} {
		fmt.Fprintf(deb, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.data))
		deb.Write(m.data)
		if len(m.data)%2 == 1 {
			deb.WriteByte('\n')
		}
	}
	sum := sha256.Sum256(deb.Bytes())
	if err := os.WriteFile(filepath.Join(s.dir, name+".deb"), deb.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return kernels.Package{Name: name, Digest: archive.Digest(hex.EncodeToString(sum[:])), Size: int64(deb.Len())}
}

func newCache(t *testing.T) (*Cache, *shelf) {
	s := &shelf{dir: t.TempDir()}
	return &Cache{Dir: t.TempDir(), Fetcher: s}, s
}

// suite is a miniature of a Debian suite of before the merge.
func suite(t *testing.T, s *shelf) []kernels.Package {
	return []kernels.Package{
		s.put(t, "dash", entry{name: "bin/"}, entry{name: "bin/dash", content: "dash"}),
		s.put(t, "mawk", entry{name: "usr/bin/mawk", content: "mawk", mode: 0o4755}),
		s.put(t, "libold", entry{name: "lib/x86_64-linux-gnu/libold.so.1", content: "old"},
			entry{name: "lib/x86_64-linux-gnu/libold.so", target: "../../usr/lib/x86_64-linux-gnu/libnew.so.1"},
			entry{name: "lib64/ld.so", target: "/lib/x86_64-linux-gnu/libold.so.1"}),
		s.put(t, "libnew", entry{name: "usr/lib/x86_64-linux-gnu/libnew.so.1", content: "new"},
			entry{name: "usr/share/doc/libnew/copyright", content: "text"}),
		// Comes last, and must not replace the file by a link to itself.
		s.put(t, "zcompat", entry{name: "usr/lib/x86_64-linux-gnu/libold.so.1", target: "/lib/x86_64-linux-gnu/libold.so.1"}),
		s.put(t, "base-merged", entry{name: "bin", target: "usr/bin"}, entry{name: "usr/bin/gcc-12", content: "gcc"}),
		s.put(t, "libasan8", entry{name: "usr/lib/libasan.so.8", content: "not needed"}),
	}
}

func TestTree(t *testing.T) {
	c, s := newCache(t)
	r, err := c.Tree(t.Context(), suite(t, s))
	if err != nil {
		t.Fatalf("%+v", err)
	}
	in, err := os.OpenRoot(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for name, want := range map[string]string{
		"bin/dash": "dash", "usr/bin/dash": "dash", "bin/sh": "dash", "bin/awk": "mawk", "usr/bin/gcc-12": "gcc",
		"lib/x86_64-linux-gnu/libold.so.1": "old", "usr/lib/x86_64-linux-gnu/libold.so.1": "old", "lib/x86_64-linux-gnu/libnew.so.1": "new",
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
	} {
		if b, err := in.ReadFile(name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v; want %q", name, b, err, want)
		}
	}
	// Absolute links lead to their file once the tree is the root.
	for name, want := range map[string]string{
		"usr/lib64/ld.so": "/usr/lib/x86_64-linux-gnu/libold.so.1", "usr/lib/x86_64-linux-gnu/libold.so": "/usr/lib/x86_64-linux-gnu/libnew.so.1",
	} {
		if got, err := in.Readlink(name); err != nil || got != want {
			t.Errorf("%s -> %q, %v; want %q", name, got, err, want)
		}
	}
	for _, gone := range []string{"usr/share/doc", "usr/lib/libasan.so.8"} {
		if _, err := in.Lstat(gone); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	if fi, err := in.Stat("usr/bin/mawk"); err != nil || fi.Mode() != 0o755 {
		t.Errorf("set-user-ID was kept: %v %v", fi.Mode(), err)
	}
	if _, ok := s.fetched.Load("libasan8"); ok {
		t.Error("a package that is not needed was fetched")
	}
	if !r.Has("gcc-12") || r.Has("gcc-10") || fmt.Sprint(r.Compilers()) != "[gcc-12]" {
		t.Errorf("compilers: %v", r.Compilers())
	}
}

func TestMadeOnce(t *testing.T) {
	c, s := newCache(t)
	pkgs := suite(t, s)
	// What a killed process left must not be taken for a root.
	leftover := filepath.Join(c.Dir, key("tree", pkgs[:6])+".part")
	if err := os.MkdirAll(filepath.Join(leftover, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	dirs := make([]string, 4)
	for i := range dirs {
		wg.Go(func() {
			other := *c // as another process would
			r, err := other.Tree(t.Context(), pkgs)
			if err != nil {
				t.Error(err)
				return
			}
			dirs[i] = r.Dir
		})
	}
	wg.Wait()
	if _, err := os.Stat(leftover); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftover is still there: %v", err)
	}
	s.err = errors.New("the network is gone")
	again, err := c.Tree(t.Context(), []kernels.Package{pkgs[5], pkgs[4], pkgs[3], pkgs[2], pkgs[1], pkgs[0]})
	if err != nil || again.Dir != dirs[0] || dirs[1] != dirs[0] {
		t.Errorf("%v: %v, %v", err, again, dirs)
	}
	if _, err := c.Tree(t.Context(), pkgs[:2]); !errors.Is(err, s.err) {
		t.Errorf("other packages gave %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(c.Dir, "*.part")); err != nil || len(left) > 0 {
		t.Errorf("a failure left %v (%v)", left, err)
	}
}

func TestLinkOutOfTheRoot(t *testing.T) {
	c, s := newCache(t)
	outside := t.TempDir()
	for _, target := range []string{outside, "../../../../../../../../" + outside} {
		evil := s.put(t, "evil"+fmt.Sprint(len(target)), entry{name: "opt", target: target}, entry{name: "opt/file", content: "x"})
		_, err := c.Tree(t.Context(), []kernels.Package{evil})
		if cause.Of(err).Cause != cause.PackageCorrupt {
			t.Errorf("%s: %v", target, err)
		}
	}
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("written outside: %v %v", left, err)
	}
}

func TestMergeLink(t *testing.T) {
	for _, c := range []struct{ name, target, want string }{
		{"usr/bin/a", "b", "b"},
		{"usr/bin/a", "/bin/b", "/usr/bin/b"},
		{"bin/a", "b", "/usr/bin/b"},
		{"lib/x/a", "../../usr/lib/c", "/usr/lib/c"},
		{"lib/x/a", "../../etc/c", "/etc/c"},
		{"etc/a", "/var/c", "/var/c"},
		{"etc/a", "../lib/c", "/usr/lib/c"},
		{"etc/a", "../../../../c", "../../../../c"},
		{"usr/a", "/", "/"},
	} {
		if got := mergeLink(c.name, c.target); got != c.want {
			t.Errorf("%s -> %s becomes %s, want %s", c.name, c.target, got, c.want)
		}
	}
}

func TestDisk(t *testing.T) {
	c, s := newCache(t)
	spec := DiskSpec{
		Packages: suite(t, s), Dirs: []string{"var/lib/mews", "scratch"},
		Files: []File{{Path: "etc/hosts", Content: []byte("127.0.0.1 localhost\n")}, {Path: "usr/bin/gcc-12", Target: "dash"}, {Path: "opt/mews/x", Mode: 0o755}},
	}
	img, err := c.Disk(t.Context(), spec)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	one, err := os.ReadFile(img.Path)
	if err != nil {
		t.Fatal(err)
	}
	other := *c
	other.Dir = t.TempDir()
	spec.Packages = append(spec.Packages[3:], spec.Packages[:3]...)
	again, err := other.Disk(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(again.Path); err != nil || !bytes.Equal(one, two) || again.Key != img.Key {
		t.Errorf("the same packages in another order made another disk (%v)", err)
	}
	spec.Files[0].Content = []byte("::1 localhost\n")
	if changed, err := c.Disk(t.Context(), spec); err != nil || changed.Key == img.Key {
		t.Errorf("other content, same key (%v)", err)
	}

	for _, tool := range []string{"e2fsck", "debugfs"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("the file system itself is not checked:", err)
		}
	}
	if out, err := exec.Command("e2fsck", "-fn", img.Path).CombinedOutput(); err != nil {
		t.Errorf("e2fsck: %v\n%s", err, out)
	}
	debugfs := func(request string) string {
		out, err := exec.Command("debugfs", "-R", request, img.Path).CombinedOutput()
		if err != nil {
			t.Fatalf("debugfs %s: %v\n%s", request, err, out)
		}
		return string(out)
	}
	for request, want := range map[string]string{
		"cat /etc/hosts":                            "127.0.0.1 localhost",
		"cat /bin/dash":                             "dash",
		"cat /lib/x86_64-linux-gnu/libnew.so.1":     "new",
		"cat /usr/lib/x86_64-linux-gnu/libold.so.1": "old",
		"stat /bin":                                 `Fast link dest: "usr/bin"`,
		"stat /usr/bin/sh":                          `Fast link dest: "dash"`,
		"stat /usr/bin/gcc-12":                      `Fast link dest: "dash"`,
		"stat /tmp":                                 "Mode:  01777",
		"stat /opt/mews/x":                          "Mode:  0755",
		"stat /proc":                                "Type: directory",
		"stat /var/lib/mews":                        "Type: directory",
		"stat /usr/bin/mawk":                        "Mode:  04755",
		"stat /usr/lib/x86_64-linux-gnu/libold.so":  "/usr/lib/x86_64-linux-gnu/libnew.so.1",
		"stat /usr/share/doc":                       "File not found",
	} {
		if got := debugfs(request); !strings.Contains(got, want) {
			t.Errorf("%s: no %q in\n%s", request, want, got)
		}
	}
}

func TestDiskRefusesPathsOutside(t *testing.T) {
	c, _ := newCache(t)
	for _, name := range []string{"../x", "/x", "a/../../x"} {
		if _, err := c.Disk(t.Context(), DiskSpec{Dirs: []string{name}}); err == nil {
			t.Errorf("directory %s was taken", name)
		}
		if _, err := c.Disk(t.Context(), DiskSpec{Files: []File{{Path: name}}}); err == nil {
			t.Errorf("file %s was taken", name)
		}
	}
}
