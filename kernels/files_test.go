// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/results/cause"
)

// shelf is a fetcher of packages that lie in a directory under their digests.
type shelf struct {
	dir string
	mu  sync.Mutex
	n   int // packages fetched
}

func (s *shelf) Fetch(_ context.Context, p Package) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	path := filepath.Join(s.dir, string(p.Digest))
	_, err := os.Stat(path)
	return path, err
}

func (s *shelf) add(t *testing.T, name string, content []byte) Package {
	t.Helper()
	d := archive.DigestOf(content)
	if err := os.WriteFile(filepath.Join(s.dir, string(d)), content, 0o644); err != nil {
		t.Fatal(err)
	}
	return Package{Name: name, Version: "1", Arch: "amd64", Digest: d, Size: int64(len(content))}
}

const release = "6.1.0-56-cloud-amd64"

func kernel(image, headers []Package) *Resolved {
	return &Resolved{Kernel: Kernel{Distro: "debian", Release: release, Version: "1", Arch: "x86_64"}, Image: image, Headers: headers}
}

func packed(t *testing.T, entries ...debtest.Entry) []byte {
	return debtest.Deb(t, ".gz", "Package: p\nVersion: 1\n", entries...)
}

func TestFilesOfBothLayouts(t *testing.T) {
	const lib, usr = "./lib/modules/" + release, "./usr/lib/modules/" + release
	config := "CONFIG_EXT4_FS=y\n"
	for _, tc := range []struct {
		name     string
		packages [][]debtest.Entry
		image    string
	}{
		{"one package, Debian 12", [][]debtest.Entry{{
			debtest.File("./boot/vmlinuz-"+release, "image"), debtest.File("./boot/config-"+release, config), debtest.File("./boot/System.map-"+release, "map"),
			debtest.File(lib+"/modules.builtin", ""), debtest.File("./usr/share/doc/linux/x", "doc"),
		}}, "boot/vmlinuz-" + release},
		{"split, 6.19", [][]debtest.Entry{
			{debtest.File("./usr/share/doc/linux/x", "doc")},
			{debtest.File(usr+"/config", config), debtest.File(usr+"/System.map", "map"), debtest.File(usr+"/modules.builtin", "")},
			{debtest.File("./boot/vmlinuz-"+release, "image")},
			{debtest.File(usr+"/kernel/x.ko", "")},
		}, "boot/vmlinuz-" + release},
		{"split, 7.3", [][]debtest.Entry{
			{debtest.File(usr+"/config", config), debtest.File(usr+"/System.map", "map"), debtest.File(usr+"/modules.builtin", "")},
			{debtest.File(usr+"/vmlinuz", "image")},
		}, "usr/lib/modules/" + release + "/vmlinuz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &shelf{dir: t.TempDir()}
			var image []Package
			for i, entries := range tc.packages {
				image = append(image, s.add(t, "p"+string(rune('a'+i)), packed(t, entries...)))
			}
			headers := []Package{s.add(t, "headers", packed(t,
				debtest.File("./usr/src/linux-headers-"+release+"/Makefile", "all:"),
				debtest.Link("./usr/src/linux-headers-"+release+"/scripts", "/usr/lib/linux-kbuild-6.1/scripts"),
			))}
			var events []Event
			var mu sync.Mutex
			trees := &Trees{Dir: t.TempDir(), Fetcher: s, Progress: func(e Event) {
				mu.Lock()
				defer mu.Unlock()
				events = append(events, e)
			}}
			for range 2 {
				f, err := trees.Files(t.Context(), kernel(image, headers))
				if err != nil {
					t.Fatal(err)
				}
				if b, _ := os.ReadFile(f.Image); string(b) != "image" || !strings.HasSuffix(f.Image, "/"+tc.image) {
					t.Errorf("image %s holds %q", f.Image, b)
				}
				if b, _ := os.ReadFile(f.SystemMap); string(b) != "map" {
					t.Errorf("System.map %s holds %q", f.SystemMap, b)
				}
				if !f.Config.IsBuiltin("EXT4_FS") {
					t.Error("config is not read")
				}
				if _, err := f.Modules(); err != nil {
					t.Error(err)
				}
				if _, err := os.Lstat(f.Headers + "/usr/src/linux-headers-" + release + "/scripts"); err != nil {
					t.Error(err)
				}
				if len(f.Packages) != len(image)+1 {
					t.Errorf("packages %v", f.Packages)
				}
			}
			if s.n != len(image)+1 {
				t.Errorf("fetched %d packages", s.n)
			}
			if last := events[len(events)-1]; last.Kind != EventUnpack || last.Done != last.Total {
				t.Errorf("last event %+v", last)
			}
			if docs, _ := filepath.Glob(trees.Dir + "/*/usr/share"); len(docs) > 0 {
				t.Errorf("unpacked %v", docs)
			}
		})
	}
}

