// SPDX-License-Identifier: Apache-2.0

// Package matrix knows matrix.yaml: what may be in it, and what is wrong with one that is refused.
package matrix

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/nearest"
	"github.com/mews-farm/mews/internal/strictyaml"
	"github.com/mews-farm/mews/results"
)

// Str is a name with its place in the file.
type Str = strictyaml.Str

// Values are the names alone.
func Values(list []Str) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.V
	}
	return out
}

// Matrix is the whole file, decoded and checked: every name it uses is defined.
type Matrix struct {
	Version   int                      `yaml:"version,required"`
	Sources   Sources                  `yaml:"sources"`
	Kernels   strictyaml.Map[Kernel]   `yaml:"kernels,required"`
	Userlands strictyaml.Map[Packages] `yaml:"userlands"`
	Images    strictyaml.Map[Packages] `yaml:"images"`
	Consumers strictyaml.Map[Consumer] `yaml:"consumers"`
	Drivers   strictyaml.Map[Driver]   `yaml:"drivers,required"`
	Profiles  strictyaml.Map[Profile]  `yaml:"profiles,required"`
	Allowed   []Allowed                `yaml:"allow_splats"`
}

// Kernel selects kernels of a distro.
type Kernel struct {
	Distro Str    `yaml:"distro,required"`
	Suites []Str  `yaml:"suites"`         // of Debian; every other distro's kernels are the catalogue's
	Match  Str    `yaml:"match,required"` // uname -r, exact or a glob
	Latest int    `yaml:"latest"`         // the newest N of those that match; 0 means all
	Build  []Str  `yaml:"build"`          // Debian suites that hold its compiler; none: those known to
	Name   string // the key
	BTF    Str    `yaml:"btf_override"` // a BTF file, relative to the matrix, to relocate CO-RE probes against, in place of the kernel's own types; may be .gz
}

// Packages is a set of packages with all they depend on.
type Packages struct {
	Suites   []Str `yaml:"suites,required"`
	Packages []Str `yaml:"packages,required"`
}

// Consumer is what reads a driver's events.
type Consumer struct {
	Kind     Str    `yaml:"kind,required"`     // native, sysdig, falco or command
	Userland Str    `yaml:"userland,required"` // the guest's root
	Rules    []Str  `yaml:"rules"`             // rule overlays this consumer needs, of scenarios/rules
	Argv     []Str  `yaml:"argv"`              // of falco and command: the program, by its path in the guest, and its arguments
	Files    []File `yaml:"files"`             // of the user's own that the guest's root holds besides the userland's packages
}

// Driver is a source tree of one variant.
type Driver struct {
	Variant  Str    `yaml:"variant,required"` // kmod, ebpf, modern_ebpf or ptrace
	Source   Source `yaml:"source,required"`
	Consumer Str    `yaml:"consumer"` // none: the driver is built by `mews build`, and not run
	Params   []Str  `yaml:"params"`   // of a kernel module, each name=value
	Name     string // the key
	BTF      Str    `yaml:"btf_override"` // as of a kernel; that of the driver counts where both have one
	Until    Str    `yaml:"until"`        // the last stage: build, or before unload, load; none: all of them
	Compiler Str    `yaml:"compiler"`     // to build with, such as clang-9; none: the kernel's own
	Force    bool   `yaml:"force"`        // build although that compiler broke a promise of the kernel's configuration
	Fork     Str    `yaml:"fork"`         // false: everything in one boot, as it does not survive a snapshot of its guest
	// ForkReason says why; without a reason it is an error.
	ForkReason Str `yaml:"fork_reason"`
}

// Source is either a package of a suite or a driver that mews carries.
type Source struct {
	Package Str `yaml:"package"`
	Suite   Str `yaml:"suite"`
	Builtin Str `yaml:"builtin"`
}

// Profile is a named part of the matrix.
type Profile struct {
	Description string        `yaml:"description"`
	Kernels     []Str         `yaml:"kernels,required"`
	Drivers     []Str         `yaml:"drivers,required"`
	Scenarios   []Str         `yaml:"scenarios,required"`
	Suites      []Str         `yaml:"suites"` // files of event-generator's tests, relative to the matrix
	Image       Str           `yaml:"image,required"`
	Expect      []Expectation `yaml:"expect"` // what else than pass is foreseen
	Logs        []Log         `yaml:"logs"`   // of builds that others ran
	Name        string        // the key
}

