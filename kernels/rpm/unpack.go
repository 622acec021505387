// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/internal/unpack"
)

// Walk calls fn for every entry of the package at file, in its order; hard links follow the file they lead to. Names are
// cleaned and relative. r yields the content of regular files. Device nodes and names with .. are errors. fn may return
// [fs.SkipAll] to end early; other errors of fn are returned as they are. At its end Walk has verified the digests that
// the package has of its header and payload.
func Walk(ctx context.Context, file string, lim Limits, fn func(h *tar.Header, r io.Reader) error) error {
	return walk(ctx, file, lim, nil, fn)
}

// Unpack writes what the package at file holds below dir, which must exist: nothing is written outside it.
// Entries for which filter (may be nil) returns false are left out; it is asked with cleaned names, such as usr/bin/sh.
// Several packages may be unpacked into one dir: a directory and a link to one are the same thing,
// and a file replaces a file. Links are followed as if dir were the root of the file system.
// Owners are not set and set-user-ID bits are dropped, so root is neither needed nor of any use.
func Unpack(ctx context.Context, file, dir string, lim Limits, filter func(name string) bool) error {
	return unpack.Below(file, dir, filter, func(visit unpack.Visit) error { return walk(ctx, file, lim, filter, visit) })
}

func walk(ctx context.Context, file string, lim Limits, keep func(string) bool, fn unpack.Visit) error {
	p, err := Open(file)
	if err != nil {
		return err
	}
	f, err := os.Open(file)
	if err != nil {
		return unpack.Corrupt(file, err)
	}
	defer f.Close()
	err = p.walk(ctx, io.NewSectionReader(f, p.payload, p.size-p.payload), lim.OrDefault(), keep, fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// walk reads the payload.
func (p *Package) walk(ctx context.Context, packed io.Reader, lim Limits, keep func(string) bool, fn unpack.Visit) error {
	sum, err := p.payloadDigest()
	if err != nil {
		return unpack.Corrupt(p.file, err)
	}
	raw := bufio.NewReaderSize(io.TeeReader(packed, sum), 64<<10)
	suffix, err := p.compression(raw)
	if err != nil {
		return unpack.Corrupt(p.file, err)
	}
	z, err := decompress.NewReader(raw, suffix, lim.Bytes)
	if err != nil {
		return unpack.Corrupt(p.file, err)
	}
	defer z.Close()
	if len(p.Files) > lim.Files {
		return unpack.Corrupt(p.file, fmt.Errorf("%w: more than %d files", ErrLimit, lim.Files))
	}
	w := newWalker(p, keep, fn)
	in := newCpio(z)
	for {
		if err := disk.Ctx(ctx, "unpack "+filepath.Base(p.file)); err != nil {
			return err
		}
		e, err := in.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return unpack.Corrupt(p.file, err)
		}
		if err := w.entry(in, e); err != nil {
			return err
		}
	}
	if err := w.end(); err != nil {
		return unpack.Corrupt(p.file, err)
	}
	// What follows the archive holds the compression's check sum, and is part of the payload's digest.
	for _, rest := range []io.Reader{z, raw} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return unpack.Corrupt(p.file, err)
		}
	}
	if !sum.ok() {
		return unpack.Corrupt(p.file, fmt.Errorf("payload %w", ErrDigest))
	}
	return nil
}

// suffixes of the compressors' names in headers.
var suffixes = map[string]string{"gzip": ".gz", "bzip2": ".bz2", "lzma": ".lzma", "xz": ".xz", "zstd": ".zst"}

// compression tells how the payload is packed. A package that names no compressor has gzip or none.
func (p *Package) compression(raw *bufio.Reader) (string, error) {
	format, err := p.hdr.string(tagPayloadFormat)
	if err != nil {
		return "", err
	}
	if format != "" && format != "cpio" {
		return "", fmt.Errorf("payload is a %q, not a cpio archive", format)
	}
	name, err := p.hdr.string(tagPayloadCompressor)
	if err != nil {
		return "", err
	}
	if name == "" {
		if magic, err := raw.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
			return ".gz", nil
		}
		return "", nil
	}
	suffix, ok := suffixes[name]
	if !ok {
		return "", fmt.Errorf("payload: %w: %q", decompress.ErrFormat, name)
	}
	return suffix, nil
}

// digest is a running digest and what it is to come to. One without a hash is content with anything.
type digest struct {
	hash.Hash
	want string // hexadecimal
}

func (d *digest) Write(b []byte) (int, error) {
	if d.Hash == nil {
		return len(b), nil
	}
	return d.Hash.Write(b)
}

func (d *digest) ok() bool {
	return d.Hash == nil || strings.EqualFold(d.want, hex.EncodeToString(d.Sum(nil)))
}