func TestFilesAtOnce(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	image := []Package{s.add(t, "image", packed(t, debtest.File("./boot/vmlinuz-"+release, "image"),
		debtest.File("./boot/config-"+release, "CONFIG_X=y\n"), debtest.File("./lib/modules/"+release+"/modules.builtin", "")))}
	trees := &Trees{Dir: t.TempDir(), Fetcher: s}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if f, err := trees.Files(t.Context(), kernel(image, nil)); err != nil || f.Headers != "" {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	all.Wait()
}

func TestFilesErrors(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	good := packed(t, debtest.File("./boot/config-"+release, strings.Repeat("CONFIG_X=y\n", 1000)))
	cut := s.add(t, "cut", good[:len(good)-20])
	empty := s.add(t, "empty", packed(t, debtest.Dir("./boot/")))
	linked := s.add(t, "linked", packed(t, debtest.Dir("./lib/modules/"+release+"/"), debtest.Link("./boot/vmlinuz-"+release, "/etc/hostname")))
	for _, tc := range []struct {
		name string
		r    *Resolved
		says string
	}{
		{"package cut short", kernel([]Package{cut}, nil), "cut"},
		{"nothing in it", kernel([]Package{empty}, nil), "lib/modules"},
		{"image that is a link to a file of the host", kernel([]Package{linked}, nil), "vmlinuz"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			trees := &Trees{Dir: t.TempDir(), Fetcher: s}
			for range 2 {
				_, err := trees.Files(t.Context(), tc.r)
				if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v", err)
				}
			}
			if left, _ := filepath.Glob(trees.Dir + "/*.tmp"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	trees := &Trees{Dir: t.TempDir(), Fetcher: s}
	if _, err := trees.Files(t.Context(), kernel([]Package{{Name: "gone", Digest: archive.DigestOf(nil)}}, nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the fetcher's error is lost: %v", err)
	}
	if _, err := trees.Files(t.Context(), &Resolved{Kernel: Kernel{Release: "../x"}}); err == nil {
		t.Error("took a release that is a path")
	}
}

// TestTreeAfterAKill: what a killed process left is not taken for a tree, nor added to.
func TestTreeAfterAKill(t *testing.T) {
	s := &shelf{dir: t.TempDir()}
	ps := []Package{s.add(t, "p", packed(t, debtest.File("./f", "whole")))}
	trees := &Trees{Dir: t.TempDir(), Fetcher: s}
	tmp := filepath.Join(trees.Dir, "x-"+treeKey("x", ps)+".tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tmp, "stray"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	dir, err := trees.Tree(t.Context(), "x", ps, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "stray")); err == nil {
		t.Error("the tree holds what the killed process left")
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "f")); string(b) != "whole" {
		t.Errorf("f holds %q", b)
	}
}

// Of each symbol the file's own line can be shown, also of one that is not set.
func TestConfigLines(t *testing.T) {
	c, err := ParseConfig(strings.NewReader("#\n# Automatically generated file\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	for symbol, want := range map[string]string{
		"A": ".config:3: CONFIG_A=y", "CONFIG_B": ".config:4: # CONFIG_B is not set", "C": `.config:5: CONFIG_C="x"`, "CONFIG_D": ".config: there is no CONFIG_D",
	} {
		if got := c.Line(symbol).String(); got != want {
			t.Errorf("%s: %q, want %q", symbol, got, want)
		}
	}
	if c.Get("B") != "" {
		t.Error("what is not set has a value")
	}
}
