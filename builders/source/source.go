// SPDX-License-Identifier: Apache-2.0

// Package source knows what a driver's source is, wherever it comes from: a package, a tarball or a directory that
// holds a DKMS tree or a checkout of falcosecurity/libs.
//
// Of all of them it makes one thing, a tree that the archive keeps by its content, as it keeps kernels: what was built
// once can be built again when the checkout has moved on.
package source

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/tarball"
	"github.com/mews-farm/mews/results/cause"
)

// Layout says how a tree is arranged.
type Layout string

// The layouts.
const (
	DKMS Layout = "dkms" // dkms.conf and Makefile at its top, the legacy probe in bpf/: ready for make
	Libs Layout = "libs" // falcosecurity/libs: driver/CMakeLists.txt; ready for make after Configure
)

// Source is a driver's source tree in an archive. It is never changed.
type Source struct {
	Digest   archive.Digest    `json:"digest"` // of the names, modes and contents of the tree
	Layout   Layout            `json:"layout"`
	Name     string            `json:"name"`     // of the driver: PACKAGE_NAME of dkms.conf
	Device   string            `json:"device"`   // prefix of the module's nodes in /dev
	Version  string            `json:"version"`  // of the driver
	API      string            `json:"api"`      // 8.0.4: what consumers must speak; empty where the tree does not say
	Schema   string            `json:"schema"`   // 4.1.0; likewise
	Variants []product.Variant `json:"variants"` // that the tree holds

	archive *archive.Archive
}

// Options of how a tree is read. The zero value is the usual.
type Options struct {
	// Version is the driver's, for a tree that does not tell: a checkout of libs tells it by git alone, and what is
	// archived has no history. Default for those: <API version>+tree.<digest>.
	Version string
}

// Has reports whether the tree holds variant v.
func (s *Source) Has(v product.Variant) bool { return slices.Contains(s.Variants, v) }

// Require is VARIANT_GONE when the tree does not hold variant v.
func (s *Source) Require(v product.Variant) error {
	if s.Has(v) {
		return nil
	}
	e := &cause.Err{
		Finding: cause.Finding{State: cause.Unsupported, Cause: cause.VariantGone, Fault: cause.FaultDriver},
		What:    fmt.Sprintf("%s %s has no %s driver", s.Name, s.Version, v),
		Hint:    fmt.Sprintf("it holds %s", join(s.Variants)),
	}
	return e.With(cause.Text("looked for " + signs[s.Layout][v])...)
}

func join(vs []product.Variant) string {
	words := make([]string, 0, len(vs))
	for _, v := range vs {
		words = append(words, string(v))
	}
	return strings.Join(words, ", ")
}

// signs are the files that tell which variants a tree holds.
var signs = map[Layout]map[product.Variant]string{
	DKMS: {product.KMod: "main.c", product.EBPF: "bpf/probe.c", product.Modern: "modern_bpf/CMakeLists.txt"},
	Libs: {product.KMod: "driver/main.c", product.EBPF: "driver/bpf/probe.c", product.Modern: "driver/modern_bpf/CMakeLists.txt"},
}

// Open archives the source at path, a directory, a .deb or a tarball, and reads what it holds. The error is a *cause.Err:
// SOURCE_UNUSABLE names what was looked for, or what is not safe.
func Open(ctx context.Context, a *archive.Archive, path string, o Options) (*Source, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, unusable(path, "%w", err)
	}
	if fi.IsDir() {
		return store(ctx, a, path, dirTree(path), o)
	}
	// Reading a large tarball twice takes seconds: what it held is remembered by its content.
	key, err := keyOf(path)
	if err != nil {
		return nil, unusable(path, "%w", err)
	}
	if d, err := a.Ref(key); err == nil {
		if s, err := Load(ctx, a, d, o); err == nil {
			return s, nil
		}
	}
	s, err := store(ctx, a, path, packed(path), o)
	if err != nil {
		return nil, err
	}
	return s, a.SetRef(key, s.Digest)
}

// keyVersion is raised when the same file is to give another tree.
const keyVersion = "1"

func keyOf(file string) (string, error) {
	d, err := fileDigest(file)
	return "source/file-" + keyVersion + "/" + string(d), err
}

// Load opens a tree that the archive holds.
func Load(ctx context.Context, a *archive.Archive, d archive.Digest, o Options) (*Source, error) {
	file, err := a.Path(d)
	if err != nil {
		return nil, err
	}
	s := &Source{Digest: d, archive: a}
	if err := s.read(ctx, file, o); err != nil {
		return nil, err
	}
	return s, nil
}

// store archives a tree.
func store(ctx context.Context, a *archive.Archive, from string, walk walker, o Options) (*Source, error) {
	t, err := gather(ctx, from, walk)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(t.write(w)) }()
	d, err := a.Add(ctx, r, 2*maxBytes)
	r.CloseWithError(err) // the writer must not wait for a reader that gave up
	if err != nil {
		return nil, err
	}
	return Load(ctx, a, d, o)
}

// Unpack writes the tree below dir, which must exist. Names for which keep (may be nil) returns false are left out.
func (s *Source) Unpack(ctx context.Context, dir string, keep func(name string) bool) error {
	file, err := s.archive.Path(s.Digest)
	if err != nil {
		return err
	}
	return tarball.Unpack(ctx, file, dir, tarball.Limits{}, keep)
}

