// SPDX-License-Identifier: Apache-2.0

// Package rpm knows the format of an RPM package: what it says of itself, what its signatures prove, and how to unpack
// one that nobody vouches for.
//
// Scriptlets are never run.
package rpm

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

// What a package can be refused for, all under PACKAGE_CORRUPT; anything else is damage.
var (
	ErrLimit   = unpack.ErrLimit   // unpacks to more than Limits allow
	ErrUnsafe  = unpack.ErrUnsafe  // absolute names, .. and the like
	ErrSpecial = unpack.ErrSpecial // device nodes and other special files
	ErrDigest  = errors.New("does not have the digest that the package gives for it")
)

// Limits bound what a package may unpack to. The zero value of a field means its default.
type Limits = unpack.Limits

// Package is what a package says of itself.
type Package struct {
	Name, Arch string
	EVR        EVR
	SourceRPM  string // the file name of the source package: kernel-5.10.219-208.866.amzn2.src.rpm
	Provides   []Dep  // kernel(symbol) = 0x..., ...
	Requires   []Dep
	Files      []File // in the header's order

	file    string
	sig     *header
	hdr     *header
	payload int64 // where it begins
	size    int64 // of the file
}

// NEVRA is name-[epoch:]version-release.arch.
func (p *Package) NEVRA() string { return p.Name + "-" + p.EVR.String() + "." + p.Arch }

// Dep is a capability that is provided or required. Op (<, <=, =, >=, >) and Version are empty for any version.
type Dep struct{ Name, Op, Version string }

func (d Dep) String() string {
	if d.Op == "" {
		return d.Name
	}
	return d.Name + " " + d.Op + " " + d.Version
}

// File is one file of a package, as its header has it.
type File struct {
	Name  string // absolute
	Size  int64
	Mode  fs.FileMode
	Link  string // the target of a symbolic link
	MTime int64  // seconds since 1970
	Ghost bool   // belongs to the package without being in it

	inode  uint64
	device uint64
}

// lead is the 96 bytes that every RPM begins with, of which nothing but this is of use any more.
const leadSize = 96

var leadMagic = []byte{0xed, 0xab, 0xee, 0xdb}

// Open reads what the package at file says of itself. Of its digests only those of its header are verified.
func Open(file string) (*Package, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "open package: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, unpack.Corrupt(file, err)
	}
	p, err := read(f, fi.Size())
	if err != nil {
		return nil, unpack.Corrupt(file, err)
	}
	p.file = file
	return p, nil
}

func read(r io.Reader, size int64) (*Package, error) {
	lead := make([]byte, leadSize)
	n, err := io.ReadFull(r, lead)
	if !bytes.HasPrefix(lead, leadMagic) {
		return nil, fmt.Errorf("not an RPM: begins with %q", lead[:min(n, len(leadMagic))])
	}
	if err != nil {
		return nil, fmt.Errorf("lead: %w", cut(err))
	}
	p := &Package{size: size}
	if p.sig, err = readHeader(r, size-leadSize); err != nil {
		return nil, fmt.Errorf("signature %w", err)
	}
	at := int64(leadSize + len(p.sig.raw))
	pad := -at & 7 // the header is aligned to 8 bytes, and its magic with it
	if _, err := io.CopyN(io.Discard, r, pad); err != nil {
		return nil, fmt.Errorf("signature header: %w", cut(err))
	}
	at += pad
	if p.hdr, err = readHeader(r, size-at); err != nil {
		return nil, err
	}
	p.payload = at + int64(len(p.hdr.raw))
	if err := p.checkHeader(); err != nil {
		return nil, err
	}
	return p, p.fill()
}

// checkHeader compares the header with its digests.
func (p *Package) checkHeader() error {
	for _, d := range []struct {
		tag  tag
		name string
		new  func() hash.Hash
	}{{sigSHA256, "SHA-256", sha256.New}, {sigSHA1, "SHA-1", sha1.New}} {
		want, err := p.sig.string(d.tag)
		if err != nil {
			return fmt.Errorf("signature %w", err)
		}
		if want == "" {
			continue
		}
		h := d.new()
		h.Write(p.hdr.raw)
		if !strings.EqualFold(want, hex.EncodeToString(h.Sum(nil))) {
			return fmt.Errorf("header %w: %s", ErrDigest, d.name)
		}
		return nil
	}
	return nil
}

