// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/mews-farm/mews/results/cause"
)

func openBytes(b []byte) (*Vmlinux, error) { return Open(bytes.NewReader(b), int64(len(b))) }

// checkContents holds a kernel made of the fixture's parts to what is in them.
func checkContents(t *testing.T, v *Vmlinux) {
	t.Helper()
	raw, err := v.BTF()
	if err != nil || !bytes.Equal(raw, vmlinuxBTF()) {
		t.Errorf("BTF of %d bytes, want the %d of the fixture: %v", len(raw), len(vmlinuxBTF()), err)
	}
	if id, err := v.BuildID(); err != nil || id != strings.Repeat("ab", 20) {
		t.Errorf("build-id %s: %v", id, err)
	}
	if text, err := v.IKConfig(); err != nil || string(text) != fixtureConfig {
		t.Errorf("IKCONFIG %q: %v", text, err)
	}
	banner, err := v.Banner()
	want := Banner{
		Text: fixtureBanner + fixtureVersion, Release: fixtureRelease, Builder: "builder@example.org",
		Compiler: "gcc-12 (Test 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Test) 2.40", Version: fixtureVersion,
	}
	if err != nil || banner != want {
		t.Errorf("banner %+v: %v", banner, err)
	}
}

func TestOpenBzImage(t *testing.T) {
	vmlinux := payload(t, "vmlinux")
	images := map[string][]byte{"none": bzImage(withSize(vmlinux, len(vmlinux)))}
	for _, p := range packers {
		packed := payload(t, p.file)
		if p.name != "gzip" {
			packed = withSize(packed, len(vmlinux))
		}
		images[p.name] = bzImage(packed)
	}
	for name, image := range images {
		t.Run(name, func(t *testing.T) {
			v, err := openBytes(image)
			if err != nil {
				t.Fatal(err)
			}
			if v.Format != FormatBzImage || v.Compression != name || v.Arch != "x86_64" || !v.IsELF() {
				t.Errorf("%s, %s, %s", v.Format, v.Compression, v.Arch)
			}
			if got, err := io.ReadAll(v.Reader()); err != nil || !bytes.Equal(got, vmlinux) {
				t.Errorf("another vmlinux came out: %d bytes, %v", len(got), err)
			}
			if pvh, err := v.PVH(); err != nil || !pvh {
				t.Errorf("PVH %v: %v", pvh, err)
			}
			checkContents(t, v)
		})
	}
}

// The fixture is worth something only while it is filtered: a reader that knows no filter must refuse it.
func TestPayloadIsFiltered(t *testing.T) {
	z, err := xz.NewReader(bytes.NewReader(payload(t, "vmlinux.xz")))
	if err == nil {
		_, err = io.ReadAll(z)
	}
	if err == nil {
		t.Error("a reader without BCJ filters reads vmlinux.xz")
	}
}

func TestOpenOthers(t *testing.T) {
	raw := rawImage(vmlinuxBTF())
	long := slices.Clone(raw)
	long = append(long, make([]byte, 2*lz4Block-len(long))...) // two whole blocks
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	packed := z.EncodeAll(raw, nil)
	word := withSize(nil, len(raw))
	for name, c := range map[string]struct {
		file                      []byte
		format, compression, arch string
	}{
		"vmlinux":             {payload(t, "vmlinux"), FormatELF, "none", "x86_64"},
		"vmlinux.xz":          {payload(t, "vmlinux.xz"), FormatELF, "xz", "x86_64"},
		"Image":               {raw, FormatImage, "none", "aarch64"},
		"Image.gz":            {gzipped(raw), FormatImage, "gzip", "aarch64"},
		"zboot of gzip":       {zboot("gzip", gzipped(raw), nil), FormatZboot, "gzip", "aarch64"},
		"zboot of zstd":       {zboot("zstd22", packed, word), FormatZboot, "zstd", "aarch64"},
		"zboot of lz4, 16 MB": {zboot("lz4", lz4Legacy(t, long), word), FormatZboot, "lz4", "aarch64"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := openBytes(c.file)
			if err != nil {
				t.Fatal(err)
			}
			if v.Format != c.format || v.Compression != c.compression || v.Arch != c.arch {
				t.Errorf("%s, %s, %s", v.Format, v.Compression, v.Arch)
			}
			checkContents(t, v)
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	vmlinux := payload(t, "vmlinux")
	lz4, gz := payload(t, "vmlinux.lz4"), payload(t, "vmlinux.gz")
	good := bzImage(withSize(lz4, len(vmlinux)))
	old := slices.Clone(good)
	binary.LittleEndian.PutUint16(old[0x206:], 0x207)
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"nothing":                      {nil, ErrFormat},
		"an error page":                {[]byte("<!DOCTYPE html><html>404</html>"), ErrFormat},
		"a PE file":                    {append([]byte("MZ"), make([]byte, 2000)...), ErrFormat},
		"a setup header cut off":       {good[:0x240], ErrTruncated},
		"a setup header, and no more":  {good[:head], ErrTruncated},
		"a payload cut off":            {good[:len(good)-len("a signature")-10], ErrTruncated},
		"an old boot protocol":         {old, ErrFormat},
		"a payload of nothing":         {bzImage(nil), ErrTruncated},
		"an unknown compression":       {bzImage(withSize([]byte("garbage, garbage"), 9)), ErrCompression},
		"LZO":                          {bzImage(withSize([]byte("\x89LZO\x00\r\n\x1a\n"), 9)), ErrCompression},
		"an announcement of too much":  {bzImage(withSize(lz4, maxKernel+1)), ErrLimit},
		"an announcement of less":      {bzImage(withSize(lz4, len(vmlinux)-1)), ErrLimit},
		"an announcement of more":      {bzImage(withSize(lz4, len(vmlinux)+1)), ErrTruncated},
		"no ELF in it":                 {bzImage(gzipped([]byte("not a kernel"))), ErrFormat},
		"an ELF cut off":               {vmlinux[:100], ErrFormat},
		"gzip of anything":             {gzipped([]byte("not a kernel")), ErrFormat},
		"zboot beyond its end":         {zboot("gzip", gzipped(vmlinux), nil)[:200], ErrTruncated},
		"zboot of an unknown kind":     {zboot("brotli", []byte("????????"), nil), ErrCompression},
		"lz4 block beyond the payload": {bzImage(withSize([]byte(lz4Magic+"\xff\xff\xff\xff...."), 9)), ErrTruncated},
		"lz4 and half a size":          {bzImage(withSize(append(slices.Clone(lz4), 1, 2), len(vmlinux))), ErrTruncated},
		"gzip cut off":                 {gz[:len(gz)/2], ErrTruncated},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := openBytes(c.file)
			if !errors.Is(err, c.want) || cause.Of(err).Cause != cause.PackageCorrupt {
				t.Errorf("got %+v, %v; want %v", v, err, c.want)
			}
		})
	}
}