// maxHead bounds the small files that are read for what they say of the tree, in bytes.
const maxHead = 64 << 10

// read finds out what a tree is by its files.
func (s *Source) read(ctx context.Context, file string, o Options) error {
	heads, err := headsOf(ctx, file)
	if err != nil {
		return err
	}
	for _, l := range []Layout{DKMS, Libs} {
		if _, ok := heads[markers[l]]; !ok {
			continue
		}
		s.Layout = l
		for _, v := range []product.Variant{product.KMod, product.EBPF, product.Modern} {
			if _, ok := heads[signs[l][v]]; ok {
				s.Variants = append(s.Variants, v)
			}
		}
		break
	}
	if s.Layout == Libs {
		return s.describeLibs(heads, o)
	}
	if s.Layout == DKMS {
		return s.describeDKMS(heads, o)
	}
	return unusable(filepath.Base(file), "the archived tree is no driver's")
}

// define is a line of driver_config.h; before 2023 the names began with PROBE_.
var define = regexp.MustCompile(`(?m)^\s*#\s*define\s+(\w+)\s+"?([\w.+~-]*)"?\s*$`)

func (s *Source) describeDKMS(heads map[string]string, o Options) error {
	rec, err := ParseRecipe("dkms.conf", strings.NewReader(heads["dkms.conf"]), dummyVariables)
	if err != nil {
		return err
	}
	s.Name, s.Version, s.Device = rec.Name, rec.Version, rec.Module
	if o.Version != "" {
		s.Version = o.Version
	}
	said := map[string]string{}
	for _, m := range define.FindAllStringSubmatch(heads["driver_config.h"], -1) {
		said[m[1]] = m[2]
	}
	for _, name := range []string{"PROBE_DEVICE_NAME", "DRIVER_DEVICE_NAME"} {
		if said[name] != "" {
			s.Device = said[name]
		}
	}
	s.API, s.Schema = packed3(said, "PPM_API_CURRENT_VERSION_"), packed3(said, "PPM_SCHEMA_CURRENT_VERSION_")
	if len(s.Variants) == 0 {
		s.Variants = []product.Variant{product.KMod} // a DKMS tree is a module's, whatever its files are called
	}
	return s.check()
}

// packed3 joins the three numbers of a version.
func packed3(said map[string]string, prefix string) string {
	var parts []string
	for _, p := range []string{"MAJOR", "MINOR", "PATCH"} {
		if _, err := strconv.ParseUint(said[prefix+p], 10, 31); err != nil {
			return ""
		}
		parts = append(parts, said[prefix+p])
	}
	return strings.Join(parts, ".")
}

var threeNumbers = regexp.MustCompile(`^\d+\.\d+\.\d+$`)

func (s *Source) describeLibs(heads map[string]string, o Options) error {
	number := func(name string) string {
		v := strings.TrimSpace(heads[name])
		if !threeNumbers.MatchString(v) {
			return ""
		}
		return v
	}
	s.Name, s.Device = "scap", "scap" // what its CMakeLists.txt falls back to
	s.API, s.Schema = number("driver/API_VERSION"), number("driver/SCHEMA_VERSION")
	s.Version = o.Version
	if s.Version == "" {
		base := s.API
		if base == "" {
			base = "0.0.0"
		}
		s.Version = base + "+tree." + string(s.Digest[:12])
	}
	return s.check()
}

// check refuses names that would not be safe in paths and on command lines.
func (s *Source) check() error {
	for _, n := range []string{s.Name, s.Device} {
		if !moduleName.MatchString(n) {
			return unusable(s.Name, "%q is not usable as a name of a driver", n)
		}
	}
	if !version.MatchString(s.Version) {
		return unusable(s.Name, "%q is not usable as a version of a driver", s.Version)
	}
	return nil
}

// Base is the directory's name under /usr/src, as DKMS has it.
func (s *Source) Base() string { return s.Name + "-" + s.Version }

// Recipe reads the tree's dkms.conf for one kernel; vars are the variables that dkms gives it.
func (s *Source) Recipe(ctx context.Context, vars map[string]string) (*Recipe, error) {
	if s.Layout != DKMS {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "source %s is of layout %s and was not configured", s.Base(), s.Layout)
	}
	file, err := s.archive.Path(s.Digest)
	if err != nil {
		return nil, err
	}
	heads, err := headsOf(ctx, file)
	if err != nil {
		return nil, err
	}
	return ParseRecipe("dkms.conf", strings.NewReader(heads["dkms.conf"]), vars)
}

// dummyVariables stand for what dkms sets, where only what does not depend on it is read.
var dummyVariables = map[string]string{
	"kernelver": "0", "kernel_source_dir": "/", "arch": "", "dkms_tree": "/", "source_tree": "/", "PACKAGE_NAME": "", "PACKAGE_VERSION": "",
}

func unusable(from, format string, args ...any) *cause.Err {
	return cause.Errorf(cause.SourceUnusable, cause.FaultInfra, "driver source %s: "+format,
		append([]any{strconv.Quote(path.Base(filepath.ToSlash(from)))}, args...)...)
}
