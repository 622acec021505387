// SPDX-License-Identifier: Apache-2.0

// Package rpmtest knows how to make RPM packages, good and bad, for tests.
package rpmtest

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/ulikunitz/xz/lzma"

	"github.com/mews-farm/mews/kernels/internal/debtest"
)

// File is a file of a package.
type File struct {
	Name    string // as in the header: absolute
	Cpio    string // as in the archive; empty: "." before Name
	Mode    int    // st_mode
	Content string
	Link    string
	Inode   int // the same for hard links; 0: one of its own
	Ghost   bool
}

// Regular is a regular file.
func Regular(name, content string) File { return File{Name: name, Mode: 0o100644, Content: content} }

// Dir is a directory.
func Dir(name string) File { return File{Name: name, Mode: 0o040755} }

// Link is a symbolic link.
func Link(name, target string) File { return File{Name: name, Mode: 0o120777, Link: target} }

// Value is one value of a header: a string, []string, []int16, []int32, []int64, []byte, or a [Raw].
type Value struct {
	Tag  int
	Data any
}

// Raw is a value that may lie about what it holds.
type Raw struct {
	Kind, Count int
	Data        []byte
}

// Spec is a package to make.
type Spec struct {
	Name, Version, Release, Arch string
	Compressor                   string // gzip, xz, zstd, lzma, or empty for none
	Magic                        string // of cpio entries: 070701 (when empty), 070702, or 07070X
	Files                        []File
	Provides                     []string // each "name = version"
	Old                          bool     // as of rpm 4.11: no SHA-256, no digest of the payload
	Cpio                         []byte   // instead of an archive of Files
	Extra                        []Value  // of the header, instead of those of their tags

	// Sign returns an OpenPGP signature; nil: not signed.
	Sign       func(content []byte) []byte
	HeaderOnly bool // sign the header, and not header and payload
}

// Build makes the package.
func (p Spec) Build(t testing.TB) []byte {
	t.Helper()
	payload := p.Cpio
	if payload == nil {
		payload = p.archive()
	}
	payload = compress(t, p.Compressor, payload)
	header := Header(p.values(payload)...)
	whole := append(bytes.Clone(header), payload...)
	sum := sha1.Sum(header)
	sig := []Value{{269, hex.EncodeToString(sum[:])}}
	if !p.Old {
		sum := sha256.Sum256(header)
		sig = append(sig, Value{273, hex.EncodeToString(sum[:])})
	}
	md := md5.Sum(whole)
	sig = append(sig, Value{1004, md[:]})
	if p.Sign != nil {
		sig = append(sig, Value{268, p.Sign(header)})
		if !p.HeaderOnly {
			sig = append(sig, Value{1002, p.Sign(whole)})
		}
	}
	return Join(Header(sig...), whole)
}

// Join puts a lead and a signature header before the rest of a package.
func Join(sig, whole []byte) []byte {
	out := make([]byte, 96)
	copy(out, []byte{0xed, 0xab, 0xee, 0xdb, 3, 0})
	out = append(out, sig...)
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	return append(out, whole...)
}

func (p Spec) values(payload []byte) []Value {
	all := []Value{{1000, p.Name}, {1001, p.Version}, {1002, p.Release}, {1022, p.Arch}, {1044, p.Name + ".src.rpm"}}
	if p.Compressor != "" {
		all = append(all, Value{1124, "cpio"}, Value{1125, p.Compressor})
	}
	if !p.Old {
		sum := sha256.Sum256(payload)
		all = append(all, Value{5092, []string{hex.EncodeToString(sum[:])}}, Value{5093, []int32{8}})
	}
	if len(p.Provides) > 0 {
		var names, versions []string
		var flags []int32
		for _, s := range p.Provides {
			var name, version string
			fmt.Sscanf(s, "%s = %s", &name, &version)
			names, versions, flags = append(names, name), append(versions, version), append(flags, 8)
		}
		all = append(all, Value{1047, names}, Value{1112, flags}, Value{1113, versions})
	}
	if len(p.Files) > 0 {
		all = append(all, p.fileValues()...)
	}
	replaced := map[int]bool{}
	for _, v := range p.Extra {
		replaced[v.Tag] = true
	}
	var out []Value
	for _, v := range all {
		if !replaced[v.Tag] {
			out = append(out, v)
		}
	}
	return append(out, p.Extra...)
}

func (p Spec) fileValues() []Value {
	var sizes, mtimes, flags, devices, inodes, dirs []int32
	var modes []int16
	var links, bases, dirNames []string
	for i, f := range p.Files {
		sizes = append(sizes, int32(max(len(f.Content), len(f.Link))))
		modes = append(modes, int16(f.Mode))
		mtimes = append(mtimes, 1_600_000_000)
		flag := int32(0)
		if f.Ghost {
			flag = 64
		}
		flags = append(flags, flag)
		devices = append(devices, 1)
		inodes = append(inodes, int32(p.inode(i)))
		links = append(links, f.Link)
		dir, base := path.Split(f.Name)
		dirs = append(dirs, int32(len(dirNames)))
		dirNames, bases = append(dirNames, dir), append(bases, base)
	}
	return []Value{{1028, sizes}, {1030, modes}, {1034, mtimes}, {1036, links}, {1037, flags}, {1095, devices}, {1096, inodes},
		{1116, dirs}, {1117, bases}, {1118, dirNames}}
}

