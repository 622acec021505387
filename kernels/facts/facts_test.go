// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// tree is an unpacked kernel made of the fixture.
type tree struct {
	*kernels.Files
	t testing.TB
}

const treeConfig = fixtureConfig + `CONFIG_MODVERSIONS=y
CONFIG_MODULE_SIG=y
CONFIG_MODULE_SIG_HASH="sha256"
CONFIG_SECURITY_LOCKDOWN_LSM=y
CONFIG_LSM="landlock,lockdown,bpf"
CONFIG_OVERLAY_FS=m
CONFIG_EXT4_FS=y
CONFIG_VIRTIO_BLK=y
CONFIG_FTRACE_SYSCALLS=y
CONFIG_BPF_SYSCALL=y
CONFIG_X86_KERNEL_IBT=y
`

func newTree(t testing.TB) *tree {
	t.Helper()
	root := t.TempDir()
	k := &tree{t: t, Files: &kernels.Files{
		Kernel:    kernels.Kernel{Distro: "debian", Release: fixtureRelease, Version: "1", Arch: "x86_64"},
		Image:     filepath.Join(root, "boot", "vmlinuz-"+fixtureRelease),
		ModuleDir: filepath.Join(root, "lib", "modules", fixtureRelease),
		Headers:   filepath.Join(root, "headers"),
	}}
	k.write(k.Image, bzImage(withSize(payload(t, "vmlinux.lz4"), len(payload(t, "vmlinux")))))
	k.configure(treeConfig)
	k.write(filepath.Join(k.ModuleDir, "modules.builtin"), []byte("kernel/drivers/virtio/virtio_pci.ko\nkernel/fs/ext4/ext4.ko\n"))
	k.write(filepath.Join(k.ModuleDir, "kernel/fs/overlayfs/overlay.ko"), newELF(elf.EM_X86_64,
		section{".modinfo", []byte("name=overlay\x00depends=\x00")},
		section{".comment", []byte("Linker: none of our business\x00GCC: (Test 12.2.0-14) 12.2.0\x00")},
		section{".BTF", []byte("anything")},
	))
	k.write(filepath.Join(k.Headers, "usr/src/linux-headers-"+fixtureRelease, "include/generated/compile.h"),
		[]byte("#define UTS_MACHINE\t\t\"x86_64\"\n#define LINUX_COMPILER\t\t\"gcc-12 (Test 12.2.0-14) 12.2.0, GNU ld (GNU) 2.40\"\n"))
	return k
}

func (k *tree) write(path string, data []byte) {
	k.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		k.t.Fatal(err)
	}
}

func (k *tree) configure(text string) {
	k.t.Helper()
	var err error
	if k.Config, err = kernels.ParseConfig(strings.NewReader(text)); err != nil {
		k.t.Fatal(err)
	}
	k.write(filepath.Join(filepath.Dir(k.Image), "config-"+fixtureRelease), []byte(text))
}

func (k *tree) facts() *Facts {
	k.t.Helper()
	f, err := Of(k.t.Context(), k.Files)
	if err != nil {
		k.t.Fatal(err)
	}
	return f
}

func render(t testing.TB, f *Facts) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := f.Render(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got), `make golden` rewrites it:\n%s", name, diff)
	}
}

func TestGolden(t *testing.T) {
	whole := newTree(t).facts()
	text, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "whole.txt", render(t, whole))
	golden(t, "whole.json", append(text, '\n'))

	// A kernel of which there is little, and that contradicts itself.
	k := newTree(t)
	k.write(k.Image, bzImage(gzipped(newELF(elf.EM_AARCH64, section{".rodata", []byte(
		"Linux version 5.4.0-other (a@b) (Chromium OS 12.0_pre1 clang version 13.0.0 (/x/y 1234), LLD 13.0.0) #1 SMP\n\x00")}))))
	k.configure("CONFIG_CC_VERSION_TEXT=\"gcc (GCC) 8.5.0 20210514 (Red Hat 8.5.0-10)\"\nCONFIG_DEBUG_INFO_BTF=y\nCONFIG_VIRTIO_PCI=m\nCONFIG_MODULE_SIG_FORCE=y\n")
	k.Headers, k.Kernel.BuildID = "", "17800.570.5"
	golden(t, "poor.txt", render(t, k.facts()))
}

