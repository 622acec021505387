// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
)

// Index is the packages of one suite, of one architecture and "all". It holds text, and makes a [Record] of it for who
// asks: a plan that reads eight suites, of 280,000 packages, had its peak at 295 MiB with records in maps, and has it
// at 180 so.
type Index struct {
	Suite     string
	keep      func(name []byte) bool
	base      string   // URL that file names are relative to
	packages  []string // each as packed, by name; those of one name as they were read
	providing []string // those of packages that provide something, in no order
	block     *strings.Builder
}

// Record keeps of a package's paragraph what is needed to choose and fetch it.
type Record struct {
	Name, Version       string
	Depends, PreDepends string // as they stand there

	arch     string
	filename string
	digest   archive.Digest
	size     int64
	provides string
	rank     int // of its priority: 0 required ... 4 extra
	index    *Index
}

// provider is a record that provides a name, perhaps at a version, which need not be its own.
type provider struct {
	*Record
	as string
}

// Package is what the record says of the package file.
func (r *Record) Package() kernels.Package {
	return kernels.Package{
		Name: r.Name, Version: r.Version, Arch: r.arch,
		URL:    r.index.base + "/" + r.filename,
		Digest: r.digest, Size: r.size, Index: r.index.Suite,
	}
}

// Len is the number of packages in the index.
func (x *Index) Len() int { return len(x.packages) }

// Names are the names of the packages, sorted.
func (x *Index) Names() []string {
	var names []string
	for _, p := range x.packages {
		names = append(names, nameOf(p))
	}
	return slices.Compact(names)
}

// Beginning yields the records of the names that begin so, by name.
func (x *Index) Beginning(prefix string) iter.Seq[*Record] {
	from := x.search(prefix)
	to := from
	for to < len(x.packages) && strings.HasPrefix(x.packages[to], prefix) {
		to++
	}
	return x.records(x.packages[from:to])
}

// search is where name is among the packages, or would be.
func (x *Index) search(name string) int {
	at, _ := slices.BinarySearchFunc(x.packages, name, func(p, name string) int { return strings.Compare(nameOf(p), name) })
	return at
}

// named yields the records of one name.
func (x *Index) named(name string) iter.Seq[*Record] {
	from := x.search(name)
	to := from
	for to < len(x.packages) && nameOf(x.packages[to]) == name {
		to++
	}
	return x.records(x.packages[from:to])
}

func (x *Index) records(packages []string) iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, p := range packages {
			r := &Record{index: x}
			if err := r.unpack(p); err != nil {
				panic(err) // it was checked when it was taken in
			}
			if !yield(r) {
				return
			}
		}
	}
}

// maxLine bounds a line of an index; the longest of sid's (a Provides of librust-*) has 20 KB.
const maxLine = 4 << 20

// newIndex returns an empty index. base is the URL that file names are relative to; keep may be nil.
func newIndex(suite, base string, keep func(name []byte) bool) *Index {
	return &Index{Suite: suite, base: base, keep: keep, block: &strings.Builder{}}
}

// read adds a Packages file in one pass, and of its text keeps only what the records hold. Unknown fields are passed
// over, a broken paragraph is an error: its hash was signed, so damage means that this code is wrong about the format.
func (x *Index) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	var cur paragraph
	skip := false // the rest of a paragraph that is not kept
	for n := 1; ; n++ {
		line, err := readLine(in)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return fmt.Errorf("line %d: %w", n, err)
		}
		line = bytes.TrimRight(line, "\r\n")
		switch {
		case len(line) == 0:
			if err := x.add(&cur); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			cur.clear()
			skip = false
		case skip:
		case x.leavesOut(line):
			cur.clear()
			skip = true
		default:
			cur.set(line)
		}
		if end {
			err := x.add(&cur)
			slices.SortStableFunc(x.packages, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
			return err
		}
	}
}

func (x *Index) leavesOut(line []byte) bool {
	if x.keep == nil {
		return false
	}
	name, ok := bytes.CutPrefix(line, []byte("Package:"))
	return ok && !x.keep(bytes.TrimSpace(name))
}

// add takes a whole paragraph in; an empty one is the space between paragraphs.
func (x *Index) add(p *paragraph) error {
	if len(p[fieldName])+len(p[fieldVersion])+len(p[fieldFilename]) == 0 {
		return nil
	}
	text := x.pack(p)
	var r Record
	err := r.unpack(text)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return fmt.Errorf("package %q: %w", p[fieldName], err)
	}
	x.packages = append(x.packages, text)
	if r.provides != "" {
		x.providing = append(x.providing, text)
	}
	return nil
}

// readLine returns the next line; the bytes are good until the next call.
func readLine(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if len(long) > maxLine {
			return nil, fmt.Errorf("longer than %d bytes", maxLine)
		}
		line, err = in.ReadSlice('\n')
		long = append(long, line...)
	}
	return long, err
}

func (r *Record) check() error {
	switch {
	case r.Name == "" || strings.ContainsAny(r.Name, "/ "):
		return errors.New("no proper name")
	case r.Version == "":
		return errors.New("no version")
	case !r.digest.Valid():
		return fmt.Errorf("SHA256 %q is not one", string(r.digest))
	case r.filename == "" || path.IsAbs(r.filename) || path.Clean(r.filename) != strings.TrimPrefix(r.filename, "./") || strings.HasPrefix(r.filename, ".."):
		return fmt.Errorf("file name %q leaves the mirror", r.filename)
	}
	return nil
}
