// SPDX-License-Identifier: Apache-2.0

// Package debtest knows how to make Debian packages, good and bad, for tests.
package debtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Member is a file of an ar archive.
type Member struct {
	Name string
	Data []byte
}

// Part is a member of an ar archive.
func Part(name string, data []byte) Member { return Member{name, data} }

// Ar makes an ar archive.
func Ar(members ...Member) []byte {
	var b bytes.Buffer
	b.WriteString("!<arch>\n")
	for _, m := range members {
		fmt.Fprintf(&b, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.Name, 0, 0, 0, "100644", len(m.Data))
		b.Write(m.Data)
		if len(m.Data)%2 == 1 {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}

// File is a regular file of a package.
func File(name, content string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(content))}, content}
}

// Dir is a directory of a package.
func Dir(name string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}, ""}
}

// Link is a symbolic link of a package.
func Link(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeSymlink, Mode: 0o777, Linkname: target}, ""}
}

// HardLink is a hard link of a package.
func HardLink(name, target string) Entry {
	return Entry{tar.Header{Name: name, Typeflag: tar.TypeLink, Mode: 0o644, Linkname: target}, ""}
}

// Entry is one entry of a tar archive.
type Entry struct {
	tar.Header
	Content string
}

// Tar makes a tar archive.
func Tar(t testing.TB, entries ...Entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.Content)
		must(t, err)
	}
	must(t, w.Close())
	return b.Bytes()
}

// Compress packs data as suffix (".xz", ".zst", ".gz", "") says.
func Compress(t testing.TB, suffix string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	var err error
	switch suffix {
	case "":
		return data
	case ".xz":
		w, err = xz.NewWriter(&b)
	case ".zst":
		w, err = zstd.NewWriter(&b)
	case ".gz":
		w = gzip.NewWriter(&b)
	default:
		t.Fatalf("no compression %q", suffix)
	}
	must(t, err)
	_, err = w.Write(data)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

// Deb makes a package of a control file and entries, its archives compressed as suffix says.
func Deb(t testing.TB, suffix, control string, entries ...Entry) []byte {
	t.Helper()
	return Ar(
		Member{"debian-binary", []byte("2.0\n")},
		Member{"control.tar" + suffix, Compress(t, suffix, Tar(t, File("./control", control)))},
		Member{"data.tar" + suffix, Compress(t, suffix, Tar(t, entries...))},
	)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
