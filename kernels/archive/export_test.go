// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func export(t testing.TB) (text []byte, digests []Digest) {
	t.Helper()
	a, err := New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []string{"the image", "the headers"} {
		d, err := a.Add(t.Context(), strings.NewReader(c), 100)
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d)
	}
	slices.Sort(digests)
	var b bytes.Buffer
	if err := a.Export(t.Context(), &b, "debian:6.1", map[string]string{"release": "6.1"}, digests...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), digests
}

func TestExportImport(t *testing.T) {
	text, digests := export(t)
	if again, _ := export(t); !bytes.Equal(text, again) {
		t.Error("the same kernel is exported differently")
	}
	a := open(t, t.TempDir())
	got, err := a.Import(t.Context(), bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var meta bytes.Buffer
	for _, x := range strings.Fields(string(got.Meta)) {
		meta.WriteString(x)
	}
	if got.Name != "debian:6.1" || meta.String() != `{"release":"6.1"}` || !slices.Equal(got.Digests, digests) {
		t.Errorf("%+v", got)
	}
	for _, d := range digests {
		if err := a.Verify(d); err != nil {
			t.Error(err)
		}
	}
}

func TestExportRefuses(t *testing.T) {
	a := open(t, t.TempDir())
	if err := a.Export(t.Context(), io.Discard, "x", nil, DigestOf(nil)); err == nil {
		t.Error("exported what is not there")
	}
	d, err := a.Add(t.Context(), strings.NewReader("content"), 10)
	if err != nil {
		t.Fatal(err)
	}
	alterLikeRot(t, a, d)
	if err := a.Export(t.Context(), io.Discard, "x", nil, d); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("exported a rotten file: %v", err)
	}
}

// TestImportOfEveryDamage flips each byte and cuts at each length. Padding apart, everything is covered by a hash or
// a header's checksum; whatever is not refused must be imported rightly.
func TestImportOfEveryDamage(t *testing.T) {
	text, digests := export(t)
	try := func(what string, damaged []byte) (imported bool) {
		a := open(t, t.TempDir())
		got, err := a.Import(t.Context(), bytes.NewReader(damaged))
		if err != nil {
			if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), "no export of mews") {
				t.Errorf("%s: %v", what, err)
			}
			if kept := files(t, a); len(kept) > 0 {
				t.Errorf("%s: refused, and left %v", what, kept)
			}
			return false
		}
		if got.Name != "debian:6.1" || !slices.Equal(got.Digests, digests) {
			t.Errorf("%s: imported %+v", what, got)
		}
		return true
	}
	step := 29 // coprime to the blocks of a tar: each field is met in some block
	refused := 0
	for i := 0; i < len(text); i += step {
		damaged := bytes.Clone(text)
		damaged[i] ^= 0x55
		if !try(fmt.Sprintf("byte %d flipped", i), damaged) {
			refused++
		}
	}
	if refused < 30 {
		t.Errorf("only %d flips were seen", refused)
	}
	end := bytes.LastIndex(text, []byte("the ")) // in the last file
	for n := 0; n <= end; n += 64 {
		if try(fmt.Sprintf("cut to %d bytes", n), text[:n]) {
			t.Errorf("imported %d bytes of %d", n, len(text))
		}
	}
}

func TestImportRefuses(t *testing.T) {
	d := DigestOf([]byte("x"))
	file := func(name, content string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(content)), Linkname: content}
	}
	signed := func(manifest string, rest ...tar.Header) []tar.Header {
		return append([]tar.Header{file("manifest.json", manifest), file("manifest.sha256", string(DigestOf([]byte(manifest))))}, rest...)
	}
	one := fmt.Sprintf(`{"schema":%q,"name":"x","meta":{},"files":[{"sha256":%q,"size":1}]}`, manifestSchema, d)
	for _, tc := range []struct {
		name    string
		entries []tar.Header
		says    string
	}{
		{"empty", nil, "manifest.json"},
		{"manifest is not the first", []tar.Header{file("blobs/x", "x")}, `"blobs/x"`},
		{"not JSON", signed("x"), "manifest"},
		{"another schema", signed(`{"schema":"mews/export/v2"}`), "schema"},
		{"digest that is a path", signed(strings.Replace(one, string(d), "../../x", 1)), "names a file"},
		{"negative size", signed(strings.Replace(one, `"size":1`, `"size":-1`, 1)), "names a file"},
		{"file missing", signed(one), "EOF"},
		{"another file", signed(one, file("blobs/../../x", "x")), "blobs/../../x"},
		{"another size", signed(one, file("blobs/"+string(d), "xx")), "2 bytes"},
		{"another content", signed(one, file("blobs/"+string(d), "y")), "has sha256"},
		{"link", signed(one, tar.Header{Name: "blobs/" + string(d), Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "0 bytes"},
		{"extended header, as of a sparse file", signed(one, tar.Header{Name: "blobs/" + string(d), Typeflag: tar.TypeReg, Size: 1, Linkname: "x",
			Format: tar.FormatPAX, PAXRecords: map[string]string{"MEWS.x": "y"}}), "was expected"},
		{"one file more", signed(one, file("blobs/"+string(d), "x"), file("more", "x")), "goes on"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			for _, h := range tc.entries {
				content := h.Linkname
				if h.Typeflag == tar.TypeReg {
					h.Linkname = ""
				}
				if err := w.WriteHeader(&h); err != nil {
					t.Fatal(err)
				}
				if h.Typeflag == tar.TypeReg {
					io.WriteString(w, content)
				}
			}
			w.Close()
			a := open(t, t.TempDir())
			_, err := a.Import(t.Context(), &b)
			if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
			if kept := files(t, a); len(kept) > 0 {
				t.Errorf("left %v", kept)
			}
		})
	}
}

func FuzzImport(f *testing.F) {
	text, _ := export(f)
	f.Add(text)
	f.Add([]byte("manifest.json"))
	f.Fuzz(func(t *testing.T, text []byte) {
		a := open(t, t.TempDir())
		got, err := a.Import(t.Context(), bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, d := range got.Digests {
			if err := a.Verify(d); err != nil {
				t.Error(err)
			}
		}
	})
}
