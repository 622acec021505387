// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/results/cause"
)

func rpmOf(t *testing.T, name string, files ...rpmtest.File) []byte {
	t.Helper()
	return rpmtest.Spec{Name: name, Version: "5.10.219", Release: "208.866.amzn2", Arch: "x86_64", Compressor: "xz", Files: files}.Build(t)
}

// TestFilesOfRPMLayouts: vmlinuz, config and headers lie where each distribution puts them.
func TestFilesOfRPMLayouts(t *testing.T) {
	const rel = "5.10.219-208.866.amzn2.x86_64"
	const lib, src, config = "/lib/modules/" + rel, "/usr/src/kernels/" + rel, "CONFIG_EXT4_FS=y\n"
	ghost := rpmtest.Regular("/boot/vmlinuz-"+rel, "")
	ghost.Ghost = true
	builtin, virtio := rpmtest.Regular(lib+"/modules.builtin", "kernel/fs/ext4/ext4.ko\n"), rpmtest.Regular(lib+"/kernel/drivers/virtio/virtio.ko", string(module(t, "name=virtio")))
	devel := rpmOf(t, "kernel-devel", rpmtest.Regular(src+"/Makefile", "all:"), rpmtest.Regular(src+"/.config", "CONFIG_OF_HEADERS=y\n"))
	for _, tc := range []struct {
		name, image string
		packages    [][]byte
		headers     []byte
		headerDir   string
		says        string // of the config
	}{
		{"amzn2: one package, all in /boot", "boot/vmlinuz-" + rel, [][]byte{
			rpmOf(t, "kernel", rpmtest.Regular("/boot/vmlinuz-"+rel, "image"), rpmtest.Regular("/boot/config-"+rel, config),
				rpmtest.Regular("/boot/System.map-"+rel, "map"), builtin, virtio, rpmtest.Link(lib+"/build", src), rpmtest.Link(lib+"/weak-updates/virtio.ko", "/lib/modules/other/virtio.ko")),
		}, devel, src, "EXT4_FS"},
		{"el8: kernel-core and kernel-modules", "lib/modules/" + rel + "/vmlinuz", [][]byte{
			rpmOf(t, "kernel-core", ghost, rpmtest.Regular(lib+"/vmlinuz", "image"), rpmtest.Regular(lib+"/config", config), rpmtest.Regular(lib+"/System.map", "map"), builtin),
			rpmOf(t, "kernel-modules", rpmtest.Dir(lib), virtio),
		}, devel, src, "EXT4_FS"},
		{"no config but that of the headers", "boot/vmlinuz-" + rel, [][]byte{
			rpmOf(t, "kernel", rpmtest.Regular("/boot/vmlinuz-"+rel, "image"), rpmtest.Regular("/boot/System.map-"+rel, "map"), builtin, virtio),
		}, devel, src, "OF_HEADERS"},
		{"headers in a tar archive", "boot/vmlinuz-" + rel, [][]byte{
			rpmOf(t, "kernel", rpmtest.Regular("/boot/vmlinuz-"+rel, "image"), rpmtest.Regular("/boot/config-"+rel, config), rpmtest.Regular("/boot/System.map-"+rel, "map"), builtin, virtio),
		}, debtest.Compress(t, ".gz", debtest.Tar(t, debtest.File("usr/src/linux-headers-"+rel+"/Makefile", "all:"))), "/usr/src/linux-headers-" + rel, "EXT4_FS"},
		{"headers of another kernel", "boot/vmlinuz-" + rel, [][]byte{
			rpmOf(t, "kernel", rpmtest.Regular("/boot/vmlinuz-"+rel, "image"), rpmtest.Regular("/boot/config-"+rel, config), rpmtest.Regular("/boot/System.map-"+rel, "map"), builtin, virtio),
		}, rpmOf(t, "kernel-devel", rpmtest.Regular("/usr/src/kernels/other/Makefile", "all:")), "", "EXT4_FS"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := &shelf{dir: t.TempDir()}
			r := &Resolved{Kernel: Kernel{Distro: "amazonlinux2", Release: rel, Arch: "x86_64"}, Headers: []Package{s.add(t, "headers", tc.headers)}}
			for i, b := range tc.packages {
				r.Image = append(r.Image, s.add(t, "p"+string(rune('a'+i)), b))
			}
			f, err := (&Trees{Dir: t.TempDir(), Fetcher: s}).Files(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if b, _ := os.ReadFile(f.Image); string(b) != "image" || !strings.HasSuffix(f.Image, "/"+tc.image) {
				t.Errorf("image %s holds %q", f.Image, b)
			}
			if b, _ := os.ReadFile(f.SystemMap); string(b) != "map" {
				t.Errorf("System.map %s holds %q", f.SystemMap, b)
			}
			if !f.Config.IsBuiltin(tc.says) {
				t.Errorf("config lacks %s", tc.says)
			}
			if f.HeaderDir != tc.headerDir {
				t.Errorf("headers in %q", f.HeaderDir)
			}
			if modules, err := f.Modules("virtio", "ext4"); err != nil || len(modules) != 1 || !strings.HasPrefix(modules[0].Path, "kernel/") {
				t.Errorf("modules %+v, %v", modules, err)
			}
		})
	}
}

// TestTreeBySum: packages without a SHA-256 are told apart by the checksum they have.
func TestTreeBySum(t *testing.T) {
	one, two := Package{Name: "headers", Sum: "md5:00"}, Package{Name: "headers", Sum: "md5:01"}
	if treeKey("x", []Package{one}) == treeKey("x", []Package{two}) {
		t.Error("two packages, one tree")
	}
}

func TestUnpackWhatIsNoPackage(t *testing.T) {
	for _, content := range []string{"", "<html>no</html>", "!<arch>\n", "\xed\xab\xee\xdb", "\x1f\x8b"} {
		dir, file := t.TempDir(), filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		err := Unpack(t.Context(), file, dir, nil)
		if cause.Of(err).Cause != cause.PackageCorrupt {
			t.Errorf("%q: got %v", content, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%q: left %v", content, left)
		}
	}
	if err := Unpack(t.Context(), "/does/not/exist", t.TempDir(), nil); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("got %v", err)
	}
}
