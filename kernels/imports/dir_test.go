// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/results/cause"
)

// boot is an arm64 Image with the banner of a release, and a configuration when ikconfig is not empty.
func boot(t testing.TB, release, ikconfig string) string {
	t.Helper()
	head := make([]byte, 64)
	copy(head[0x38:], "ARMd")
	text := string(head)
	if release != "" {
		text += "Linux version " + release + " (builder@host.example) (gcc (Debian 14.2.0-19) 14.2.0, GNU ld 2.44) #3 SMP PREEMPT 2026-11-01\n\x00"
	}
	if ikconfig != "" {
		text += "IKCFG_ST" + string(debtest.Compress(t, ".gz", []byte(ikconfig))) + "IKCFG_ED"
	}
	return text
}

func store(t testing.TB) *archive.Archive {
	t.Helper()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// contents lists a package that was made of files on disk.
func contents(t *testing.T, a *archive.Archive, p kernels.Package) []string {
	t.Helper()
	f, err := a.Open(p.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil || fi.Size() != p.Size {
		t.Errorf("%s has %d bytes, not %d, %v", p.Name, fi.Size(), p.Size, err)
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var out []string
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		switch h.Typeflag {
		case tar.TypeReg:
			out = append(out, h.Name)
		case tar.TypeSymlink:
			out = append(out, h.Name+" -> "+h.Linkname)
		case tar.TypeDir:
		default:
			t.Errorf("%s is of type %q", h.Name, h.Typeflag)
		}
	}
}

func TestDir(t *testing.T) {
	const release = "6.12.1-mews"
	for _, tc := range []struct {
		name            string
		files           map[string]string
		links           map[string]string
		image, headers  []string
		unbootable, arg string
	}{
		{
			name: "plain names beside each other",
			files: map[string]string{
				"vmlinuz": boot(t, release, ""), "config": "CONFIG_X=y\n",
				"modules/modules.builtin": "", "modules/kernel/fs/x.ko": "ELF",
				"headers/Makefile": "all:", "headers/include/config/kernel.release": release + "\n",
			},
			links: map[string]string{"modules/build": "/usr/src/x", "headers/scripts": "../x"},
			image: []string{"boot/vmlinuz-" + release, "boot/config-" + release,
				"lib/modules/" + release + "/kernel/fs/x.ko", "lib/modules/" + release + "/modules.builtin"},
			headers: []string{"usr/src/linux-headers-" + release + "/Makefile", "usr/src/linux-headers-" + release + "/include/config/kernel.release",
				"usr/src/linux-headers-" + release + "/scripts -> ../x"},
		},
		{
			name: "a root file system, Debian's kind",
			files: map[string]string{
				"boot/vmlinuz-" + release: boot(t, release, ""), "boot/config-" + release: "CONFIG_X=y\n", "boot/config-5.0": "CONFIG_Y=y\n",
				"usr/lib/modules/" + release + "/modules.builtin": "", "usr/lib/modules/5.0/modules.builtin": "",
				"usr/src/linux-headers-" + release + "/Makefile": "all:", "usr/src/linux-headers-5.0/Makefile": "all:",
				"etc/netplan/x.yaml": "network: {}\n", "usr/src/linux-headers-6.12.1-common/Makefile": "all:", "usr/lib/linux-kbuild-6.12/scripts/x": "",
			},
			links: map[string]string{"lib": "usr/lib", "vmlinuz": "boot/vmlinuz-" + release,
				"usr/src/linux-headers-" + release + "/scripts": "/usr/lib/linux-kbuild-6.12/scripts"},
			image: []string{"boot/vmlinuz-" + release, "boot/config-" + release, "lib/modules/" + release + "/modules.builtin"},
			headers: []string{"usr/src/linux-headers-" + release + "/Makefile",
				"usr/src/linux-headers-" + release + "/scripts -> /usr/lib/linux-kbuild-6.12/scripts",
				"usr/src/linux-headers-6.12.1-common/Makefile", "usr/lib/linux-kbuild-6.12/scripts/x"},
		},
		{
			name: "Red Hat's kind, everything in the directory of modules",
			files: map[string]string{
				"lib/modules/" + release + "/vmlinuz": boot(t, release, ""), "lib/modules/" + release + "/config": "CONFIG_X=y\n",
				"lib/modules/" + release + "/modules.builtin": "", "usr/src/kernels/" + release + "/Makefile": "",
			},
			image: []string{"boot/vmlinuz-" + release, "boot/config-" + release, "lib/modules/" + release + "/config",
				"lib/modules/" + release + "/modules.builtin", "lib/modules/" + release + "/vmlinuz"},
			headers: []string{"usr/src/kernels/" + release + "/Makefile"},
		},
		{
			name:       "an image by itself",
			files:      map[string]string{"Image": boot(t, release, "")},
			arg:        "Image",
			image:      []string{"boot/vmlinuz-" + release},
			unbootable: "no configuration and no directory of modules",
		},
		{
			name:       "the configuration is in the image",
			files:      map[string]string{"Image": boot(t, release, "CONFIG_X=y\n")},
			image:      []string{"boot/vmlinuz-" + release, "boot/config-" + release},
			unbootable: "no directory of modules",
		},
		{
			name:       "an image that does not say its release has it in its name",
			files:      map[string]string{"vmlinuz-" + release: boot(t, "", "CONFIG_X=y\n")},
			image:      []string{"boot/vmlinuz-" + release, "boot/config-" + release},
			unbootable: "no directory of modules",
		},
		{
			name:  "an image that does not say its release, and the modules of one",
			files: map[string]string{"Image": boot(t, "", ""), "config": "CONFIG_X=y\n", "lib/modules/" + release + "/modules.builtin": ""},
			image: []string{"boot/vmlinuz-" + release, "boot/config-" + release, "lib/modules/" + release + "/modules.builtin"},
		},
		{
			name: "the modules and headers of another kernel are not taken",
			files: map[string]string{"Image": boot(t, release, ""), "config": "CONFIG_X=y\n",
				"lib/modules/5.0/modules.builtin": "", "headers/Makefile": "", "headers/include/config/kernel.release": "5.0\n"},
			image:      []string{"boot/vmlinuz-" + release, "boot/config-" + release},
			unbootable: "no directory of modules",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, tc.files)
			for name, target := range tc.links {
				if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			a := store(t)
			r, err := Read(t.Context(), Auto, filepath.Join(dir, tc.arg), Options{Archive: a})
			if err != nil {
				t.Fatalf("%+v", err)
			}
			if r.Kind != Dir || len(r.Entries) != 1 || r.Skipped != nil {
				t.Fatalf("%s: %d entries, skipped %v", r.Kind, len(r.Entries), r.Skipped)
			}
			e := r.Entries[0]
			if e.Distro != "local" || e.Release != release || e.Arch != "aarch64" || e.Source != "import" {
				t.Errorf("%+v", e)
			}
			if (e.Unbootable == "") != (tc.unbootable == "") || !strings.Contains(e.Unbootable, tc.unbootable) {
				t.Errorf("unbootable: %q, want %q", e.Unbootable, tc.unbootable)
			}
			if got := contents(t, a, e.Image[0]); !slices.Equal(got, tc.image) {
				t.Errorf("image holds %q\nwant %q", got, tc.image)
			}
			var headers []string
			for _, p := range e.Headers {
				headers = contents(t, a, p)
			}
			if !slices.Equal(headers, tc.headers) {
				t.Errorf("headers hold %q\nwant %q", headers, tc.headers)
			}
			again, err := Read(t.Context(), Dir, filepath.Join(dir, tc.arg), Options{Archive: a})
			if err != nil || again.Entries[0].Image[0].Digest != e.Image[0].Digest {
				t.Errorf("another digest the second time: %+v, %v", again, err)
			}
		})
	}
}

func TestDirErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		says  string
	}{
		{"nothing", map[string]string{"README": "x"}, "no kernel"},
		{"not an image", map[string]string{"vmlinuz": "text"}, "boot image"},
		{"no release", map[string]string{"Image": boot(t, "", "")}, "tells no release"},
		{"a damaged package", map[string]string{"x.deb": "text"}, "x.deb"},
		{"a package of no kernel", map[string]string{"x.deb": string(debtest.Deb(t, ".gz", "Package: hello\nVersion: 1\nArchitecture: amd64\n"))}, ErrNoKernel.Error()},
		{"a damaged RPM", map[string]string{"x.rpm": "text"}, "not an RPM"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(t.Context(), Dir, writeFiles(t, tc.files), Options{Archive: store(t)})
			if cause.Of(err).Cause != cause.PackageMissing || !strings.Contains(fmt.Sprintf("%+v", err), tc.says) {
				t.Errorf("got %+v, want it to say %q", err, tc.says)
			}
		})
	}
}