// Vocabulary is what the matrix may name that is defined outside it.
type Vocabulary struct {
	Scenarios    []string // names of the catalogue
	RuleOverlays []string // names of scenarios/rules overlays
	Builtins     []string // drivers mews carries
	Compilers    []string // of the builder images
}

// Ptrace is the variant without a driver in the kernel, and the name of the only driver of it.
const Ptrace = "ptrace"

// Embedded is the driver that the consumer brings along and loads by itself, as Falco does its modern probe.
const Embedded = "consumer"

// NoFork is said of a driver that does not survive a snapshot.
const NoFork = "false"

// The closed sets of the file.
var (
	distros  = []string{"debian", "ubuntu", "amazonlinux2", "amazonlinux2023", "rocky", "almalinux", "centos", "ol", "redhat", "cos"}
	variants = []string{"kmod", "ebpf", "modern_ebpf", Ptrace}
	kinds    = []string{Native, Sysdig, Falco, Command}
)

// Load reads and checks the file at name. Every error names file, line and column, what was expected, and the
// nearest name where one was probably mistyped.
func Load(name string, voc Vocabulary) (*Matrix, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the matrix: %w (-f names another file)", err)
	}
	return Parse(name, data, voc)
}

// Parse is [Load] of data; file is only for messages.
func Parse(file string, data []byte, voc Vocabulary) (*Matrix, error) {
	m := new(Matrix)
	if err := strictyaml.Decode(file, data, m); err != nil {
		return nil, err
	}
	m.locate(filepath.Dir(file))
	c := checker{m: m, voc: voc}
	c.run(file)
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	for i := range m.Kernels {
		m.Kernels[i].Value.Name = m.Kernels[i].Key.V
	}
	for i := range m.Drivers {
		m.Drivers[i].Value.Name = m.Drivers[i].Key.V
	}
	for i := range m.Profiles {
		m.Profiles[i].Value.Name = m.Profiles[i].Key.V
	}
	return m, nil
}

type checker struct {
	m    *Matrix
	voc  Vocabulary
	errs []error
}

func (c *checker) errorf(s Str, format string, args ...any) {
	c.errs = append(c.errs, s.Errorf(format, args...))
}

// oneOf reports s unless it is in known.
func (c *checker) oneOf(what string, s Str, known []string) {
	for _, k := range known {
		if s.V == k {
			return
		}
	}
	c.errorf(s, "unknown %s %q%s (known: %s)", what, s.V, nearest.Hint(s.V, known), strings.Join(known, ", "))
}

func (c *checker) someOf(what string, list []Str, known []string) {
	for _, s := range list {
		c.oneOf(what, s, known)
	}
}

func (c *checker) run(file string) {
	m := c.m
	if m.Version != 1 {
		c.errorf(Str{Pos: strictyaml.Pos{File: file, Line: 1, Column: 1}}, "version %d is not known; this mews reads version 1", m.Version)
	}
	c.sources(m.Sources)
	for _, key := range slices.Concat(entryKeys(m.Kernels), entryKeys(m.Drivers)) {
		if results.CheckID(key.V) != nil {
			c.errorf(key, "%q cannot be part of a file's name: letters, digits and . _ + ~ - are allowed", key.V)
		}
	}
	for _, e := range m.Kernels {
		k := e.Value
		c.oneOf("distro", k.Distro, distros)
		if _, err := path.Match(k.Match.V, ""); err != nil || k.Match.V == "" {
			c.errorf(k.Match, "%q is not a pattern (shell globs: * ? [a-z])", k.Match.V)
		}
		if k.Latest < 0 {
			c.errorf(e.Key, "latest: %d is below 0", k.Latest)
		}
		c.override(k.BTF)
		switch debian := k.Distro.V == "debian"; {
		case debian:
			c.nonEmpty(e.Key, "suites", len(k.Suites))
		case len(k.Suites) > 0:
			c.errorf(k.Suites[0], "%s: suites are Debian's; kernels of %s come from the catalogue (mews kernels update)", e.Key.V, k.Distro.V)
		}
	}
	for _, sets := range []strictyaml.Map[Packages]{m.Userlands, m.Images} {
		for _, e := range sets {
			c.nonEmpty(e.Key, "suites", len(e.Value.Suites))
			c.nonEmpty(e.Key, "packages", len(e.Value.Packages))
		}
	}
	for _, e := range m.Consumers {
		c.consumer(e.Key, e.Value)
		c.oneOf("userland", e.Value.Userland, m.Userlands.Keys())
		c.someOf("rule overlay", e.Value.Rules, c.voc.RuleOverlays)
	}
	for _, e := range m.Drivers {
		c.driver(e.Key, e.Value)
	}
	for _, a := range m.Allowed {
		c.allowed(a)
	}
	for _, e := range m.Profiles {
		p := e.Value
		c.someOf("kernel", p.Kernels, m.Kernels.Keys())
		c.someOf("driver", p.Drivers, m.Drivers.Keys())
		for _, s := range p.Drivers {
			if d, ok := m.Drivers.Get(s.V); ok && !d.Runs() {
				c.errorf(s, "%s has no consumer: it can be built, and not run", s.V)
			}
		}
		c.scenarios(p)
		c.oneOf("image", p.Image, m.Images.Keys())
		c.expectations(p)
		c.logs(p)
		c.nonEmpty(e.Key, "kernels", len(p.Kernels))
		c.nonEmpty(e.Key, "drivers", len(p.Drivers))
	}
}