// walker turns the entries of a payload to those of a tar archive. What a file is comes from the header, as with rpm itself:
// the header is what is signed.
type walker struct {
	p      *Package
	keep   func(string) bool
	fn     unpack.Visit
	byName map[string]int
	seen   []bool
	links  map[int][]int // from the number of a file to those of all hard links to it, where there are more than one
}

type inode struct{ device, number uint64 }

func newWalker(p *Package, keep func(string) bool, fn unpack.Visit) *walker {
	w := &walker{p: p, keep: keep, fn: fn, byName: make(map[string]int, len(p.Files)), seen: make([]bool, len(p.Files)), links: map[int][]int{}}
	sets := map[inode][]int{}
	for i, f := range p.Files {
		w.byName[local(f.Name)] = i
		if f.Mode.IsRegular() && !f.Ghost && f.inode != 0 {
			node := inode{f.device, f.inode}
			sets[node] = append(sets[node], i)
		}
	}
	for _, set := range sets {
		if len(set) > 1 {
			for _, i := range set {
				w.links[i] = set
			}
		}
	}
	return w
}

// entry hands one entry on.
func (w *walker) entry(in *cpio, e *cpioEntry) error {
	i, err := w.find(e)
	if err != nil {
		return unpack.Corrupt(w.p.file, err)
	}
	f := w.p.Files[i]
	// Of hard links the last one has the content, the others have none.
	set := w.links[i]
	whole := len(set) == 0 || set[len(set)-1] == i
	size := f.Size
	switch {
	case !f.Mode.IsRegular() && f.Mode.Type() != fs.ModeSymlink, !whole:
		size = 0
	case f.Mode.Type() == fs.ModeSymlink:
		size = int64(len(f.Link))
	}
	if e.size >= 0 && e.size != size {
		return unpack.Corrupt(w.p.file, fmt.Errorf("%q has %d bytes, and %d by the header", f.Name, e.size, size))
	}
	content := in.content(e, size)
	if !whole {
		return nil
	}
	return w.visit(set, i, content)
}

// find returns the number of an entry's file in the header.
func (w *walker) find(e *cpioEntry) (int, error) {
	i := e.number
	if i < 0 {
		// Cleaning the name must not make a good one of a bad one.
		if _, err := unpack.Local(e.name); err != nil {
			return 0, err
		}
		var ok bool
		if i, ok = w.byName[local(e.name)]; !ok {
			return 0, fmt.Errorf("%q is not in the header's list of files", e.name)
		}
	}
	if i >= len(w.seen) {
		return 0, fmt.Errorf("has no file %d", i)
	}
	if w.seen[i] {
		return 0, fmt.Errorf("%q is there twice", w.p.Files[i].Name)
	}
	w.seen[i] = true
	return i, nil
}

// visit hands on file i, and the hard links to it. The content goes to a name that is wanted, if any is.
func (w *walker) visit(set []int, i int, content io.Reader) error {
	names := []string{w.p.Files[i].Name}
	for _, n := range set {
		if n != i {
			names = append(names, w.p.Files[n].Name)
		}
	}
	for n, name := range names {
		clean, err := unpack.Local(cmp.Or(strings.TrimPrefix(name, "/"), "."))
		if err != nil {
			return unpack.Corrupt(w.p.file, err)
		}
		names[n] = clean
	}
	first := 0
	for n, name := range names {
		if w.keep == nil || w.keep(name) {
			first = n
			break
		}
	}
	names[0], names[first] = names[first], names[0]
	h, err := tarHeader(w.p.Files[i], names[0])
	if err != nil {
		return unpack.Corrupt(w.p.file, err)
	}
	if err := w.fn(h, content); err != nil {
		return err
	}
	for _, name := range names[1:] {
		if err := w.fn(&tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: names[0], Mode: h.Mode, ModTime: h.ModTime}, bytes.NewReader(nil)); err != nil {
			return err
		}
	}
	return nil
}

func tarHeader(f File, name string) (*tar.Header, error) {
	h := &tar.Header{Name: name, Mode: int64(f.Mode.Perm()), ModTime: time.Unix(f.MTime, 0)}
	switch {
	case f.Mode.IsRegular():
		h.Typeflag, h.Size = tar.TypeReg, f.Size
	case f.Mode.IsDir():
		h.Typeflag = tar.TypeDir
	case f.Mode.Type() == fs.ModeSymlink && f.Link != "":
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Link
	default:
		return nil, fmt.Errorf("%q %w", f.Name, ErrSpecial)
	}
	return h, nil
}

// end looks for what the header promised and the payload lacked.
func (w *walker) end() error {
	for i, f := range w.p.Files {
		if !w.seen[i] && !f.Ghost {
			return fmt.Errorf("payload lacks %q", f.Name)
		}
	}
	return nil
}