// fill reads what is of use out of the header.
func (p *Package) fill() error {
	for _, s := range []struct {
		tag tag
		to  *string
	}{{tagName, &p.Name}, {tagVersion, &p.EVR.Version}, {tagRelease, &p.EVR.Release}, {tagArch, &p.Arch}, {tagSourceRPM, &p.SourceRPM}} {
		var err error
		if *s.to, err = p.hdr.string(s.tag); err != nil {
			return err
		}
	}
	if p.Name == "" || p.EVR.Version == "" || p.EVR.Release == "" {
		return errors.New("header has no name, version or release")
	}
	epoch, err := p.hdr.numbers(tagEpoch)
	if err != nil {
		return err
	}
	if len(epoch) > 0 {
		p.EVR.Epoch = int(epoch[0])
	}
	if p.Provides, err = p.hdr.deps(tagProvideName, tagProvideFlags, tagProvideVersion); err != nil {
		return err
	}
	if p.Requires, err = p.hdr.deps(tagRequireName, tagRequireFlags, tagRequireVersion); err != nil {
		return err
	}
	p.Files, err = p.hdr.files()
	return err
}

// deps puts the three parallel lists of a kind of dependency together.
func (h *header) deps(name, flags, version tag) ([]Dep, error) {
	names, err1 := h.strings(name)
	ops, err2 := h.numbers(flags)
	versions, err3 := h.strings(version)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if len(ops) != len(names) || len(versions) != len(names) {
		return nil, fmt.Errorf("header tags %d, %d, %d have %d, %d, %d values", name, flags, version, len(names), len(ops), len(versions))
	}
	const less, greater, equal = 1 << 1, 1 << 2, 1 << 3
	out := make([]Dep, len(names))
	for i := range names {
		d := Dep{Name: names[i], Version: versions[i]}
		for _, op := range []struct {
			bit  uint64
			sign string
		}{{less, "<"}, {greater, ">"}, {equal, "="}} {
			if ops[i]&op.bit != 0 {
				d.Op += op.sign
			}
		}
		out[i] = d
	}
	return out, nil
}

// files puts the parallel lists of files together.
func (h *header) files() ([]File, error) {
	names, err := h.fileNames()
	if err != nil {
		return nil, err
	}
	sizes := tagFileSizes
	if _, ok := h.values[tagLongFileSizes]; ok { // of packages with a file of 4 GiB or more
		sizes = tagLongFileSizes
	}
	columns := map[tag][]uint64{}
	for _, t := range []tag{sizes, tagFileModes, tagFileMTimes, tagFileFlags, tagFileDevices, tagFileInodes} {
		if columns[t], err = h.numbers(t); err != nil {
			return nil, err
		}
		if len(columns[t]) != len(names) {
			return nil, fmt.Errorf("header tag %d has %d values for %d files", t, len(columns[t]), len(names))
		}
	}
	links, err := h.strings(tagFileLinkTos)
	if err != nil {
		return nil, err
	}
	if len(links) != len(names) {
		return nil, fmt.Errorf("header tag %d has %d values for %d files", tagFileLinkTos, len(links), len(names))
	}
	const ghost = 1 << 6
	out := make([]File, len(names))
	for i, name := range names {
		size := columns[sizes][i]
		if size > 1<<62 {
			return nil, fmt.Errorf("file %q has %d bytes: %w", name, size, ErrLimit)
		}
		out[i] = File{
			Name: name, Size: int64(size), Mode: fileMode(columns[tagFileModes][i]), Link: links[i],
			MTime: int64(columns[tagFileMTimes][i]), Ghost: columns[tagFileFlags][i]&ghost != 0,
			inode: columns[tagFileInodes][i], device: columns[tagFileDevices][i],
		}
	}
	return out, nil
}

// fileNames joins each base name with its directory.
func (h *header) fileNames() ([]string, error) {
	bases, err1 := h.strings(tagBaseNames)
	dirs, err2 := h.strings(tagDirNames)
	indexes, err3 := h.numbers(tagDirIndexes)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if len(indexes) != len(bases) {
		return nil, fmt.Errorf("header has %d directories for %d files", len(indexes), len(bases))
	}
	total := 0
	out := make([]string, len(bases))
	for i, base := range bases {
		if indexes[i] >= uint64(len(dirs)) {
			return nil, fmt.Errorf("file %q is in directory %d of %d", base, indexes[i], len(dirs))
		}
		dir := dirs[indexes[i]]
		// One long directory of many files would make much of little.
		if total += len(dir) + len(base); len(dir)+len(base) > maxName || total > maxHeaderData {
			return nil, fmt.Errorf("names of files: %w", ErrLimit)
		}
		out[i] = dir + base
	}
	return out, nil
}

// maxName is Linux's PATH_MAX.
const maxName = 4096

// fileMode reads st_mode of Linux.
func fileMode(m uint64) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	switch m & 0o170000 {
	case 0o100000:
	case 0o040000:
		mode |= fs.ModeDir
	case 0o120000:
		mode |= fs.ModeSymlink
	case 0o020000:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		mode |= fs.ModeDevice
	case 0o010000:
		mode |= fs.ModeNamedPipe
	case 0o140000:
		mode |= fs.ModeSocket
	default:
		mode |= fs.ModeIrregular
	}
	return mode
}

// local is the name of a file below the directory it is unpacked to. Those of a header are absolute, or begin with ./ as
// those of cpio archives do.
func local(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }
