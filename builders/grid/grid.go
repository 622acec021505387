// SPDX-License-Identifier: Apache-2.0

// Package grid knows how to take a grid of kernels x drivers (x compilers) to artifacts: which cells there are, which of
// them cannot exist, what was built of the same input before, and in which order the rest is built and published.
package grid

import (
	"context"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// Kernel is one that drivers are built for.
type Kernel struct {
	*kernels.Resolved                  // nil where Err tells why
	Name              string           // as people call it: [distro:]release, or what was asked for
	Policies          []kernels.Policy // what it refuses, by variant
	Err               error            // why its packages cannot be had; carries a finding
}

// Driver is a source that is built in one variant.
type Driver struct {
	Name     string
	Variant  product.Variant
	Version  string            // of the source: 0.23.2, 9.1.0+driver; "" where Err tells why
	Source   archive.Digest    // of the source; "" where Err tells why
	Variants []product.Variant // that the source holds; nil where that is not known before it is built
	Err      error             // why the source cannot be had; carries a finding
}

// Cell is one kernel x driver (x compiler) of a grid.
type Cell struct {
	ID       string
	Kernel   *Kernel
	Driver   *Driver
	Compiler string // gcc-12, clang-14; "" is the one that the kernel's configuration asks for
}

// AnyBTF stands for every kernel of an architecture: what is built once for all of them, and loads where there is BTF.
func AnyBTF(arch string) *Kernel {
	return &Kernel{Name: "any kernel with BTF", Resolved: &kernels.Resolved{Kernel: kernels.Kernel{Arch: arch}}}
}

// any reports whether k is AnyBTF: an architecture, and nothing else.
func (k *Kernel) any() bool {
	return k.Resolved != nil && k.Kernel == kernels.Kernel{Arch: k.Kernel.Arch}
}

// Cells are all cells of a grid, kernel by kernel. With no compilers each cell has the kernel's own. A CO-RE probe is built for
// AnyBTF alone, and nothing else is.
func Cells(ks []*Kernel, ds []*Driver, compilers []string) []*Cell {
	if len(compilers) == 0 {
		compilers = []string{""}
	}
	var out []*Cell
	for _, k := range ks {
		for _, d := range ds {
			if k.any() != (d.Variant == product.Modern) {
				continue
			}
			for _, c := range compilers {
				if d.Variant != product.KMod && strings.HasPrefix(c, "gcc") {
					continue // no gcc that Debian has makes eBPF of the kernel's headers
				}
				cell := &Cell{Kernel: k, Driver: d, Compiler: c}
				cell.ID = cell.id()
				out = append(out, cell)
			}
		}
	}
	return out
}

// unsafe is what a selector may hold and the name of a file must not.
var unsafe = regexp.MustCompile(`[^A-Za-z0-9._+~-]+|\.\.+`)

func (c *Cell) id() string {
	// What could not be resolved has no release to be called by.
	id := unsafe.ReplaceAllString(c.Kernel.Name, "_") + "--" + c.Driver.Name
	if k := c.Kernel.Resolved; k != nil && !c.Kernel.any() {
		id = results.CellID(results.Kernel(k.Kernel), c.Driver.Name)
		if k.Kernel.BuildID != "" && k.Kernel.Arch != "x86_64" {
			id += "--" + k.Kernel.Arch // a build of COS is there for two
		}
	}
	if c.Compiler != "" {
		id += "--" + c.Compiler
	}
	return id
}

// Inputs are what decides what a cell's build makes, known before anything is unpacked or built.
type Inputs struct {
	Recipe   string           `json:"recipe"` // version of how things are built
	Kernel   kernels.Kernel   `json:"kernel"`
	Variant  product.Variant  `json:"variant"`
	Source   archive.Digest   `json:"source"`
	Headers  []archive.Digest `json:"headers"`          // sorted
	Sums     []string         `json:"sums,omitempty"`   // of headers without a digest, sorted
	Root     string           `json:"root"`             // identity of the build root
	Compiler string           `json:"compiler"`         // command in the root
	Forced   bool             `json:"forced,omitempty"` // broken promises do not keep it from being tried
	Wanted   string           `json:"wanted,omitempty"` // the kernel's own compiler, where Compiler is another
}

// Builder builds cells. It is safe for concurrent use.
type Builder interface {
	// Inputs tells what decides what Build will make, without building. An error carries a finding: HEADERS_MISSING of a
	// kernel whose headers are nowhere, TOOLCHAIN_MISMATCH where no compiler will do.
	Inputs(ctx context.Context, c *Cell) (*Inputs, error)
	// Build makes the artifact and build.log in dir, with make at so many jobs.
	Build(ctx context.Context, c *Cell, dir string, jobs int) (*product.Artifact, error)
}

// Store is where artifacts are published.
type Store interface {
	// Find returns the cell's artifact as the store holds it, if it was built of inputs with that key; else nil, nil.
	Find(ctx context.Context, c *Cell, key string) (*product.Artifact, error)
	// Publish brings the cells of one kernel and driver version into the store, all of them or none as far as a reader
	// can tell. What is there already, with the same content, stays; an artifact of origin Stored has no file.
	Publish(ctx context.Context, rs []*Result) error
}

// Watcher is told how a run goes on. Its methods are called by many goroutines.
type Watcher interface {
	Start(cell, stage string)
	End(cell, stage string, state cause.State, detail string)
	Done(cell string, state cause.State)
}

// The stages of a cell, in order.
const (
	StageResolve = "resolve"
	StageBuild   = "build"
	StagePublish = "publish"
)

// Stages are the stages of a cell.
func Stages(published bool) []string {
	if published {
		return []string{StageResolve, StageBuild, StagePublish}
	}
	return []string{StageResolve, StageBuild}
}
