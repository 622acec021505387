// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Probe is what the file of a legacy eBPF probe tells. What the file does not tell is empty.
type Probe struct {
	File          string // base name
	SHA256        string // hexadecimal
	Size          int64  // bytes
	Release       string // uname -r of the kernel whose headers it was compiled with
	License       string
	Version       string // of the driver
	APIVersion    string
	SchemaVersion string
	Programs      []string // its sections that hold code, sorted
	Machine       elf.Machine
}

// ReadProbe reads the probe in file.
func ReadProbe(file string) (*Probe, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	return ParseProbe(filepath.Base(file), data)
}

// The sections that Falco's probe says in who it is (driver/bpf/probe.c); the versions are there since 2022.
const (
	releaseSection = "kernel_version"
	licenseSection = "license"
	versionSection = "probe_version"
	apiSection     = "api_version"
	schemaSection  = "schema_version"
)

// maxText bounds a section that holds a text, in bytes.
const maxText = 256

// ParseProbe reads a probe. A file that is none is TOOLCHAIN_BROKEN.
func ParseProbe(name string, data []byte) (*Probe, error) {
	refuse := func(format string, args ...any) error {
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "%s is not a legacy eBPF probe", name).With(cause.Text(fmt.Sprintf(format, args...))...)
	}
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, refuse("%s", err)
	}
	sum := sha256.Sum256(data)
	p := &Probe{File: name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(data)), Machine: e.Machine}
	for _, s := range e.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 {
			p.Programs = append(p.Programs, s.Name)
		}
	}
	slices.Sort(p.Programs)
	for section, to := range map[string]*string{releaseSection: &p.Release, licenseSection: &p.License, versionSection: &p.Version} {
		text, err := small(e, section, len(data))
		if err != nil {
			return nil, refuse("%s", err)
		}
		*to = string(bytes.TrimRight(text, "\x00"))
		if strings.ContainsFunc(*to, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, refuse("section %s holds %q", section, *to)
		}
	}
	for section, to := range map[string]*string{apiSection: &p.APIVersion, schemaSection: &p.SchemaVersion} {
		word, err := small(e, section, len(data))
		if err != nil {
			return nil, refuse("%s", err)
		}
		if len(word) == 0 {
			continue
		}
		if len(word) != 8 {
			return nil, refuse("section %s has %d bytes, not 8", section, len(word))
		}
		*to = version(e.ByteOrder, word)
	}
	if p.Release == "" {
		return nil, refuse("no section %s", releaseSection)
	}
	return p, nil
}

// small returns the content of a section that must be small; nil when there is none.
func small(e *elf.File, name string, file int) ([]byte, error) {
	s := e.Section(name)
	if s == nil {
		return nil, nil
	}
	if s.Type == elf.SHT_NOBITS || s.Size > maxText || s.Size > uint64(file) {
		return nil, fmt.Errorf("section %s has %d bytes", name, s.Size)
	}
	data, err := s.Data()
	if err != nil {
		return nil, fmt.Errorf("section %s: %w", name, err)
	}
	return data, nil
}

// version unpacks a version: 19 bits of major above 20 of minor and 24 of patch (driver/ppm_api_version.h).
func version(order binary.ByteOrder, word []byte) string {
	v := order.Uint64(word)
	return fmt.Sprintf("%d.%d.%d", v>>44&(1<<19-1), v>>24&(1<<20-1), v&(1<<24-1))
}

// Check reports why the probe is none for kernel k.
func (p *Probe) Check(k kernels.Kernel) error {
	if p.Machine != elf.EM_BPF {
		return cause.Failf(cause.VermagicMismatch, cause.FaultToolchain, "%s is for machine %s, not for eBPF", p.File, p.Machine).
			With(cause.Evidence{File: p.File, Text: "e_machine=" + p.Machine.String()})
	}
	if p.Release != k.Release {
		return cause.Failf(cause.VermagicMismatch, cause.FaultToolchain, "%s was compiled for kernel %q, not for %s", p.File, p.Release, k.Release).
			With(cause.Evidence{File: p.File, Text: "section " + releaseSection + ": " + p.Release}).Advise("build it against the headers of %s", k.Release)
	}
	if len(p.Programs) == 0 {
		return cause.Failf(cause.CompileError, cause.FaultDriver, "%s holds no program", p.File).
			With(cause.Evidence{File: p.File, Text: "no section with instructions"})
	}
	return nil
}
