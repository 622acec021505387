// SPDX-License-Identifier: Apache-2.0

// Package images knows which builder images there are, and which of them a kernel wants.
//
// An image is a file beside this one: what it is made of, which compilers it has, and why it exists. Of a Debian image a
// build root is made for one compiler at a time, out of verified packages; a registry's image is pulled by its digest.
package images

import (
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/strictyaml"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

//go:embed *.yaml
var builtin embed.FS

// Image is one builder image.
type Image struct {
	Name      string     `json:"name"` // of its file
	Why       string     `json:"-"`
	Rank      int        `json:"-"`                  // of images with the same compiler the one with the smallest is taken
	Kernels   []string   `json:"-"`                  // suites, without -security and the like, or distros, whose own compilers these are
	Suites    []string   `json:"suites,omitempty"`   // of Debian, when it is made of packages
	Registry  string     `json:"registry,omitempty"` // repository:tag@sha256:..., when it is pulled
	Install   []string   `json:"install,omitempty"`  // the command that completes what is pulled, run once, with a network
	Arch      string     `json:"arch"`               // of the machine it runs on
	Target    string     `json:"target"`             // of what its compilers make
	Packages  []string   `json:"packages,omitempty"` // in every root that is made of it
	Compilers []Compiler `json:"compilers"`
}

// Compiler is one compiler of an image.
type Compiler struct {
	Name     string   `json:"name"`    // gcc-12, clang-19, also of a cross compiler
	Command  string   `json:"command"` // its file in /usr/bin: aarch64-linux-gnu-gcc-12
	Family   string   `json:"family"`  // gcc or clang
	Major    int      `json:"major"`
	Packages []string `json:"packages,omitempty"` // beside the image's
}

// Cross is what the names of binutils begin with where target and machine differ: aarch64-linux-gnu-; else "".
func (i *Image) Cross() string {
	if i.Target == i.Arch {
		return ""
	}
	return i.Target + "-linux-gnu-"
}

// PackagesOf names the packages whose closure, in the image's suites, makes a root for c.
func (i *Image) PackagesOf(c Compiler) []string { return slices.Concat(c.Packages, i.Packages) }

// Identity is the digest of the definition and of the packages that were found for it: what a build records.
func (i *Image) Identity(pkgs []kernels.Package) archive.Digest {
	h := sha256.New()
	definition, err := json.Marshal(i)
	if err != nil {
		panic(err) // strings and numbers only: cannot fail
	}
	h.Write(definition)
	digests := make([]string, 0, len(pkgs))
	for _, p := range pkgs {
		digests = append(digests, cmp.Or(string(p.Digest), p.Sum))
	}
	slices.Sort(digests)
	fmt.Fprintf(h, "\n%s", strings.Join(digests, "\n"))
	return archive.Digest(hex.EncodeToString(h.Sum(nil)))
}

// Set is all images there are, by rank.
type Set struct{ Images []*Image }

// Builtin are the images that mews comes with.
func Builtin() (*Set, error) { return Load(builtin) }

// Load reads the images of a directory: its files *.yaml. The error joins all that is wrong with them, each with its place.
func Load(dir fs.FS) (*Set, error) {
	names, err := fs.Glob(dir, "*.yaml")
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "builder images: %w", err)
	}
	s := &Set{}
	var errs []error
	for _, name := range names {
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultInfra, "builder images: %w", err)
		}
		i, err := parse(name, text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s.Images = append(s.Images, i)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.SortStableFunc(s.Images, func(a, b *Image) int { return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Name, b.Name)) })
	return s, nil
}

// definition is an image's file.
type definition struct {
	Why  strictyaml.Str `yaml:"why,required"`
	Rank int            `yaml:"rank,required"`
	Base struct {
		Debian   []strictyaml.Str `yaml:"debian"`
		Registry strictyaml.Str   `yaml:"registry"`
	} `yaml:"base,required"`
	Kernels   []strictyaml.Str `yaml:"kernels"`
	Arch      strictyaml.Str   `yaml:"arch,required"`
	Target    strictyaml.Str   `yaml:"target"`
	Packages  []strictyaml.Str `yaml:"packages"`
	Install   []strictyaml.Str `yaml:"install"`
	Compilers []struct {
		Name     strictyaml.Str   `yaml:"name,required"`
		Command  strictyaml.Str   `yaml:"command"`
		Packages []strictyaml.Str `yaml:"packages"`
	} `yaml:"compilers,required"`
}

