// SPDX-License-Identifier: Apache-2.0

package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

const control = "Package: p\nVersion: 1-2\nDescription: short\n long\n .\n longer\n"

func write(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p_1-2_all.deb")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tree lists what is below dir: directories with a slash, links with their targets, files with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		switch {
		case d.IsDir():
			return nil
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			out[name] = "-> " + target
			return err
		}
		b, err := os.ReadFile(path)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestUnpack(t *testing.T) {
	for _, suffix := range []string{"", ".gz", ".xz", ".zst"} {
		t.Run("data.tar"+suffix, func(t *testing.T) {
			file := write(t, Deb(t, suffix, control,
				Dir("./"), Dir("./usr/"), Dir("./usr/bin/"),
				File("./usr/bin/tool", "tool"), HardLink("./usr/bin/same", "./usr/bin/tool"),
				Link("./usr/bin/sh", "/etc/alternatives/sh"), File("./usr/share/doc/p/copyright", "(c)"),
			))
			dir := t.TempDir()
			err := Unpack(t.Context(), file, dir, Limits{}, func(name string) bool { return !strings.HasPrefix(name, "usr/share/doc/") })
			if err != nil {
				t.Fatal(err)
			}
			same(t, tree(t, dir), map[string]string{"usr/bin/tool": "tool", "usr/bin/same": "tool", "usr/bin/sh": "-> /etc/alternatives/sh"})
			c, err := Control(file)
			if err != nil || c["Version"] != "1-2" || c["Description"] != "short\nlong\n.\nlonger" {
				t.Errorf("control: %q, %v", c, err)
			}
		})
	}
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("unexpected %s: %q", name, got[name])
		}
	}
	for name, content := range want {
		if g, ok := got[name]; !ok || g != content {
			t.Errorf("%s: got %q, want %q", name, g, content)
		}
	}
}

// TestUnpackRules: each case unpacks packages one after the other into the directory "root" beside a directory "outside".
func TestUnpackRules(t *testing.T) {
	for _, tc := range []struct {
		name     string
		packages [][]Entry
		want     map[string]string
	}{
		{
			"a file replaces a file, and not what that was linked to",
			[][]Entry{{File("./a", "old"), HardLink("./b", "./a")}, {File("./a", "new")}},
			map[string]string{"a": "new", "b": "old"},
		}, {
			"a file replaces a link, and does not write through it",
			[][]Entry{{File("./a", "old"), Link("./b", "a")}, {File("./b", "new")}},
			map[string]string{"a": "old", "b": "new"},
		}, {
			"a merged /usr: files for /lib go to /usr/lib",
			[][]Entry{{Dir("./usr/lib/"), Link("./lib", "usr/lib")}, {Dir("./lib/"), File("./lib/ld.so", "ld")}},
			map[string]string{"lib": "-> usr/lib", "usr/lib/ld.so": "ld"},
		}, {
			"a directory that is there stays when a link to one comes",
			[][]Entry{{File("./lib/ld.so", "ld")}, {Link("./lib", "usr/lib")}},
			map[string]string{"lib/ld.so": "ld"},
		}, {
			"an absolute link leads to the root of the tree",
			[][]Entry{{Dir("./real/"), Link("./to", "/real")}, {File("./to/f", "f")}},
			map[string]string{"to": "-> /real", "real/f": "f"},
		}, {
			"a link cannot lead out: .. ends at the root",
			[][]Entry{{Link("./to", "../../outside")}, {File("./to/f", "f")}},
			map[string]string{"to": "-> ../../outside", "outside/f": "f"},
		}, {
			"an absolute link cannot lead out",
			[][]Entry{{Link("./to", "/tmp"), File("./to/f", "f")}},
			map[string]string{"to": "-> /tmp", "tmp/f": "f"},
		}, {
			"a link that changes takes effect at once",
			[][]Entry{{Dir("./x/"), Dir("./y/"), Link("./to", "x"), File("./to/1", "1"), Link("./to", "y"), File("./to/2", "2")}},
			map[string]string{"to": "-> y", "x/1": "1", "y/2": "2"},
		}, {
			"directories that the package does not list are made",
			[][]Entry{{File("./deep/er/f", "f")}},
			map[string]string{"deep/er/f": "f"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := t.TempDir()
			root := filepath.Join(base, "in", "root")
			for _, dir := range []string{root, filepath.Join(base, "outside"), filepath.Join(base, "in", "outside")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			for _, entries := range tc.packages {
				if err := Unpack(t.Context(), write(t, Deb(t, "", control, entries...)), root, Limits{}, nil); err != nil {
					t.Fatal(err)
				}
			}
			same(t, tree(t, root), tc.want)
			for name := range tree(t, base) {
				if !strings.HasPrefix(name, "in/root/") {
					t.Errorf("written outside: %s", name)
				}
			}
		})
	}
}

func TestUnpackModes(t *testing.T) {
	suid := File("./su", "x")
	suid.Mode = 0o4755
	locked := Dir("./locked/")
	locked.Mode = 0o555
	dir := t.TempDir()
	if err := Unpack(t.Context(), write(t, Deb(t, "", control, suid, locked, File("./locked/f", "f"))), dir, Limits{}, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"su": 0o755, "locked": fs.ModeDir | 0o755, "locked/f": 0o644} {
		fi, err := os.Stat(filepath.Join(dir, name))
		if err != nil || fi.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", name, fi.Mode(), err, want)
		}
	}
}

