// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/internal/rpmtest"
)

func FuzzHeader(f *testing.F) {
	f.Add(rpmtest.Header(rpmtest.Value{Tag: 1000, Data: "kernel"}, rpmtest.Value{Tag: 1116, Data: []int32{0, 1}}, rpmtest.Value{Tag: 1004, Data: []byte{1, 2}}))
	f.Add(rpmtest.Header(rpmtest.Value{Tag: 1117, Data: []string{"a", "b"}}, rpmtest.Value{Tag: 1030, Data: []int16{1}}, rpmtest.Value{Tag: 5008, Data: []int64{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHeader(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		if !bytes.HasPrefix(b, h.raw) {
			t.Error("a header's bytes are not those that were read")
		}
		for tag, v := range h.values {
			s, err := h.strings(tag)
			if err == nil && len(s) != v.count {
				t.Errorf("tag %d: %d strings of %d", tag, len(s), v.count)
			}
			h.numbers(tag)
			h.binary(tag)
		}
		if p := (&Package{hdr: h, sig: h}); p.fill() == nil {
			p.checkHeader()
			p.checkSignatures(nil, func() io.Reader { return bytes.NewReader(b) }, time.Unix(1_700_000_000, 0))
		}
	})
}

func FuzzCpio(f *testing.F) {
	for _, magic := range []string{"070701", "070702"} {
		var b bytes.Buffer
		rpmtest.Entry(&b, magic, "./usr", 0o040755, "")
		rpmtest.Entry(&b, magic, "./usr/f", 0o100644, "content")
		rpmtest.Entry(&b, "", "TRAILER!!!", 0, "")
		f.Add(b.Bytes())
	}
	f.Add([]byte("07070X00000000\x00\x00content."))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := newCpio(bytes.NewReader(b))
		for n := 0; ; n++ {
			e, err := in.next()
			if err != nil {
				return
			}
			if n > len(b)/strippedSize {
				t.Fatal("more entries than there is room for")
			}
			got, err := io.Copy(io.Discard, in.content(e, max(e.size, 0)))
			if err == nil && got != max(e.size, 0) || got > int64(len(b)) {
				t.Fatalf("%q promises %d bytes, has %d of %d", e.name, e.size, got, len(b))
			}
			if in.at > int64(len(b)) {
				t.Fatalf("read %d bytes of %d", in.at, len(b))
			}
		}
	})
}

// FuzzUnpack takes any bytes for the payload of a package of files, links and a directory.
func FuzzUnpack(f *testing.F) {
	files := []rpmtest.File{rpmtest.Dir("/usr"), rpmtest.Regular("/usr/f", "content"), rpmtest.Link("/out", "../.."), rpmtest.Regular("/out/g", "x")}
	plain := rpmtest.Spec{Name: "n", Version: "1", Release: "1", Files: files, Old: true}
	for _, magic := range []string{"070701", "07070X"} {
		p := plain
		p.Magic = magic
		b := p.Build(f)
		f.Add(b[bytes.Index(b, []byte(magic)):])
	}
	plain.Cpio = []byte{}
	head := plain.Build(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		base := t.TempDir()
		root := filepath.Join(base, "root")
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(base, "p.rpm")
		if err := os.WriteFile(file, append(bytes.Clone(head), b...), 0o644); err != nil {
			t.Fatal(err)
		}
		lim := Limits{Bytes: 1 << 20, Files: 100}
		err := Unpack(t.Context(), file, root, lim, nil)
		walked := Walk(t.Context(), file, lim, func(h *tar.Header, _ io.Reader) error {
			if strings.HasPrefix(h.Name, "/") || strings.Contains("/"+h.Name+"/", "/../") {
				t.Errorf("walked over %q", h.Name)
			}
			return nil
		})
		if err == nil && walked != nil {
			t.Errorf("unpacks, but: %v", walked)
		}
		if entries, err := os.ReadDir(base); err != nil || len(entries) != 2 {
			t.Errorf("written outside: %v, %v", entries, err)
		}
		if err != nil && errors.Is(err, os.ErrPermission) {
			t.Error(err)
		}
	})
}
