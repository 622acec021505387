// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"debug/elf"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// FuzzOpen takes any bytes for a boot image, and looks for everything in what comes out.
func FuzzOpen(f *testing.F) {
	small := newELF(elf.EM_X86_64, section{".rodata", append([]byte(fixtureBanner+fixtureVersion+"\n"), ikconfig([]byte("CONFIG_X=y\n"))...)},
		section{".notes", note(3, "GNU\x00", fixtureBuildID)}, section{".BTF", vmlinuxBTF()})
	z, err := zstd.NewWriter(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	f.Add(bzImage(withSize(small, len(small))))
	f.Add(bzImage(gzipped(small)))
	f.Add(bzImage(withSize(z.EncodeAll(small, nil), len(small))))
	f.Add(bzImage(withSize(lz4Legacy(f, small), len(small))))
	f.Add(gzipped(small))
	image := make([]byte, 0x80)
	copy(image[0x38:], "ARMd")
	image = append(append(image, vmlinuxBTF()...), note(3, "GNU\x00", vdsoBuildID)...)
	f.Add(image)
	f.Add(zboot("gzip", gzipped(image), nil))
	// Not those of testdata/payload: the fuzzer minimizes what is of 10 kB for a minute each.
	f.Add(packed(f, small, func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }))
	f.Add(packed(f, small, func(w io.Writer) (io.WriteCloser, error) { return lzma.NewWriter(w) }))
	f.Add(payload(f, "vmlinux.bz2"))

	const limit = 1 << 20
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := open(bytes.NewReader(b), int64(len(b)), limit)
		if err != nil {
			return
		}
		if v.Size > max(limit, int64(len(b))) {
			t.Fatalf("%d bytes came out", v.Size)
		}
		if v.IsELF() == (v.raw != nil) {
			t.Fatal("neither ELF nor raw, or both")
		}
		// What these find is for the table tests to judge.
		v.PVH()
		v.IKConfig()
		v.comments()
		if id, err := v.BuildID(); err == nil && id != "" && len(id) != 40 {
			t.Errorf("build-id %q", id)
		}
		if n, err := v.Banner(); err == nil && len(n.Text) > maxBanner {
			t.Errorf("a banner of %d bytes", len(n.Text))
		}
		if raw, err := v.BTF(); err == nil && raw != nil {
			ParseBTF(raw)
		}
	})
}

func packed(t testing.TB, b []byte, writer func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := writer(&out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// FuzzBanner holds the parser to what it cut up.
func FuzzBanner(f *testing.F) {
	f.Add(fixtureBanner + fixtureVersion)
	f.Add("Linux version 6.1 (a@b) (gcc (x (y)), ld) #1")
	f.Add("Linux version 6.1 )( #1")
	f.Fuzz(func(t *testing.T, text string) {
		n, ok := parseBanner(text)
		if !ok {
			return
		}
		if n.Text != text || n.Release == "" || n.Version == "" || n.Version[0] != '#' {
			t.Errorf("%q gives %+v", text, n)
		}
		parseCompiler(n.Compiler)
	})
}