// A golden file alone would take a fact that is wrong for one that is right.
func TestOf(t *testing.T) {
	f := newTree(t).facts()
	if c := f.Compilers; c.Family != "gcc" || c.Version != "12.2.0" || !c.Agree {
		t.Errorf("compilers %+v", c)
	}
	var from []string
	for _, c := range f.Compilers.Claims {
		from = append(from, c.From)
	}
	if want := []string{"config", "compile.h", "banner", ".comment", ".comment of overlay"}; !slices.Equal(from, want) {
		t.Errorf("compilers from %q, want %q", from, want)
	}
	if f.Openat2 != Yes || f.ModuleBTF != Yes || !f.Boot.OK || f.Boot.Lacks != nil || f.Disagreements != nil {
		t.Errorf("openat2 %s, module BTF %s, boot %+v, disagreements %q", f.Openat2, f.ModuleBTF, f.Boot, f.Disagreements)
	}
	if f.Config.From != "package" || f.Config.SHA256 != digest([]byte(treeConfig)) {
		t.Errorf("config from %s, %s", f.Config.From, f.Config.SHA256)
	}
	b := f.BTF
	if !b.HasMap("ringbuf") || b.HasMap("unspec") || b.HasMap("arena") || !b.HasProg("tracing") || b.HasProg("lsm") ||
		!b.HasAttach("trace_raw_tp") || !b.HasHelper("ringbuf_reserve") || b.HasHelper("unspec") || b.Functions != 2 {
		t.Errorf("BTF %+v", b)
	}
}

func TestOfWithout(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tree)
		check  func(*Facts) bool
	}{
		"a config package": {
			func(k *tree) { k.Config = nil },
			func(f *Facts) bool {
				return f.Config.From == "IKCONFIG" && f.Config.SHA256 == digest([]byte(fixtureConfig)) && f.Boot.OK && len(f.Boot.Lacks) == 3
			},
		},
		"any config": {
			func(k *tree) {
				k.Config = nil
				k.write(k.Image, newELF(elf.EM_X86_64, section{".rodata", nil}))
			},
			func(f *Facts) bool { return f.Config == nil && !f.Boot.OK && f.BTF == nil && f.Openat2 == Unknown },
		},
		"modules": {
			func(k *tree) { k.ModuleDir = "" },
			func(f *Facts) bool {
				return f.ModuleBTF == Unknown && f.Boot.OK && strings.Contains(f.Boot.Lacks[0], "there are no modules")
			},
		},
		"virtio": {
			func(k *tree) { k.configure("CONFIG_VIRTIO_PCI=y\n") },
			func(f *Facts) bool {
				return !f.Boot.OK && len(f.Boot.Reasons) == 1 && strings.Contains(f.Boot.Reasons[0], "CONFIG_VIRTIO_CONSOLE is not set")
			},
		},
		"agreement": {
			func(k *tree) { k.configure(strings.ReplaceAll(treeConfig, "12.2.0", "12.3.0")) },
			func(f *Facts) bool {
				return !f.Compilers.Agree && f.Compilers.Version == "12.3.0" && len(f.Disagreements) == 1
			},
		},
		"a module of virtio": {
			func(k *tree) { k.configure("CONFIG_VIRTIO_PCI=y\nCONFIG_VIRTIO_CONSOLE=m\n") },
			func(f *Facts) bool {
				return !f.Boot.OK && strings.Contains(f.Boot.Reasons[0], "no module virtio_console")
			},
		},
		"a way into a bare vmlinux": {
			func(k *tree) { k.write(k.Image, newELF(elf.EM_X86_64, section{".rodata", nil})) },
			func(f *Facts) bool { return !f.Boot.OK && strings.Contains(f.Boot.Reasons[0], "CONFIG_PVH") },
		},
		"openat2, by System.map": {
			func(k *tree) {
				k.SystemMap = filepath.Join(k.ModuleDir, "System.map")
				k.write(k.SystemMap, []byte("ffffffff81000000 T __x64_sys_openat\n\n"))
			},
			func(f *Facts) bool { return f.Openat2 == No },
		},
		"a real System.map": {
			func(k *tree) {
				k.SystemMap = filepath.Join(k.ModuleDir, "System.map")
				k.write(k.SystemMap, []byte("ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"))
			},
			func(f *Facts) bool { return f.Openat2 == Yes },
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTree(t)
			c.change(k)
			before := *k.Files
			if f := k.facts(); !c.check(f) {
				t.Errorf("without %s:\n%s", name, render(t, f))
			}
			if !reflect.DeepEqual(before, *k.Files) {
				t.Errorf("the files were changed: %+v, before %+v", *k.Files, before)
			}
		})
	}
}

