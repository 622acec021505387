// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"

	"github.com/mews-farm/mews/internal/strictyaml"
)

// recipe says how one build is broken. What it must be classified as stands beside it, written by hand before the
// classifier saw the log.
type recipe struct {
	Name string `yaml:"name,required"`
	Why  string `yaml:"why"` // what the name does not tell
	Want string `yaml:"want,required"`
	// Evidence are pieces of the lines that must be given as the proof.
	Evidence []string `yaml:"evidence"`
	// Published names the source of a log that is not made here: its lines are quoted from there.
	Published string `yaml:"published"`

	Kernel string   `yaml:"kernel"` // a line of lines
	Arch   string   `yaml:"arch"`   // of the headers; default amd64
	Host   bool     `yaml:"host"`   // the headers' host programs are those of amd64, as for a cross build
	Root   string   `yaml:"root"`   // compiler@suite; default the line's
	Also   []string `yaml:"also"`   // packages of the root besides those of root.Tools
	Driver string   `yaml:"driver"` // a version of drivers, or "own": only the files of put
	Probe  bool     `yaml:"probe"`  // build the legacy eBPF probe of the driver, not the module

	Lack   []string               `yaml:"lack"`   // patterns of files that the build does not see
	Put    strictyaml.Map[string] `yaml:"put"`    // files that it does: below /build relative to the driver's source
	Change []change               `yaml:"change"` // of files of the driver

	Make    []string `yaml:"make"`    // more arguments
	Argv    []string `yaml:"argv"`    // instead of make's
	Memory  int      `yaml:"memory"`  // MiB of address space
	Cgroup  int      `yaml:"cgroup"`  // MiB of a memory cgroup
	Disk    int      `yaml:"disk"`    // KiB of a tmpfs that is the scratch directory
	Seconds int      `yaml:"seconds"` // that the build may take
	NoProc  bool     `yaml:"no_proc"` // /proc is not mounted
}

// change replaces text, or appends it when old is empty.
type change struct {
	File string `yaml:"file,required"`
	Old  string `yaml:"old"`
	New  string `yaml:"new"`
}

// line is where the newest kernel of a line, its headers and its compiler come from.
type line struct {
	suites   []string
	pattern  string
	compiler string // compiler@suite
}

var lines = map[string]line{
	"5.10": {[]string{"bullseye-security", "bullseye"}, "5.10.*-cloud-", "gcc-10@bullseye"},
	"6.1":  {[]string{"bookworm-security", "bookworm"}, "6.1.*-cloud-", "gcc-12@bookworm"},
	"6.12": {[]string{"trixie-security", "trixie"}, "6.12.*-cloud-", "gcc-14@trixie"},
	"7":    {[]string{"trixie-backports", "trixie"}, "7.*-cloud-", "gcc-14@trixie"},
}

// drivers are the suites whose falcosecurity-scap-dkms is of that version.
var drivers = map[string]string{"0.1.1dev": "bookworm", "0.20.0": "trixie", "0.23.2": "sid"}

// readRecipes reads and checks recipes.yaml.
func readRecipes(file string) ([]recipe, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var doc struct {
		Recipes []recipe `yaml:"recipes,required"`
	}
	if err := strictyaml.Decode(file, data, &doc); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i := range doc.Recipes {
		r := &doc.Recipes[i]
		if seen[r.Name] || strings.ContainsAny(r.Name, "/ ") {
			return nil, fmt.Errorf("%s: %q is there twice, or is no file name", file, r.Name)
		}
		seen[r.Name] = true
		if r.Published != "" {
			continue
		}
		l, ok := lines[r.Kernel]
		if !ok {
			return nil, fmt.Errorf("%s: %s: there is no kernel line %q", file, r.Name, r.Kernel)
		}
		r.Root = cmp.Or(r.Root, l.compiler)
		r.Arch = cmp.Or(r.Arch, "amd64")
		r.Driver = cmp.Or(r.Driver, "0.23.2")
		if drivers[r.Driver] == "" && r.Driver != "own" {
			return nil, fmt.Errorf("%s: %s: there is no driver %q", file, r.Name, r.Driver)
		}
	}
	return doc.Recipes, nil
}