// Every compression, with its end missing, and with garbage after its magic.
func TestOpenRefusesDamage(t *testing.T) {
	vmlinux := payload(t, "vmlinux")
	for _, p := range packers {
		packed := payload(t, p.file)
		c := sniff(packed)
		for name, damaged := range map[string][]byte{
			"half of it": packed[:len(packed)/2],
			"its magic":  packed[:len(c.magic)],
			"garbage":    append([]byte(c.magic), strings.Repeat("\xa5garbage", 100)...),
		} {
			b := withSize(damaged, len(vmlinux))
			if v, err := openBytes(bzImage(b)); cause.Of(err).Cause != cause.PackageCorrupt {
				t.Errorf("%s, %s: %+v, %v", p.name, name, v, err)
			}
		}
	}
}

// A bomb is let out no further than its limit, whatever it announces.
func TestOpenBomb(t *testing.T) {
	const limit = 1 << 20
	zeroes := make([]byte, 16<<20)
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, bomb := range map[string][]byte{
		"gzip'd Image":      gzipped(zeroes),
		"zboot":             zboot("zstd22", z.EncodeAll(zeroes, nil), nil),
		"bzImage, honest":   bzImage(withSize(z.EncodeAll(zeroes, nil), len(zeroes))),
		"bzImage, lying":    bzImage(withSize(z.EncodeAll(zeroes, nil), limit)),
		"bzImage, lz4":      bzImage(withSize(lz4Legacy(t, zeroes), limit)),
		"zboot, lz4":        zboot("lz4", lz4Legacy(t, zeroes), nil),
		"gzip, lying ISIZE": bzImage(append(gzipped(zeroes), 0, 0, 1, 0)),
	} {
		if v, err := open(bytes.NewReader(bomb), int64(len(bomb)), limit); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
	}
}

func TestContentsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		rodata []byte
		want   error
	}{
		"an IKCONFIG without an end": {bytes.TrimSuffix(ikconfig([]byte(fixtureConfig)), []byte("IKCFG_ED")), ErrTruncated},
		"an IKCONFIG cut off":        {append(ikconfig([]byte(fixtureConfig))[:40], "IKCFG_ED"...), ErrTruncated},
		"an IKCONFIG that is a bomb": {ikconfig(make([]byte, maxIKConfig+1)), ErrLimit},
	} {
		v, err := openBytes(newELF(elf.EM_X86_64, section{".rodata", c.rodata}))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := v.IKConfig(); !errors.Is(err, c.want) || cause.Of(err).Cause != cause.PackageCorrupt {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
	// A kernel without any of it has nothing, and that is no error.
	v, err := openBytes(newELF(elf.EM_AARCH64, section{".rodata", []byte("IKCFG_ST alone, Linux version 1 (x) (y")}))
	if err != nil {
		t.Fatal(err)
	}
	raw, errs := v.BTF()
	text, err2 := v.IKConfig()
	banner, err3 := v.Banner()
	id, err4 := v.BuildID()
	if raw != nil || text != nil || banner != (Banner{}) || id != "" || errors.Join(errs, err2, err3, err4) != nil {
		t.Errorf("found %d bytes of BTF, %q, %+v, %q: %v", len(raw), text, banner, id, errors.Join(errs, err2, err3, err4))
	}
}

// A raw Image has places that look like BTF.
func TestRawBTF(t *testing.T) {
	types := vmlinuxBTF()
	fake := slices.Clone(types)
	binary.LittleEndian.PutUint32(fake[20:], 1<<30) // strings that end beyond the file
	none, err := btf.NewBuilder(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	small, err := none.Marshal(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := rawImage(slices.Concat([]byte("\x9f\xeb\x01\x00 by chance"), fake, types, small))
	v, err := openBytes(raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := v.BTF(); err != nil || !bytes.Equal(got, types) {
		t.Errorf("%d bytes, want %d: %v", len(got), len(types), err)
	}
}