func (p Spec) inode(i int) int {
	if n := p.Files[i].Inode; n != 0 {
		return n
	}
	return 1000 + i
}

// archive is a cpio archive of the files; of hard links the last has the content.
func (p Spec) archive() []byte {
	last := map[int]int{}
	for i := range p.Files {
		last[p.inode(i)] = i
	}
	var b bytes.Buffer
	for i, f := range p.Files {
		if f.Ghost {
			continue
		}
		content := f.Content + f.Link
		if last[p.inode(i)] != i {
			content = ""
		}
		if p.Magic == "07070X" {
			fmt.Fprintf(&b, "07070X%08x", i)
			pad(&b)
			b.WriteString(content)
			pad(&b)
			continue
		}
		name := f.Cpio
		if name == "" {
			name = "." + f.Name
		}
		Entry(&b, p.Magic, name, f.Mode, content)
	}
	Entry(&b, "", "TRAILER!!!", 0, "")
	return b.Bytes()
}

// Entry writes one entry of a cpio archive; magic is 070701 when empty.
func Entry(b *bytes.Buffer, magic, name string, mode int, content string) {
	var sum uint32
	if magic == "" {
		magic = "070701"
	} else {
		for _, c := range []byte(content) {
			sum += uint32(c)
		}
	}
	fmt.Fprintf(b, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", magic, 1, mode, 1, 0, 0, 0, len(content), 0, 0, 0, 0, len(name)+1, sum)
	b.WriteString(name + "\x00")
	pad(b)
	b.WriteString(content)
	pad(b)
}

func pad(b *bytes.Buffer) {
	for b.Len()%4 != 0 {
		b.WriteByte(0)
	}
}

// Header makes a header, or a signature header.
func Header(values ...Value) []byte {
	var index, data bytes.Buffer
	for _, v := range values {
		kind, count := 0, 1
		put := func(k, n int, x any) {
			kind, count = k, n
			for width := map[int]int{3: 2, 4: 4, 5: 8}[k]; width > 0 && data.Len()%width != 0; {
				data.WriteByte(0)
			}
			binary.Write(&index, binary.BigEndian, []int32{int32(v.Tag), int32(kind), int32(data.Len()), int32(count)})
			binary.Write(&data, binary.BigEndian, x)
		}
		switch x := v.Data.(type) {
		case string:
			put(6, 1, append([]byte(x), 0))
		case []string:
			var b []byte
			for _, s := range x {
				b = append(append(b, s...), 0)
			}
			put(8, len(x), b)
		case []int16:
			put(3, len(x), x)
		case []int32:
			put(4, len(x), x)
		case []int64:
			put(5, len(x), x)
		case []byte:
			put(7, len(x), x)
		case Raw:
			put(x.Kind, x.Count, x.Data)
		default:
			panic(fmt.Sprintf("no header value is a %T", x))
		}
	}
	out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(values)))
	out = binary.BigEndian.AppendUint32(out, uint32(data.Len()))
	return append(append(out, index.Bytes()...), data.Bytes()...)
}

func compress(t testing.TB, compressor string, b []byte) []byte {
	t.Helper()
	suffix := map[string]string{"gzip": ".gz", "xz": ".xz", "zstd": ".zst"}[compressor]
	if compressor != "lzma" {
		return debtest.Compress(t, suffix, b)
	}
	var out bytes.Buffer
	w, err := lzma.NewWriter(&out)
	must(t, err)
	_, err = w.Write(b)
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

// Key makes an RSA key that is good from made for life; forever when that is 0.
func Key(t testing.TB, made time.Time, life time.Duration) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("A Distribution", "", "keys@distribution.example", &packet.Config{
		RSABits: 2048, Time: func() time.Time { return made }, KeyLifetimeSecs: uint32(life / time.Second),
	})
	must(t, err)
	return e
}

// Public is the public half of keys, as the armoured blocks of an RPM-GPG-KEY file.
func Public(t testing.TB, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("pub rsa2048 A Distribution\n\n")
	for _, key := range keys {
		w, err := armor.Encode(&b, openpgp.PublicKeyType, nil)
		must(t, err)
		must(t, key.Serialize(w))
		must(t, w.Close())
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Signer makes version 4 signatures by key as of at.
func Signer(t testing.TB, key *openpgp.Entity, at time.Time) func([]byte) []byte {
	return func(content []byte) []byte {
		t.Helper()
		var b bytes.Buffer
		must(t, openpgp.DetachSign(&b, key, bytes.NewReader(content), &packet.Config{Time: func() time.Time { return at }}))
		return b.Bytes()
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