func TestOfRefuses(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx    context.Context
		change func(*tree)
		want   cause.Cause
	}{
		"no image":                     {t.Context(), func(k *tree) { os.Remove(k.Image) }, cause.PackageCorrupt},
		"an error page":                {t.Context(), func(k *tree) { k.write(k.Image, []byte("<html>404</html>")) }, cause.PackageCorrupt},
		"BTF that is none":             {t.Context(), func(k *tree) { k.write(k.Image, newELF(elf.EM_X86_64, section{".BTF", []byte("?")})) }, cause.PackageCorrupt},
		"a System.map that is gone":    {t.Context(), func(k *tree) { k.SystemMap = "/nonexistent/System.map" }, cause.PackageCorrupt},
		"somebody who waits no longer": {cancelled, func(*tree) {}, cause.Cancelled},
	} {
		t.Run(name, func(t *testing.T) {
			k := newTree(t)
			c.change(k)
			f, err := Of(c.ctx, k.Files)
			if got := cause.Of(err).Cause; got != c.want {
				t.Errorf("%v, %v (%s), want %s", f, err, got, c.want)
			}
		})
	}
}

func TestParseCompiler(t *testing.T) {
	for text, want := range map[string][2]string{
		"gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40":          {"gcc", "12.2.0"},
		"x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0, GNU ld (GNU Binutils for Debian) 2.44": {"gcc", "14.2.0"},
		"gcc version 7.3.1 20180712 (Red Hat 7.3.1-12) (GCC)":                                      {"gcc", "7.3.1"},
		"gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1), GNU ld version 2.35.2-9.amzn2.0.1":    {"gcc", "10.3.1"},
		"GCC: (GNU) 8.5.0 20210514 (Red Hat 8.5.0-10)":                                             {"gcc", "8.5.0"},
		"Chromium OS 12.0_pre422132_p20210405-r9 clang version 13.0.0 (/var/x 123), LLD 13.0.0":    {"clang", "13.0.0"},
		"Linker: LLD 19.1.7": {"", ""},
		"":                   {"", ""},
		"gcc \x00\n\"":       {"", ""},
	} {
		if family, version := parseCompiler(text); family != want[0] || version != want[1] {
			t.Errorf("%q: %s %s, want %s %s", text, family, version, want[0], want[1])
		}
	}
}

func TestParseBanner(t *testing.T) {
	for text, want := range map[string]Banner{
		"Linux version 5.10.179-168.710.amzn2.x86_64 (mockbuild@ip-10-0-44-229) (gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1), GNU ld version 2.35.2-9.amzn2.0.1) #1 SMP Mon May 22 23:10:22 UTC 2023": {
			Release: "5.10.179-168.710.amzn2.x86_64", Builder: "mockbuild@ip-10-0-44-229",
			Compiler: "gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1), GNU ld version 2.35.2-9.amzn2.0.1",
			Version:  "#1 SMP Mon May 22 23:10:22 UTC 2023",
		},
	} {
		want.Text = text
		if got, ok := parseBanner(text); !ok || got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
	for _, text := range []string{
		"", "Linux version ", "Linux version 6.1", "Linux version 6.1 (a@b) (gcc) # SMP", "Linux version 6.1 (a@b) (gcc (x) #1", "Linux version 6.1 a@b (gcc) #1", "Linux version 6.1 ) #1", "Linux version 6.1 xy#1",
	} {
		if got, ok := parseBanner(text); ok {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}

func TestConfigSays(t *testing.T) {
	for _, c := range []struct {
		config, signatures, lockdown, cfi, randstruct string
	}{
		{"X=y", "not checked", "none", "none", "no"},
		{"MODULE_SIG=y SECURITY_LOCKDOWN_LSM=y X86_KERNEL_IBT=y", "checked, not enforced", "by lockdown=", "IBT", "no"},
		{"MODULE_SIG=y MODULE_SIG_FORCE=y SECURITY_LOCKDOWN_LSM=y LOCK_DOWN_IN_EFI_SECURE_BOOT=y CFI_CLANG=y X86_KERNEL_IBT=y", "enforced", "under Secure Boot", "IBT, kCFI", "no"},
		{"SECURITY_LOCKDOWN_LSM=y LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y CFI=y RANDSTRUCT_FULL=y", "not checked", "integrity, always", "kCFI", "full"},
		{"SECURITY_LOCKDOWN_LSM=y LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y RANDSTRUCT_PERFORMANCE=y", "not checked", "confidentiality, always", "none", "within cache lines"},
		{"LOCK_DOWN_KERNEL=y GCC_PLUGIN_RANDSTRUCT=y", "not checked", "before the LSM", "none", "full"},
	} {
		k, err := kernels.ParseConfig(strings.NewReader("CONFIG_" + strings.ReplaceAll(c.config, " ", "\nCONFIG_")))
		if err != nil {
			t.Fatal(err)
		}
		got := newConfig("package", nil, k)
		if !strings.HasPrefix(got.Signatures(), c.signatures) || !strings.HasPrefix(got.Lockdown(), c.lockdown) ||
			got.CFI() != c.cfi || got.Randstruct() != c.randstruct {
			t.Errorf("%s: %q, %q, %q, %q", c.config, got.Signatures(), got.Lockdown(), got.CFI(), got.Randstruct())
		}
	}
}