func TestPackagesOnDisk(t *testing.T) {
	deb := func(name, arch, maintainer string) string {
		return string(debtest.Deb(t, ".gz", "Package: "+name+"\nVersion: 6.1.27-1\nArchitecture: "+arch+"\nMaintainer: "+maintainer+"\n"))
	}
	const team = "Debian Kernel Team <debian-kernel@lists.debian.org>"
	rpm := func(name string, files ...rpmtest.File) string {
		return string(rpmtest.Spec{Name: name, Version: "5.10.219", Release: "208.866.amzn2", Arch: "x86_64", Compressor: "gzip", Files: files}.Build(t))
	}
	dir := writeFiles(t, map[string]string{
		"a.deb":      deb("linux-image-6.1.0-9-amd64", "amd64", team), // file names do not matter
		"b.deb":      deb("linux-headers-6.1.0-9-amd64", "amd64", team),
		"c.deb":      deb("linux-headers-6.1.0-9-common", "all", team),
		"d.deb":      deb("linux-kbuild-6.1", "amd64", team),
		"e.deb":      deb("linux-image-6.1.0-9-arm64", "arm64", "Me <me@example.com>"),
		"kernel.rpm": rpm("kernel", rpmtest.Regular("/lib/modules/5.10.219-own/modules.builtin", "")),
		"devel.rpm":  rpm("kernel-devel", rpmtest.Regular("/usr/src/kernels/5.10.219-own/Makefile", "")),
		"meta.txt":   "",
	})
	a := store(t)
	r, err := Read(t.Context(), Dir, dir, Options{Archive: a})
	if err != nil {
		t.Fatal(err)
	}
	e := find(t, r, "6.1.0-9-amd64")
	if e.Distro != "debian" || e.PackageVersion != "6.1.27-1" || len(e.Image) != 1 || len(e.Headers) != 3 || e.Unbootable != "" {
		t.Errorf("%+v", e)
	}
	for _, p := range slices.Concat(e.Image, e.Headers) {
		path, err := a.Path(p.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || fi.Size() != p.Size {
			t.Errorf("%+v: %v", p, err)
		}
	}
	// The release is the one its files are for, whatever the package is called.
	if e = find(t, r, "5.10.219-own"); e.Distro != "amazonlinux2" || len(e.Image) != 1 || len(e.Headers) != 1 {
		t.Errorf("%+v", e)
	}
	if len(r.Entries) != 2 || r.Read != 6 || whys(r)[ErrDistro.Error()] != 1 {
		t.Errorf("%d entries of %d, skipped %v", len(r.Entries), r.Read, r.Skipped)
	}
	if r, err = Read(t.Context(), Auto, filepath.Join(dir, "e.deb"), Options{Archive: a, Distro: "debian"}); err != nil || r.Entries[0].Arch != "aarch64" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestGuessDistro(t *testing.T) {
	for release, want := range map[string]string{
		"6.1.0-9-cloud-amd64": "debian", "7.3.4+deb13-arm64": "debian", "5.15.0-25-generic": "ubuntu", "5.15.0-1035-gke": "ubuntu",
		"5.10.219-208.866.amzn2.x86_64": "amazonlinux2", "4.18.0-553.el8_10.x86_64": "local", "6.12.1": "local",
	} {
		if got := guessDistro(release); got != want {
			t.Errorf("%s: %s, want %s", release, got, want)
		}
	}
}

// TestFiles: what was imported from a directory is opened like any other kernel.
func TestFiles(t *testing.T) {
	const release = "6.12.1-mews"
	dir := writeFiles(t, map[string]string{
		"Image": boot(t, release, ""), "config": "CONFIG_VIRTIO_PCI=y\n", "modules/modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\n",
		"headers/Makefile": "all:", "headers/include/config/kernel.release": release,
	})
	a := store(t)
	r, err := Read(t.Context(), Dir, dir, Options{Archive: a})
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSource(SourceOptions{Archive: a, Offline: true})
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := s.Resolve(t.Context(), r.Entries[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := (&kernels.Trees{Dir: t.TempDir(), Fetcher: s}).Files(t.Context(), resolved)
	if err != nil {
		t.Fatal(err)
	}
	if f.HeaderDir != "/usr/src/linux-headers-"+release || !f.Config.IsBuiltin("VIRTIO_PCI") {
		t.Errorf("%+v", f)
	}
	if text, err := os.ReadFile(f.Image); err != nil || string(text) != boot(t, release, "") {
		t.Errorf("image: %v", err)
	}
	if ms, err := f.Modules("virtio_pci"); err != nil || len(ms) != 0 {
		t.Errorf("%v, %v", ms, err)
	}
}
