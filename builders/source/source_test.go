// SPDX-License-Identifier: Apache-2.0

package source

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

const config = "#define PPM_API_CURRENT_VERSION_MAJOR 8\n#define PPM_API_CURRENT_VERSION_MINOR 0\n#define PPM_API_CURRENT_VERSION_PATCH 4\n" +
	"#define PPM_SCHEMA_CURRENT_VERSION_MAJOR 4\n#define DRIVER_DEVICE_NAME \"falco\"\n"

var dkmsTree = map[string]string{"dkms.conf": falco, "Makefile": "obj-m += scap.o\n", "main.c": "x", "driver_config.h": config, "bpf/probe.c": "y", "bpf/Makefile": "z"}

func newArchive(t *testing.T) *archive.Archive {
	t.Helper()
	a, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// write puts files below a new directory, each under prefix.
func write(t *testing.T, prefix string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, prefix, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// tarOf makes a tarball of entries in the order given.
func tarOf(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		text := h.Uname // the content rides in a field that nobody reads
		h.Uname, h.Size = "", int64(len(text))
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "driver.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func files(prefix string, of map[string]string) []tar.Header {
	var out []tar.Header
	for name, text := range of {
		out = append(out, tar.Header{Typeflag: tar.TypeReg, Name: prefix + name, Uname: text})
	}
	return out
}

func open(t *testing.T, a *archive.Archive, path string) *Source {
	t.Helper()
	s, err := Open(t.Context(), a, path, Options{})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return s
}

func TestTheSameTreeIsTheSameSource(t *testing.T) {
	a := newArchive(t)
	want := open(t, a, write(t, "", dkmsTree))
	if got := fmt.Sprintf("%s %s %s %s %q %v", want.Layout, want.Name, want.Device, want.API, want.Schema, want.Variants); got != `dkms scap falco 8.0.4 "" [kmod ebpf]` {
		t.Errorf("read as %s", got)
	}
	if want.Version != "0.23.2" || want.Base() != "scap-0.23.2" {
		t.Errorf("version %q, base %q", want.Version, want.Base())
	}
	git := map[string]string{".git/HEAD": "ref", ".git/objects/x": "y"}
	for name, text := range dkmsTree {
		git[name] = text
	}
	for name, path := range map[string]string{
		"a directory below":             write(t, "scap-0.23.2", dkmsTree),
		"where a package has it":        write(t, "usr/src/scap-0.23.2", dkmsTree),
		"a tarball":                     tarOf(t, files("", dkmsTree)...),
		"a tarball of a directory":      tarOf(t, files("./scap-1/", dkmsTree)...),
		"with what version control has": write(t, "", git),
		"a tarball of git archive": tarOf(t, append([]tar.Header{{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "e5c53d64"}}},
			files("libs/", dkmsTree)...)...),
	} {
		if s := open(t, a, path); s.Digest != want.Digest {
			t.Errorf("%s: digest %s, want %s", name, s.Digest, want.Digest)
		}
	}
}

func TestWhatDecidesADigest(t *testing.T) {
	a := newArchive(t)
	base := open(t, a, write(t, "", dkmsTree)).Digest
	change := map[string]func(dir string) error{
		"content": func(dir string) error { return os.WriteFile(filepath.Join(dir, "main.c"), []byte("X"), 0o644) },
		"name": func(dir string) error {
			return os.Rename(filepath.Join(dir, "Makefile"), filepath.Join(dir, "makefile"))
		},
		"mode": func(dir string) error { return os.Chmod(filepath.Join(dir, "main.c"), 0o755) },
		"link": func(dir string) error { return os.Symlink("main.c", filepath.Join(dir, "other.c")) },
	}
	for name, do := range change {
		dir := write(t, "", dkmsTree)
		if err := do(dir); err != nil {
			t.Fatal(err)
		}
		if open(t, a, dir).Digest == base {
			t.Errorf("%s does not change the digest", name)
		}
	}
	dir := write(t, "", dkmsTree)
	if err := os.Chmod(filepath.Join(dir, "main.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if open(t, a, dir).Digest != base {
		t.Error("who may read a file changes the digest")
	}
}

func TestUnpackGivesWhatWasArchived(t *testing.T) {
	a := newArchive(t)
	dir := write(t, "", dkmsTree)
	if err := os.Symlink("../main.c", filepath.Join(dir, "bpf/main.c")); err != nil {
		t.Fatal(err)
	}
	s := open(t, a, dir)
	out := t.TempDir()
	if err := s.Unpack(t.Context(), out, func(name string) bool { return name != "Makefile" }); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(out, "bpf/main.c")); err != nil || string(text) != "x" {
		t.Errorf("through the link: %q, %v", text, err)
	}
	if _, err := os.Stat(filepath.Join(out, "Makefile")); err == nil {
		t.Error("what was not wanted is there")
	}
	again, err := Load(t.Context(), a, s.Digest, Options{})
	if err != nil || again.Version != s.Version {
		t.Errorf("Load: %+v, %v", again, err)
	}
}

func TestLibs(t *testing.T) {
	libs := map[string]string{
		"CMakeLists.txt": "top", "driver/CMakeLists.txt": "x", "driver/main.c": "y", "driver/API_VERSION": "8.0.0\n", "driver/SCHEMA_VERSION": "3.3.0\n",
		"driver/modern_bpf/CMakeLists.txt": "z", "cmake/modules/versions.cmake": "m", "userspace/libscap/scap.c": "u", "test/dkms/dkms.conf": falco,
	}
	a := newArchive(t)
	s := open(t, a, write(t, "libs-0.20.0", libs))
	if got := fmt.Sprintf("%s %s %s %s %v", s.Layout, s.Name, s.API, s.Schema, s.Variants); got != "libs scap 8.0.0 3.3.0 [kmod modern_ebpf]" {
		t.Errorf("read as %s", got)
	}
	if !strings.HasPrefix(s.Version, "8.0.0+tree.") {
		t.Errorf("version %s", s.Version)
	}
	libs["userspace/libscap/scap.c"] = "changed"
	if other := open(t, a, write(t, "", libs)); other.Digest != s.Digest {
		t.Error("what is not the driver's changes its digest")
	}
	named, err := Open(t.Context(), a, write(t, "", libs), Options{Version: "8.0.0+driver"})
	if err != nil || named.Version != "8.0.0+driver" || named.Digest != s.Digest {
		t.Errorf("%+v, %v", named, err)
	}
	if err := s.Require(product.KMod); err != nil {
		t.Error(err)
	}
	f := cause.Of(s.Require(product.EBPF))
	if f.State != cause.Unsupported || f.Cause != cause.VariantGone || f.Evidence[1].Text != "looked for driver/bpf/probe.c" {
		t.Errorf("%+v", f)
	}
}

func TestRefused(t *testing.T) {
	with := func(more ...tar.Header) func(*testing.T) string {
		return func(t *testing.T) string { return tarOf(t, append(files("", dkmsTree), more...)...) }
	}
	for _, c := range []struct {
		name, want string
		make       func(t *testing.T) string
	}{
		{"no driver", "holds no driver", func(t *testing.T) string { return write(t, "", map[string]string{"README": "x"}) }},
		{"too deep", "holds no driver", func(t *testing.T) string { return write(t, "a/b", dkmsTree) }},
		{"two drivers", "more than one driver", func(t *testing.T) string {
			return tarOf(t, append(files("a/", dkmsTree), files("b/", dkmsTree)...)...)
		}},
		{"nothing there", "no such file", func(t *testing.T) string { return filepath.Join(t.TempDir(), "x") }},
		{"no archive", "not a tar archive", func(t *testing.T) string {
			return filepath.Join(write(t, "", map[string]string{"x.tar": "not one"}), "x.tar")
		}},
		{"a name that is not UTF-8", `"a\xff.c" is not UTF-8`, func(t *testing.T) string {
			dir := write(t, "", dkmsTree)
			if err := os.WriteFile(filepath.Join(dir, "a\xff.c"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a directory that is not UTF-8", `"d\xff" is not UTF-8`, func(t *testing.T) string {
			dir := write(t, "", dkmsTree)
			if err := os.Mkdir(filepath.Join(dir, "d\xff"), 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a line break in a name", "control character", with(tar.Header{Typeflag: tar.TypeReg, Name: "a\n.c"})},
		{"an absolute link", `"x" is a link to "/etc/passwd"`, with(tar.Header{Typeflag: tar.TypeSymlink, Name: "x", Linkname: "/etc/passwd"})},
		{"a link that leads out", `is a link to "../../etc"`, with(tar.Header{Typeflag: tar.TypeSymlink, Name: "bpf/x", Linkname: "../../etc"})},
		{"an absolute link in a directory", "outside of the tree", func(t *testing.T) string {
			dir := write(t, "", dkmsTree)
			if err := os.Symlink("/etc/passwd", filepath.Join(dir, "x")); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a hard link", "is a hard link", with(tar.Header{Typeflag: tar.TypeLink, Name: "x", Linkname: "main.c"})},
		{"a fifo", "special", with(tar.Header{Typeflag: tar.TypeFifo, Name: "x"})},
		{"a name that leads out", "leaves the directory", with(tar.Header{Typeflag: tar.TypeReg, Name: "../x"})},
		{"a huge file", "larger than 128 MiB", func(t *testing.T) string {
			dir := write(t, "", dkmsTree)
			if err := os.Truncate(filepath.Join(dir, "main.c"), maxBytes+1); err != nil {
				t.Fatal(err)
			}
			return dir
		}},
		{"a version that is no name", "not usable", func(t *testing.T) string {
			return write(t, "", map[string]string{"dkms.conf": strings.Replace(falco, "0.23.2", "../x", 1)})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), newArchive(t), c.make(t), Options{})
			f := cause.Of(err)
			if !slices.Contains([]cause.Cause{cause.SourceUnusable, cause.CompileError}, f.Cause) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %s, %v", f.Cause, err)
			}
		})
	}
}

func TestNoDriverSaysWhatWasLookedFor(t *testing.T) {
	_, err := Open(t.Context(), newArchive(t), t.TempDir(), Options{})
	text := fmt.Sprint(cause.Of(err).Evidence)
	for _, want := range []string{"dkms.conf", "usr/src/*/dkms.conf", "driver/CMakeLists.txt", "*/driver/CMakeLists.txt"} {
		if !strings.Contains(text, "looked for "+want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

func FuzzOpen(f *testing.F) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, text := range dkmsTree {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	dir := f.TempDir()
	a, err := archive.New(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), a, file, Options{})
		if err != nil {
			if cause.Of(err).Cause == cause.Internal {
				t.Errorf("%+v", err)
			}
			return
		}
		if err := s.Unpack(t.Context(), t.TempDir(), nil); err != nil {
			t.Errorf("opened and not to be unpacked: %v", err)
		}
	})
}
