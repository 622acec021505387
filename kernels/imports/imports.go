// SPDX-License-Identifier: Apache-2.0

// Package imports knows how to make catalogue entries of the lists, trees and files about kernels that people
// already have.
//
// Nothing is dropped silently: what cannot be read is told with its place and the reason.
package imports

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// SourceName is the Source of the entries made here.
const SourceName = "import"

// Kind says what is imported.
type Kind string

// The kinds.
const (
	Auto      Kind = ""          // find out
	Crawler   Kind = "crawler"   // kernel-crawler's list.json
	Driverkit Kind = "driverkit" // a driverkit configuration, or a tree of them as dbg-go makes
	URLs      Kind = "urls"      // a text file with a URL per line; # begins a comment
	Dir       Kind = "dir"       // a directory with a kernel in it, a vmlinuz, or .deb and .rpm files
)

// Kinds are the kinds by which an import can be asked for.
var Kinds = []Kind{Crawler, Driverkit, URLs, Dir}

// Options of [Read]. The zero value will do for lists; a Dir needs an Archive.
type Options struct {
	Archive *archive.Archive // takes what is imported from disk
	Arch    string           // x86_64 or aarch64: of what does not say it itself; kernel-crawler makes one list for each
	Distro  string           // of what does not say it itself: a vmlinuz, or an el8 package by itself
}

// Remark is something to tell about a part of what was read.
type Remark struct {
	Where string // file:line, file:line:column or a file
	What  string // what stands there, cut to a line
	Why   string
}

func (r Remark) String() string { return fmt.Sprintf("%s: %s: %s", r.Where, r.Why, r.What) }

// Result is what came of an import.
type Result struct {
	Kind    Kind
	Entries []kernels.Entry // by distro, release, version, arch and build
	Read    int             // lines, records or files that were understood
	Skipped []Remark        // those that were not; comments and empty lines are not counted
	Notes   []Remark        // about what was understood: unknown keys and the like
}

// Reason is why parts were skipped.
type Reason struct {
	Why   string
	Count int
	First Remark
}

func (r Reason) String() string {
	return fmt.Sprintf("%d skipped: %s; the first: %s: %s", r.Count, r.Why, r.First.Where, r.First.What)
}

// Reasons sums up Skipped, the most frequent first.
func (r *Result) Reasons() []Reason {
	by := map[string]*Reason{}
	for _, s := range r.Skipped {
		if by[s.Why] == nil {
			by[s.Why] = &Reason{Why: s.Why, First: s}
		}
		by[s.Why].Count++
	}
	var out []Reason
	for _, s := range by {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Reason) int { return cmp.Or(b.Count-a.Count, strings.Compare(a.Why, b.Why)) })
	return out
}

const (
	maxList  = 1 << 30 // bytes of a list; kernel-crawler's have 3 MB
	maxItems = 2_000_000
	maxWhat  = 160 // bytes of a remark's What
)

// Read imports path, which is a file or a directory as kind has it. An error is about the whole: that it cannot be
// read, is not of that kind, or holds nothing but what had to be skipped.
func Read(ctx context.Context, kind Kind, path string, o Options) (*Result, error) {
	if o.Arch != "" && o.Arch != "x86_64" && o.Arch != "aarch64" {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "architecture %q is not one of x86_64 and aarch64", o.Arch)
	}
	if kind == Auto {
		var err error
		if kind, err = Detect(path); err != nil {
			return nil, err
		}
	}
	read := map[Kind]func(context.Context, string, Options, *collector) error{
		Crawler: readCrawler, Driverkit: readDriverkit, URLs: readURLs, Dir: readDir,
	}[kind]
	if read == nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q is no kind of import", kind).
			Advise("use one of %s, %s, %s and %s", Crawler, Driverkit, URLs, Dir)
	}
	c := newCollector(filepath.Base(path))
	if err := read(ctx, path, o, c); err != nil {
		return nil, err
	}
	r := c.result()
	r.Kind = kind
	if len(r.Entries) == 0 {
		err := cause.Errorf(cause.PackageMissing, cause.FaultInfra, "%s: no kernel in it could be read as %s; %d parts were skipped", path, kind, len(r.Skipped))
		for _, s := range r.Reasons() {
			err.With(cause.Text(s.String())...)
		}
		return r, err.Advise("see whether it is of another kind: crawler, driverkit, urls or dir")
	}
	return r, nil
}

// Detect finds out of which kind path is.
func Detect(path string) (Kind, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	if fi.IsDir() {
		return detectDir(path)
	}
	switch filepath.Ext(path) {
	case ".yaml", ".yml":
		return Driverkit, nil
	case ".json":
		return Crawler, nil
	case ".deb", ".rpm":
		return Dir, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	defer f.Close()
	head, err := bufio.NewReader(f).Peek(4096)
	if err != nil && len(head) == 0 {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: is empty, or cannot be read: %w", path, err)
	}
	text := strings.TrimSpace(string(head))
	switch {
	case slices.Contains(head, 0):
		return Dir, nil // an image of a kernel
	case strings.HasPrefix(text, "{"):
		return Crawler, nil
	case strings.Contains(text, "://"):
		return URLs, nil
	}
	return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%s: cannot tell what it is a list of", path).
		Advise("name the kind: crawler, driverkit, urls or dir")
}

// detectDir tells a directory with kernels from a tree of configurations, by what kernels are looked for by: a root file
// system has YAML files of its own.
func detectDir(path string) (Kind, error) {
	files, err := os.ReadDir(path)
	if err != nil {
		return "", unreadable(path, err)
	}
	if len(findLayout(path).images) > 0 || slices.ContainsFunc(files, func(f fs.DirEntry) bool { return isPackage(f.Name()) }) {
		return Dir, nil
	}
	kind := Dir
	n := 0
	err = filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" {
			kind = Driverkit
			return fs.SkipAll
		}
		if n++; n > maxItems {
			return tooLong(path)
		}
		return nil
	})
	if err != nil && !ours(err) {
		return "", unreadable(path, err)
	}
	return kind, err
}

// readURLs reads a URL per line.
func readURLs(ctx context.Context, path string, o Options, c *collector) error {
	f, err := openList(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		if err := disk.Ctx(ctx, "read "+path); err != nil {
			return err
		}
		line := strings.TrimSpace(in.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if n > maxItems {
			return tooLong(path)
		}
		where := fmt.Sprintf("%s:%d", filepath.Base(path), n)
		a, err := parseURL(line, o.Distro)
		if err != nil {
			c.skip(where, line, err)
			continue
		}
		c.read++
		c.add(where, a)
	}
	if err := in.Err(); err != nil {
		return unreadable(path, err)
	}
	return nil
}

// list is a file of which no more than maxList is read.
type list struct {
	io.Reader
	io.Closer
}

func openList(path string) (*list, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(path, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("is not a file")
	}
	if err == nil && fi.Size() > maxList {
		err = fmt.Errorf("has %d bytes, and a list may have %d", fi.Size(), int64(maxList))
	}
	if err != nil {
		f.Close()
		return nil, unreadable(path, err)
	}
	return &list{io.LimitReader(f, maxList), f}, nil
}

func unreadable(path string, err error) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "import %s: %w", path, err)
}

func tooLong(path string) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "import %s: has more than %d items", path, maxItems)
}

// cut makes a line of what may be anything.
func cut(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxWhat {
		s = strings.ToValidUTF8(s[:maxWhat], "") + "..."
	}
	return s
}
