// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/results/cause"
)

func pack(files ...rpmtest.File) rpmtest.Spec {
	return rpmtest.Spec{Name: "kernel-core", Version: "4.18.0", Release: "372.119.1.el8_6", Arch: "x86_64", Compressor: "xz", Files: files}
}

func write(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.rpm")
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tree lists what is below dir: links with their targets, files with their content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		if d.Type() == fs.ModeSymlink {
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

func TestOpen(t *testing.T) {
	p := pack(rpmtest.Dir("/lib/modules/4.18"), rpmtest.Regular("/lib/modules/4.18/vmlinuz", "image"), rpmtest.Link("/boot/vmlinuz", "../lib/modules/4.18/vmlinuz"))
	p.Provides = []string{"kernel(printk) = 0x27e1a049", "kernel-uname-r = 4.18.0-372.119.1.el8_6.x86_64"}
	p.Extra = []rpmtest.Value{{Tag: 1003, Data: []int32{2}}}
	got, err := Open(write(t, p.Build(t)))
	if err != nil {
		t.Fatal(err)
	}
	if got.NEVRA() != "kernel-core-2:4.18.0-372.119.1.el8_6.x86_64" || got.SourceRPM != "kernel-core.src.rpm" {
		t.Errorf("%s of %s", got.NEVRA(), got.SourceRPM)
	}
	if len(got.Provides) != 2 || got.Provides[0].String() != "kernel(printk) = 0x27e1a049" {
		t.Errorf("provides %v", got.Provides)
	}
	var names []string
	for _, f := range got.Files {
		names = append(names, f.Mode.String()+" "+f.Name+" "+f.Link)
	}
	want := []string{"drwxr-xr-x /lib/modules/4.18 ", "-rw-r--r-- /lib/modules/4.18/vmlinuz ", "Lrwxrwxrwx /boot/vmlinuz ../lib/modules/4.18/vmlinuz"}
	if !slices.Equal(names, want) {
		t.Errorf("files %q", names)
	}
}

func TestUnpack(t *testing.T) {
	content := strings.Repeat("content ", 5000)
	for _, magic := range []string{"070701", "070702", "07070X"} {
		for _, compressor := range []string{"", "gzip", "xz", "zstd", "lzma"} {
			t.Run(magic+" "+compressor, func(t *testing.T) {
				one, two, three := rpmtest.Regular("/usr/a", content), rpmtest.Regular("/usr/b", content), rpmtest.Regular("/usr/doc/c", content)
				one.Inode, two.Inode, three.Inode = 7, 7, 7
				ghost := rpmtest.Regular("/etc/ghost", "")
				ghost.Ghost = true
				p := pack(rpmtest.Dir("/usr"), one, rpmtest.Regular("/usr/odd", "odd"), two, three, rpmtest.Link("/usr/sh", "/bin/sh"), ghost, rpmtest.Regular("/usr/empty", ""))
				p.Compressor, p.Magic = compressor, magic
				dir := t.TempDir()
				// The content of the three comes with the last one, which is not wanted.
				err := Unpack(t.Context(), write(t, p.Build(t)), dir, Limits{}, func(name string) bool { return !strings.HasPrefix(name, "usr/doc/") })
				if err != nil {
					t.Fatal(err)
				}
				got, want := tree(t, dir), map[string]string{"usr/a": content, "usr/b": content, "usr/odd": "odd", "usr/sh": "-> /bin/sh", "usr/empty": ""}
				if !maps.Equal(got, want) {
					t.Errorf("got %q", slices.Sorted(maps.Keys(got)))
				}
				a, _ := os.Stat(filepath.Join(dir, "usr/a"))
				b, _ := os.Stat(filepath.Join(dir, "usr/b"))
				if a == nil || b == nil || !os.SameFile(a, b) {
					t.Error("hard links are two files")
				}
				if a != nil && a.ModTime().Unix() != 1_600_000_000 {
					t.Errorf("a is of %s", a.ModTime())
				}
			})
		}
	}
}

// TestUnpackStaysInside: links of a package lead no further than the directory.
func TestUnpackStaysInside(t *testing.T) {
	for _, target := range []string{"../../outside", "/tmp", "/"} {
		base := t.TempDir()
		root := filepath.Join(base, "in", "root")
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		p := pack(rpmtest.Link("/to", target), rpmtest.Regular("/to/f", "f"))
		if err := Unpack(t.Context(), write(t, p.Build(t)), root, Limits{}, nil); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		found := tree(t, base)
		for name := range found {
			if !strings.HasPrefix(name, "in/root/") {
				t.Errorf("%s: written outside: %s", target, name)
			}
		}
		if len(found) != 2 {
			t.Errorf("%s: %v", target, found)
		}
	}
}

// cpioOf makes an archive of one entry after the other, without a trailer.
func cpioOf(names ...string) []byte {
	var b bytes.Buffer
	for _, name := range names {
		rpmtest.Entry(&b, "", name, 0o100644, "x")
	}
	return b.Bytes()
}

func device(mode int) rpmtest.File { return rpmtest.File{Name: "/dev/x", Mode: mode} }

func TestBadPackages(t *testing.T) {
	good := pack(rpmtest.Regular("/f", strings.Repeat("content ", 1000))).Build(t)
	with := func(change func(p *rpmtest.Spec), files ...rpmtest.File) []byte {
		p := pack(files...)
		change(&p)
		return p.Build(t)
	}
	archive := func(cpio []byte, files ...rpmtest.File) []byte {
		return with(func(p *rpmtest.Spec) { p.Cpio = cpio }, files...)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 0xff
		return b
	}
	named := func(cpio string) rpmtest.File {
		return rpmtest.File{Name: "/f", Cpio: cpio, Mode: 0o100644, Content: "x"}
	}
	trailer := func(b []byte) []byte {
		buf := bytes.NewBuffer(b)
		rpmtest.Entry(buf, "", "TRAILER!!!", 0, "")
		return buf.Bytes()
	}
	one := rpmtest.Regular("/f", "x")
	sums := bytes.Replace(trailer(func() []byte { var b bytes.Buffer; rpmtest.Entry(&b, "070702", "./f", 0o100644, "x"); return b.Bytes() }()), []byte("./f\x00\x00\x00x"), []byte("./f\x00\x00\x00y"), 1)
	for _, tc := range []struct {
		name    string
		content []byte
		lim     Limits
		is      error
		says    string
	}{
		{"empty", nil, Limits{}, nil, "not an RPM"},
		{"a web page", []byte("<html>no</html>"), Limits{}, nil, "not an RPM"},
		{"truncated in the lead", good[:50], Limits{}, io.ErrUnexpectedEOF, "lead"},
		{"truncated in the signature", good[:120], Limits{}, io.ErrUnexpectedEOF, "signature header"},
		{"truncated in the header", good[:bytes.LastIndex(good, headerMagic)+60], Limits{}, io.ErrUnexpectedEOF, "header"},
		{"truncated in the payload", good[:len(good)-60], Limits{}, nil, "truncated"},
		{"truncated behind the archive", good[:len(good)-4], Limits{}, nil, ""},
		{"header altered", flip(bytes.LastIndex(good, []byte("kernel-core"))), Limits{}, ErrDigest, "header"},
		{"payload altered", flip(len(good) - 100), Limits{}, nil, ""},
		{"uncompressed payload altered", altered(with(func(p *rpmtest.Spec) { p.Compressor = "" }, one)), Limits{}, ErrDigest, "payload"},
		{"something follows the payload", append(bytes.Clone(good), "more"...), Limits{}, nil, ""},
		{"header of 4 GiB", huge(good), Limits{}, ErrLimit, "tags"},
		{"header larger than the file", claims(good, 1<<20), Limits{}, io.ErrUnexpectedEOF, "left"},
		{"compressor not known", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1125, Data: "lzo"}} }, one), Limits{}, nil, "unknown compression"},
		{"payload not known", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1124, Data: "drpm"}} }, one), Limits{}, nil, "drpm"},
		{"xz that is none", with(func(p *rpmtest.Spec) { p.Compressor, p.Extra = "", []rpmtest.Value{{Tag: 1125, Data: "xz"}} }, one), Limits{}, nil, "xz"},
		{"zstd that is none", with(func(p *rpmtest.Spec) { p.Compressor, p.Extra = "", []rpmtest.Value{{Tag: 1125, Data: "zstd"}} }, one), Limits{}, nil, "package"},
		{"cpio that is none", archive(bytes.Repeat([]byte("x"), 1024), one), Limits{}, nil, "magic"},
		{"cpio without its end", archive(cpioOf("./f"), one), Limits{}, io.ErrUnexpectedEOF, "cpio"},
		{"cpio cut in a file", archive(cpioOf("./f")[:115], rpmtest.Regular("/f", "x")), Limits{}, io.ErrUnexpectedEOF, ""},
		{"cpio with a wrong sum", archive(sums, one), Limits{}, ErrDigest, "/f"},
		{"cpio with a number that is none", archive([]byte("070701"+strings.Repeat("z", 104)), one), Limits{}, nil, "number"},
		{"cpio name too long", archive([]byte("070701"+strings.Repeat("7", 104)), one), Limits{}, ErrLimit, "name"},
		{"cpio name not ended", archive(append(bytes.Replace(cpioOf("./f")[:110], []byte("0000000400000000"), []byte("0000000300000000"), 1), "./f"...), one), Limits{}, nil, "does not end"},
		{"entry by number that is not there", archive([]byte("07070X0000000900"), one), Limits{}, nil, "no file 9"},
		{"file not in the header", archive(trailer(cpioOf("./f", "./g")), one), Limits{}, nil, "list of files"},
		{"file twice", archive(trailer(cpioOf("./f", "./f")), one), Limits{}, nil, "twice"},
		{"file missing", archive(trailer(cpioOf("./f")), one, rpmtest.Regular("/g", "x")), Limits{}, nil, `lacks "/g"`},
		{"size not that of the header", archive(trailer(cpioOf("./f")), rpmtest.Regular("/f", "xx")), Limits{}, nil, "2 by the header"},
		{"lists of files of different lengths", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1028, Data: []int32{1, 2}}} }, one), Limits{}, nil, "1028"},
		{"directory that is not there", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1116, Data: []int32{7}}} }, one), Limits{}, nil, "directory 7 of 1"},
		{"negative directory", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1116, Data: []int32{-1}}} }, one), Limits{}, nil, "directory"},
		{"name of a number's type", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 1000, Data: []int32{7}}} }, one), Limits{}, nil, "not a string"},
		{"no name", with(func(p *rpmtest.Spec) { p.Name = "" }, one), Limits{}, nil, "no name"},
		{"value twice", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 5000, Data: "a"}, {Tag: 5000, Data: "b"}} }, one), Limits{}, nil, "twice"},
		{"string that does not end", with(func(p *rpmtest.Spec) {
			p.Extra = []rpmtest.Value{{Tag: 1044, Data: rpmtest.Raw{Kind: 8, Count: 2, Data: []byte("a\x00b")}}}
		}, one), Limits{}, nil, "does not end"},
		{"value that starts behind the end", with(func(p *rpmtest.Spec) {
			p.Extra = []rpmtest.Value{{Tag: 1044, Data: rpmtest.Raw{Kind: 5, Count: 9, Data: make([]byte, 64)}}}
		}, one), Limits{}, nil, "9 values in 64 bytes"},
		{"type not known", with(func(p *rpmtest.Spec) {
			p.Extra = []rpmtest.Value{{Tag: 1044, Data: rpmtest.Raw{Kind: 10, Count: 1, Data: []byte("a\x00")}}}
		}, one), Limits{}, nil, "type 10"},
		{"digest not known", with(func(p *rpmtest.Spec) { p.Extra = []rpmtest.Value{{Tag: 5093, Data: []int32{1}}} }, one), Limits{}, nil, "algorithm"},
		{"absolute name", with(func(*rpmtest.Spec) {}, named("/f")), Limits{}, ErrUnsafe, "/f"},
		{"name with ..", with(func(*rpmtest.Spec) {}, named("./a/../f")), Limits{}, ErrUnsafe, ".."},
		{"header's name with ..", with(func(p *rpmtest.Spec) { p.Magic = "07070X" }, rpmtest.Regular("/a/../../f", "x")), Limits{}, ErrUnsafe, ".."},
		{"header's name twice absolute", with(func(p *rpmtest.Spec) { p.Magic = "07070X" }, rpmtest.Regular("//etc/f", "x")), Limits{}, ErrUnsafe, "etc/f"},
		{"links in a circle", with(func(*rpmtest.Spec) {}, rpmtest.Link("/a", "b"), rpmtest.Link("/b", "a"), rpmtest.Regular("/a/f", "x")), Limits{}, ErrUnsafe, "too many links"},
		{"file below a file", with(func(*rpmtest.Spec) {}, one, rpmtest.Regular("/f/g", "x")), Limits{}, nil, "in the way"},
		{"character device", with(func(*rpmtest.Spec) {}, device(0o020600)), Limits{}, ErrSpecial, "dev/x"},
		{"block device", with(func(*rpmtest.Spec) {}, device(0o060600)), Limits{}, ErrSpecial, "dev/x"},
		{"fifo", with(func(*rpmtest.Spec) {}, device(0o010600)), Limits{}, ErrSpecial, "dev/x"},
		{"socket", with(func(*rpmtest.Spec) {}, device(0o140600)), Limits{}, ErrSpecial, "dev/x"},
		{"no kind of file", with(func(*rpmtest.Spec) {}, device(0o050600)), Limits{}, ErrSpecial, "dev/x"},
		{"decompression bomb", with(func(*rpmtest.Spec) {}, rpmtest.Regular("/zeros", string(make([]byte, 8<<20)))), Limits{Bytes: 1 << 20}, ErrLimit, ""},
		{"too many files", with(func(*rpmtest.Spec) {}, one, rpmtest.Regular("/g", ""), rpmtest.Regular("/h", "")), Limits{Files: 2}, ErrLimit, "2 files"},
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

// altered changes the last "x" of a package, the content of its file.
func altered(b []byte) []byte {
	b[bytes.LastIndexByte(b, 'x')] = 'y'
	return b
}

// huge lets the header claim all the tags and bytes that fit into its numbers.
func huge(good []byte) []byte {
	b := bytes.Clone(good)
	copy(b[bytes.LastIndex(b, headerMagic)+8:], bytes.Repeat([]byte{0xff}, 8))
	return b
}

// claims lets the header claim to have more data than there is.
func claims(good []byte, n uint32) []byte {
	b := bytes.Clone(good)
	at := bytes.LastIndex(b, headerMagic) + 12
	copy(b[at:], []byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	return b
}

func TestWalkEndsEarly(t *testing.T) {
	var seen []string
	err := Walk(t.Context(), write(t, pack(rpmtest.Regular("/a", "x"), rpmtest.Regular("/b", "x")).Build(t)), Limits{}, func(h *tar.Header, _ io.Reader) error {
		seen = append(seen, h.Name)
		return fs.SkipAll
	})
	if err != nil || !slices.Equal(seen, []string{"a"}) {
		t.Errorf("saw %v, %v", seen, err)
	}
}