func entryKeys[T any](m strictyaml.Map[T]) []Str {
	out := make([]Str, len(m))
	for i, e := range m {
		out[i] = e.Key
	}
	return out
}

func (c *checker) nonEmpty(key Str, what string, n int) {
	if n == 0 {
		c.errorf(key, "%s: %s is an empty list; a run of nothing proves nothing", key.V, what)
	}
}

func (c *checker) driver(key Str, d Driver) {
	c.oneOf("variant", d.Variant, variants)
	s := d.Source
	switch {
	case d.Consumer.V != "":
		c.oneOf("consumer", d.Consumer, c.m.Consumers.Keys())
	case s.Builtin.V != "":
		c.errorf(key, "%s: a driver that mews carries needs a consumer: there is nothing else to do with it", key.V)
	}
	if consumer, ok := c.m.Consumers.Get(d.Consumer.V); ok {
		c.fits(key, d, consumer)
	}
	c.params(key, d)
	switch {
	case s.Package.V != "" && s.Builtin.V != "":
		c.errorf(s.Builtin, "%s: a source is either a package or builtin, not both", key.V)
	case s.Builtin.V != "":
		c.oneOf("builtin driver", s.Builtin, c.voc.Builtins)
	case s.Package.V == "":
		c.errorf(key, "%s: source names neither a package nor a builtin driver", key.V)
	case s.Suite.V == "":
		c.errorf(s.Package, "%s: source names package %q but no suite to take it from", key.V, s.Package.V)
	}
	if d.Variant.V == "modern_ebpf" && s.Builtin.V == "" {
		c.errorf(key, "%s: a modern_ebpf driver is builtin", key.V)
	}
	if builtin := s.Builtin.V == Ptrace; builtin != (d.Variant.V == Ptrace) {
		c.errorf(key, "%s: variant ptrace and the builtin driver ptrace go together", key.V)
	}
	switch {
	case d.Fork.V != "" && d.Fork.V != NoFork:
		c.errorf(d.Fork, "fork %q: a driver forks unless it says %s, with a fork_reason", d.Fork.V, NoFork)
	case d.Fork.V != "" && d.ForkReason.V == "":
		c.errorf(d.Fork, "fork: %s needs a fork_reason: what becomes of the driver in a guest that was saved", NoFork)
	case d.Fork.V == "" && d.ForkReason.V != "":
		c.errorf(d.ForkReason, "fork_reason without fork: %s", NoFork)
	}
	if d.Until.V != "" {
		c.oneOf("stage to end at", d.Until, []string{UntilBuild, UntilLoad})
	}
	c.compiler(key, d)
	c.override(d.BTF)
	if d.BTF.V != "" && d.Variant.V != "modern_ebpf" {
		c.errorf(d.BTF, "%s: only a modern_ebpf driver is relocated; btf_override is of no use to variant %s", key.V, d.Variant.V)
	}
	if slices.Contains([]string{"kmod", "ebpf"}, d.Variant.V) && s.Builtin.V != "" {
		c.errorf(s.Builtin, "%s: a driver of this variant comes from a package", key.V)
	}
}

// override checks that a BTF file can be had before anything starts. What is in it is for the driver to find out.
func (c *checker) override(file Str) {
	if file.V == "" {
		return
	}
	if info, err := os.Stat(file.V); err != nil || !info.Mode().IsRegular() {
		c.errorf(file, "btf_override: %s is no file that can be read from here", file.V)
	}
}