var (
	compilerName = regexp.MustCompile(`^(gcc|clang)-([1-9][0-9]?)$`)
	plainName    = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]*$`)
	command      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]*$`)
	registryRef  = regexp.MustCompile(`^[a-z0-9.:/_-]+(:[\w.-]+)?@sha256:[0-9a-f]{64}$`)
)

// maxDefinition bounds a file, in bytes.
const maxDefinition = 64 << 10

func parse(file string, text []byte) (*Image, error) {
	if len(text) > maxDefinition {
		return nil, &strictyaml.Error{Pos: strictyaml.Pos{File: file, Line: 1, Column: 1}, Msg: fmt.Sprintf("larger than %d bytes", maxDefinition)}
	}
	var d definition
	if err := strictyaml.Decode(file, text, &d); err != nil {
		return nil, err
	}
	c := &checker{}
	c.require(len(d.Compilers) > 0, d.Why, "an image without compilers")
	c.require((len(d.Base.Debian) > 0) != (d.Base.Registry.V != ""), d.Why, "base is either debian or registry")
	c.require(d.Base.Registry.V == "" || registryRef.MatchString(d.Base.Registry.V), d.Base.Registry, "%q does not name an image by its digest: repository:tag@sha256:...", d.Base.Registry.V)
	c.require(len(d.Base.Debian) == 0 || len(d.Install) == 0, d.Why, "install is for what is pulled: Debian's packages are unpacked, and nothing of them runs")
	if d.Target.V == "" {
		d.Target = d.Arch
	}
	for _, a := range []strictyaml.Str{d.Arch, d.Target} {
		c.require(a.V == "x86_64" || a.V == "aarch64", a, "%q is not x86_64 or aarch64", a.V)
	}
	i := &Image{
		Name: strings.TrimSuffix(path.Base(file), ".yaml"), Why: d.Why.V, Rank: d.Rank, Kernels: c.names(d.Kernels), Suites: c.names(d.Base.Debian),
		Registry: d.Base.Registry.V, Arch: d.Arch.V, Target: d.Target.V, Packages: c.names(d.Packages),
	}
	for n, w := range d.Install {
		c.require(n > 0 || path.IsAbs(w.V), w, "%q is not an absolute path", w.V)
		i.Install = append(i.Install, w.V)
	}
	seen := map[string]bool{}
	for _, y := range d.Compilers {
		m := compilerName.FindStringSubmatch(y.Name.V)
		c.require(m != nil, y.Name, "%q is not gcc-N or clang-N", y.Name.V)
		c.require(!seen[y.Name.V], y.Name, "%q is there twice", y.Name.V)
		seen[y.Name.V] = true
		if m == nil {
			continue
		}
		one := Compiler{Name: y.Name.V, Command: cmp.Or(y.Command.V, i.defaultCommand(y.Name.V)), Family: m[1], Packages: c.names(y.Packages)}
		c.require(command.MatchString(one.Command), y.Command, "%q is not the name of a command", one.Command)
		if _, err := fmt.Sscan(m[2], &one.Major); err != nil {
			c.require(false, y.Name, "%q: %s", y.Name.V, err)
		}
		i.Compilers = append(i.Compilers, one)
	}
	return i, errors.Join(c.errs...)
}

// defaultCommand: clang makes code for any machine, gcc for one.
func (i *Image) defaultCommand(name string) string {
	if strings.HasPrefix(name, "gcc") {
		return i.Cross() + name
	}
	return name
}

type checker struct{ errs []error }

func (c *checker) require(ok bool, at strictyaml.Str, format string, args ...any) {
	if !ok {
		c.errs = append(c.errs, at.Errorf(format, args...))
	}
}

func (c *checker) names(in []strictyaml.Str) []string {
	var out []string
	for _, s := range in {
		c.require(plainName.MatchString(s.V), s, "%q is not a name", s.V)
		out = append(out, s.V)
	}
	return out
}
