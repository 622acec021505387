// SPDX-License-Identifier: Apache-2.0

// Package product knows what a build gives: a driver for one kernel, and all that is known of how it came to be.
//
// It is what kmod and ebpf return, what the grid shows and what a store keeps beside the file.
package product

import (
	"encoding/json"
	"fmt"
	"regexp"

	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// Variant says how a driver gets into the kernel, in the words of records and of matrix.yaml.
type Variant string

// The variants that are built of source.
const (
	KMod   Variant = "kmod"        // a kernel module, for one kernel
	EBPF   Variant = "ebpf"        // the legacy probe, for one kernel
	Modern Variant = "modern_ebpf" // the CO-RE probe, for all
)

// Suffix is the end of the file's name: .ko of a module, .o of a legacy probe, .bpf.o of a CO-RE probe.
func (v Variant) Suffix() string {
	switch v {
	case KMod:
		return ".ko"
	case Modern:
		return ".bpf.o"
	}
	return ".o"
}

// Artifact is a built driver. Its JSON is what the archive remembers, and what a store's sidecar holds; a field that
// the variant does not have is empty.
type Artifact struct {
	Path    string `json:"-"`
	LogPath string `json:"-"`
	Cached  bool   `json:"-"` // found, not made

	Variant Variant        `json:"variant"`
	File    string         `json:"file"` // base name of Path, as the build made it: scap.ko, probe.o
	SHA256  archive.Digest `json:"sha256"`
	Size    int64          `json:"size"` // bytes
	Kernel  kernels.Kernel `json:"kernel"`

	DriverVersion string         `json:"driver_version"` // PACKAGE_VERSION of dkms.conf: 0.23.2
	Source        archive.Digest `json:"source"`         // source.Source.Digest
	ModuleName    string         `json:"module_name"`    // under which the kernel knows it; of a probe the driver's name
	Device        string         `json:"device"`         // the prefix of the module's nodes in /dev, one for each CPU; empty of a probe

	Machine       string `json:"machine"`              // ELF machine: EM_X86_64, EM_AARCH64, EM_BPF
	Vermagic      string `json:"vermagic,omitempty"`   // of a module: 6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions
	KernelRelease string `json:"kernel_release"`       // that the file itself names: of vermagic, or of a probe's section kernel_version
	SrcVersion    string `json:"srcversion,omitempty"` // of a module
	License       string `json:"license,omitempty"`
	APIVersion    string `json:"api_version,omitempty"`
	SchemaVersion string `json:"schema_version,omitempty"`

	Compiler     Compiler         `json:"compiler"`
	Root         string           `json:"root"`                   // root.Root.Key: the digest of the build root
	Headers      []archive.Digest `json:"headers"`                // of the kernel's packages that have a published SHA-256, sorted
	HeaderSums   []string         `json:"header_sums,omitempty"`  // the published checksums of the others, sorted
	Promises     promise.Result   `json:"promises"`               // of the kernel's configuration, what the compiler was found to keep
	Broken       *Broken          `json:"broken,omitempty"`       // promises it broke, when it was forced to build all the same
	Substitution *Substitution    `json:"substitution,omitempty"` // when Compiler is not the kernel's own
	Flags        []string         `json:"flags,omitempty"`        // that the kernel's headers cannot be read without, and the driver's own Makefile does not give
	Has          map[string]bool  `json:"has,omitempty"`          // what the driver's configure step found of the kernel's API

	Log     archive.Digest `json:"log"`     // of the file at LogPath
	Seconds float64        `json:"seconds"` // of make, also when the result is Cached
}

// Compiler is the one that built the driver.
type Compiler struct {
	Command string `json:"command"` // in the root's /usr/bin: gcc-12, clang-14, aarch64-linux-gnu-gcc-12
	Family  string `json:"family"`  // gcc or clang
	Major   int    `json:"major"`
	Text    string `json:"text"` // the first line of its --version
}

// Substitution says that another compiler than the kernel's own built the driver, and why.
type Substitution struct {
	Wanted string `json:"wanted"` // gcc-11
	Used   string `json:"used"`   // gcc-12
	Why    string `json:"why"`
}

// Broken is what promise.Check said of a compiler that was used all the same.
type Broken struct {
	What     string           `json:"what"`
	Evidence []cause.Evidence `json:"evidence"`
}

var (
	fileName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	versions = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+~-]*$`)
)

// maxJSON bounds the JSON of an artifact; Falco's module with its promises has some 6 KB.
const maxJSON = 1 << 20

// Parse reads the JSON of an artifact, which may come from anywhere.
func Parse(data []byte) (*Artifact, error) {
	if len(data) > maxJSON {
		return nil, fmt.Errorf("artifact: %d bytes, more than %d", len(data), maxJSON)
	}
	var a Artifact
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, fmt.Errorf("artifact: %w", err)
	}
	if err := a.Check(); err != nil {
		return nil, err
	}
	return &a, nil
}

// Check reports what is missing of an artifact, or cannot be.
func (a *Artifact) Check() error {
	switch {
	case a.Variant != KMod && a.Variant != EBPF && a.Variant != Modern:
		return fmt.Errorf("artifact: unknown variant %q", a.Variant)
	case !fileName.MatchString(a.File):
		return fmt.Errorf("artifact: %q is not a file's name", a.File)
	case !versions.MatchString(a.DriverVersion):
		return fmt.Errorf("artifact: %q is not a driver's version", a.DriverVersion)
	case a.Size <= 0:
		return fmt.Errorf("artifact: %d bytes", a.Size)
	}
	for _, d := range []struct {
		what string
		is   archive.Digest
	}{{"sha256", a.SHA256}, {"source", a.Source}, {"log", a.Log}} {
		if !d.is.Valid() {
			return fmt.Errorf("artifact: %s %q is not a SHA-256", d.what, d.is)
		}
	}
	return nil
}
