// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/results/cause"
)

// module makes an ELF file that has nothing but a .modinfo section.
func module(t *testing.T, info ...string) []byte {
	t.Helper()
	const headerSize, sectionSize = 64, 64
	modinfo := []byte(strings.Join(info, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	data := append(bytes.Clone(modinfo), names...)
	h := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1, Ehsize: headerSize,
		Shoff: uint64(headerSize + len(data)), Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), 1
	var b bytes.Buffer
	for _, part := range []any{
		h, data, elf.Section64{},
		elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: headerSize, Size: uint64(len(modinfo))},
		elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: uint64(headerSize + len(modinfo)), Size: uint64(len(names))},
	} {
		if err := binary.Write(&b, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// moduleTree has virtio modules as Debian's 6.1 cloud kernel has them, in all compressions, and some that are broken.
func moduleTree(t *testing.T) *Files {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, content []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, depends := range map[string]string{
		"kernel/drivers/virtio/virtio.ko.xz":             "",
		"kernel/drivers/virtio/virtio_ring.ko.zst":       "virtio",
		"kernel/drivers/virtio/virtio_pci.ko.gz":         "virtio_pci_modern_dev,virtio_ring,virtio,virtio-pci-legacy-dev",
		"kernel/drivers/virtio/virtio_pci_legacy_dev.ko": "",
		"kernel/drivers/virtio/virtio_pci_modern_dev.ko": "",
		"kernel/drivers/char/virtio_console.ko":          "virtio_ring,virtio",
		"kernel/fs/overlayfs/overlay.ko":                 "",
		"kernel/lib/on-top.ko":                           "crc16",
		"kernel/x/a.ko":                                  "b",
		"kernel/x/b.ko":                                  "a",
		"kernel/x/lonely.ko":                             "nowhere",
	} {
		_, suffix, _ := strings.Cut(filepath.Base(name), ".ko")
		write(name, debtest.Compress(t, suffix, module(t, "license=GPL", "depends="+depends, "name="+filepath.Base(name))))
	}
	for name, softdep := range map[string]string{
		"kernel/fs/ext4x.ko":              "pre: crypto-crc32c post: overlay",
		"kernel/crypto/crc32c_generic.ko": "",
		"kernel/x/wishes.ko":              "pre: crypto-nothing crc16 virtio-ring",
		"kernel/x/chicken.ko":             "pre: egg",
		"kernel/x/egg.ko":                 "pre: chicken",
	} {
		write(name, module(t, "depends=", "softdep="+softdep))
	}
	write("kernel/x/text.ko", []byte("no ELF"))
	write("kernel/x/cut.ko.xz", debtest.Compress(t, ".xz", module(t, "depends="))[:40])
	write("modules.builtin", []byte("kernel/fs/ext4/ext4.ko\nkernel/lib/crc16.ko\n"))
	return &Files{Kernel: Kernel{Release: "6.1.0-56-cloud-amd64"}, ModuleDir: dir,
		Config: &Config{values: map[string]string{"VIRTIO_MMIO": "y", "9P_FS": ""}}}
}

func TestModules(t *testing.T) {
	f := moduleTree(t)
	for _, tc := range []struct{ names, want string }{
		{"virtio_ring", "virtio virtio_ring"},
		{"virtio-pci virtio_console overlay", "virtio_pci_modern_dev virtio virtio_ring virtio_pci_legacy_dev virtio_pci virtio_console overlay"},
		{"ext4", ""},
		{"virtio_mmio", ""}, // only the config knows
		{"on_top", "on_top"},
		{"overlay overlay", "overlay"},
		{"ext4x", "crc32c_generic ext4x"},
		{"wishes", "virtio virtio_ring wishes"}, // one is built in, and one is nowhere
		{"chicken", "egg chicken"},
	} {
		ms, err := f.Modules(strings.Fields(tc.names)...)
		if err != nil {
			t.Errorf("%s: %v", tc.names, err)
			continue
		}
		var got []string
		for _, m := range ms {
			got = append(got, m.Name)
			if !bytes.HasPrefix(m.Data, []byte(elf.ELFMAG)) {
				t.Errorf("%s is not decompressed", m.Path)
			}
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: got %s, want %s", tc.names, s, tc.want)
		}
	}
	for name, says := range map[string]string{
		"9p": `CONFIG_9P_FS=""`, "vsock": "CONFIG_VSOCK", "a": "a -> b -> a", "lonely": "nowhere", "text": "ELF", "cut": "cut.ko.xz",
	} {
		_, err := f.Modules(name)
		if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(sprintAll(err), says) {
			t.Errorf("%s: got %s, want it to tell %s", name, sprintAll(err), says)
		}
	}
}

// sprintAll is the error with its evidence.
func sprintAll(err error) string {
	var s []string
	for _, e := range cause.Of(err).Evidence {
		s = append(s, e.String())
	}
	return strings.Join(s, "\n")
}

func TestModinfoOfDamagedFiles(t *testing.T) {
	good := module(t, "depends=x", "alias=a", "alias=b")
	info, err := Modinfo(good)
	if err != nil || strings.Join(info["alias"], ",") != "a,b" {
		t.Fatalf("got %v, %v", info, err)
	}
	for n := range good {
		Modinfo(good[:n]) // must not panic
		damaged := bytes.Clone(good)
		damaged[n] ^= 0xff
		Modinfo(damaged)
	}
}
