// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
)

// Index is the packages of one suite, of one architecture and "all".
type Index struct {
	Suite    string
	keep     func(name []byte) bool
	base     string // URL that file names are relative to
	packages map[string][]*Record
	provides map[string][]provider
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
func (x *Index) Len() int {
	n := 0
	for _, rs := range x.packages {
		n += len(rs)
	}
	return n
}

// Names are the names of the packages, sorted.
func (x *Index) Names() []string { return slices.Sorted(maps.Keys(x.packages)) }

// All yields every record, those of one name together.
func (x *Index) All() iter.Seq[*Record] {
	return func(yield func(*Record) bool) {
		for _, records := range x.packages {
			for _, r := range records {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// maxLine bounds a line of an index; the longest of sid's (a Provides of librust-*) has 20 KB.
const maxLine = 4 << 20

// priorities, the most important first.
var priorities = []string{"required", "important", "standard", "optional", "extra"}

// newIndex returns an empty index. base is the URL that file names are relative to; keep may be nil.
func newIndex(suite, base string, keep func(name []byte) bool) *Index {
	return &Index{Suite: suite, base: base, keep: keep, packages: map[string][]*Record{}, provides: map[string][]provider{}}
}

// read adds a Packages file in one pass, and of its text keeps only what the records hold. Unknown fields are passed
// over, a broken paragraph is an error: its hash was signed, so damage means that this code is wrong about the format.
func (x *Index) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	cur := &Record{index: x}
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
			if err := x.add(cur); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
			cur, skip = &Record{index: x}, false
		case skip:
		case x.leavesOut(line):
			cur, skip = &Record{index: x}, true
		default:
			if err := cur.set(line); err != nil {
				return fmt.Errorf("line %d: %w", n, err)
			}
		}
		if end {
			return x.add(cur)
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

// add takes a whole record in; an empty one is the space between paragraphs.
func (x *Index) add(r *Record) error {
	if r.Name == "" && r.Version == "" && r.filename == "" {
		return nil
	}
	if err := r.check(); err != nil {
		return fmt.Errorf("package %q: %w", r.Name, err)
	}
	x.packages[r.Name] = append(x.packages[r.Name], r)
	for _, group := range ParseRelations(r.provides) {
		p := group[0]
		x.provides[p.Name] = append(x.provides[p.Name], provider{r, p.Version})
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

func (r *Record) set(line []byte) error {
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || line[0] == ' ' || line[0] == '\t' {
		return nil // a continuation: none of the fields kept has any in Packages
	}
	value = bytes.TrimSpace(value)
	switch string(key) {
	case "Package":
		r.Name = string(value)
	case "Version":
		r.Version = string(value)
	case "Architecture":
		r.arch = string(value)
	case "Filename":
		r.filename = string(value)
	case "SHA256":
		r.digest = archive.Digest(value)
	case "Depends":
		r.Depends = string(value)
	case "Pre-Depends":
		r.PreDepends = string(value)
	case "Provides":
		r.provides = string(value)
	case "Priority":
		r.rank = slices.Index(priorities, string(value))
		if r.rank < 0 {
			r.rank = len(priorities)
		}
	case "Size":
		n, err := strconv.ParseUint(string(value), 10, 50)
		if err != nil {
			return fmt.Errorf("size: %w", err)
		}
		r.size = int64(n)
	}
	return nil
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