func special(kind byte) Entry {
	return Entry{Header: tar.Header{Name: "./dev/x", Typeflag: kind, Mode: 0o600, Devmajor: 1, Devminor: 3}}
}

func TestBadPackages(t *testing.T) {
	good := Deb(t, ".xz", control, File("./f", strings.Repeat("content ", 1000)))
	head := []Member{Part("debian-binary", []byte("2.0\n")), Part("control.tar", Tar(t, File("./control", control)))}
	flip := bytes.Clone(good)
	flip[len(flip)-100] ^= 0xff
	bomb := Deb(t, ".xz", control, File("./zeros", string(make([]byte, 8<<20))))
	var many []Entry
	for range 20 {
		many = append(many, File("./f", "x"))
	}
	for _, tc := range []struct {
		name    string
		content []byte
		lim     Limits
		is      error  // errors.Is
		says    string // in the error's text
	}{
		{"empty", nil, Limits{}, nil, "not an ar archive"},
		{"a web page", []byte("<html>no</html>"), Limits{}, nil, "not an ar archive"},
		{"truncated in the data", good[:len(good)-60], Limits{}, io.ErrUnexpectedEOF, "data.tar.xz"},
		{"truncated in a header", good[:len("!<arch>\n")+30], Limits{}, io.ErrUnexpectedEOF, "header"},
		{"altered", flip, Limits{}, nil, "xz"},
		{"no data", Ar(head...), Limits{}, nil, "has no data.tar"},
		{"not a package", Ar(Part("x", nil)), Limits{}, nil, "debian-binary"},
		{"format 3", Ar(Part("debian-binary", []byte("3.0\n"))), Limits{}, nil, "format version"},
		{"compression not known", Ar(append(head, Part("data.tar.lzma", nil))...), Limits{}, nil, "unknown compression"},
		{"xz that is none", Ar(append(head, Part("data.tar.xz", []byte("nothing")))...), Limits{}, nil, "xz"},
		{"zstd that is none", Ar(append(head, Part("data.tar.zst", []byte("nothing")))...), Limits{}, nil, "package"},
		{"tar that is none", Ar(append(head, Part("data.tar", bytes.Repeat([]byte("x"), 1024)))...), Limits{}, nil, "package"},
		{"tar cut short", Ar(append(head, Part("data.tar", Tar(t, File("./f", strings.Repeat("x", 2000)))[:1024]))...), Limits{}, io.ErrUnexpectedEOF, ""},
		{"absolute name", Deb(t, "", control, File("/etc/passwd", "x")), Limits{}, ErrUnsafe, "/etc/passwd"},
		{"name with ..", Deb(t, "", control, File("./a/../../f", "x")), Limits{}, ErrUnsafe, ".."},
		{"hard link out", Deb(t, "", control, HardLink("./f", "../../etc/passwd")), Limits{}, ErrUnsafe, ".."},
		{"absolute hard link", Deb(t, "", control, HardLink("./f", "/etc/passwd")), Limits{}, ErrUnsafe, "/etc/passwd"},
		{"hard link to a link", Deb(t, "", control, Link("./l", "/etc/passwd"), HardLink("./f", "./l")), Limits{}, ErrUnsafe, "not a file"},
		{"hard link through a link", Deb(t, "", control, Link("./l", "/etc"), HardLink("./f", "./l/hostname")), Limits{}, fs.ErrNotExist, "etc"},
		{"hard link to nothing", Deb(t, "", control, HardLink("./f", "./g")), Limits{}, fs.ErrNotExist, "hard link"},
		{"links in a circle", Deb(t, "", control, Link("./a", "b"), Link("./b", "a"), File("./a/f", "x")), Limits{}, ErrUnsafe, "too many links"},
		{"file below a file", Deb(t, "", control, File("./a", "x"), File("./a/f", "x")), Limits{}, unpack.ErrClash, ""},
		{"file over a directory", Deb(t, "", control, Dir("./a/"), File("./a", "x")), Limits{}, unpack.ErrClash, ""},
		{"directory over a file", Deb(t, "", control, File("./a", "x"), Dir("./a/")), Limits{}, unpack.ErrClash, ""},
		{"character device", Deb(t, "", control, special(tar.TypeChar)), Limits{}, ErrSpecial, "dev/x"},
		{"block device", Deb(t, "", control, special(tar.TypeBlock)), Limits{}, ErrSpecial, "dev/x"},
		{"fifo", Deb(t, "", control, special(tar.TypeFifo)), Limits{}, ErrSpecial, "dev/x"},
		{"decompression bomb", bomb, Limits{Bytes: 1 << 20}, ErrLimit, ""},
		{"too many files", Deb(t, "", control, many...), Limits{Files: 10}, ErrLimit, "10 files"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			base := t.TempDir()
			root := filepath.Join(base, "a", "b", "root")
			if err := os.MkdirAll(root, 0o755); err != nil {
				t.Fatal(err)
			}
			err := Unpack(t.Context(), write(t, tc.content), root, tc.lim, nil)
			if err == nil {
				t.Fatal("unpacked")
			}
			f := cause.Of(err)
			if f.Cause != cause.PackageCorrupt || f.Fault != cause.FaultInfra || f.State != cause.Error {
				t.Errorf("%v is %+v", err, f)
			}
			if tc.is != nil && !errors.Is(err, tc.is) {
				t.Errorf("%v is not %v", err, tc.is)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q does not say %q", err, tc.says)
			}
			for name := range tree(t, base) {
				if !strings.HasPrefix(name, "a/b/root/") {
					t.Errorf("written outside: %s", name)
				}
			}
		})
	}
}

// TestCheckSumAfterTheEnd: damage behind the last file is damage, though all files came out.
func TestCheckSumAfterTheEnd(t *testing.T) {
	data := Compress(t, ".gz", Tar(t, File("./f", "x")))
	data[len(data)-8] ^= 1 // the CRC
	file := write(t, Ar(Part("debian-binary", []byte("2.0\n")), Part("data.tar.gz", data)))
	if err := Unpack(t.Context(), file, t.TempDir(), Limits{}, nil); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("got %v", err)
	}
}

func TestWalkEndsEarly(t *testing.T) {
	file := write(t, Deb(t, "", control, File("./a", "x"), File("./b", "x")))
	var seen []string
	err := Walk(t.Context(), file, Limits{}, func(h *tar.Header, _ io.Reader) error {
		seen = append(seen, h.Name)
		return fs.SkipAll
	})
	if err != nil || len(seen) != 1 || seen[0] != "a" {
		t.Errorf("saw %v, %v", seen, err)
	}
}
