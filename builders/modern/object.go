// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// describe adds what the object tells, and refuses one that no consumer could load, or that the skeleton does not hold.
func (b *build) describe(a *product.Artifact) error {
	data, err := os.ReadFile(a.Path)
	if err != nil {
		return kbuild.WriteErr(err)
	}
	skeleton, err := os.ReadFile(filepath.Join(b.Out, SkeletonName))
	if err != nil {
		return kbuild.WriteErr(err)
	}
	refuse := func(file string, err error) error {
		return cause.Errorf(cause.ToolchainBroken, cause.FaultToolchain, "the build ended well, and %s is no CO-RE probe", file).With(cause.Evidence{File: file, Text: err.Error()})
	}
	o, err := parseObject(data)
	if err != nil {
		return refuse(ObjectName, err)
	}
	held, err := embedded(skeleton)
	if err != nil {
		return refuse(SkeletonName, err)
	}
	if !bytes.Equal(held, data) {
		return refuse(SkeletonName, fmt.Errorf("it holds %d bytes that are not those of %s", len(held), ObjectName))
	}
	sum := sha256.Sum256(data)
	a.SHA256, a.Size = archive.Digest(hex.EncodeToString(sum[:])), int64(len(data))
	a.Machine, a.License, a.APIVersion, a.SchemaVersion = elf.EM_BPF.String(), o.License, o.API, o.Schema
	return nil
}

// object is what the file of a CO-RE probe tells. What it does not tell is empty.
type object struct {
	License     string
	API, Schema string
	Programs    int // sections that hold code
}

// maxText bounds the license, in bytes.
const maxText = 256

// parseObject reads a probe. One without code, types, or the relocations that make it fit other kernels is an error.
func parseObject(data []byte) (*object, error) {
	e, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	if e.Machine != elf.EM_BPF {
		return nil, fmt.Errorf("it is for machine %s, not for eBPF", e.Machine)
	}
	o := &object{}
	for _, s := range e.Sections {
		if s.Type == elf.SHT_PROGBITS && s.Flags&elf.SHF_EXECINSTR != 0 && s.Size > 0 {
			o.Programs++
		}
	}
	if o.Programs == 0 {
		return nil, errors.New("no section with instructions")
	}
	for _, name := range []string{".BTF", ".BTF.ext"} {
		if s := e.Section(name); s == nil || s.Size == 0 {
			return nil, fmt.Errorf("no section %s", name)
		}
	}
	if s := e.Section("license"); s != nil && s.Type == elf.SHT_PROGBITS && s.Size <= maxText {
		text, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("section license: %w", err)
		}
		if o.License = string(bytes.TrimRight(text, "\x00")); strings.ContainsFunc(o.License, func(r rune) bool { return r < ' ' || r > '~' }) {
			return nil, fmt.Errorf("section license holds %q", o.License)
		}
	}
	symbols, err := e.Symbols()
	if err != nil {
		return nil, fmt.Errorf("symbols: %w", err)
	}
	// The constants that libpman compares with its own (driver/modern_bpf/maps/maps.h).
	for name, to := range map[string]*string{"probe_api_ver": &o.API, "probe_schema_var": &o.Schema} {
		if *to, err = constant(e, symbols, name, len(data)); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// constant reads a version that is a constant of the program; "" when there is no symbol of that name.
func constant(e *elf.File, symbols []elf.Symbol, name string, file int) (string, error) {
	for _, s := range symbols {
		if s.Name != name || int(s.Section) >= len(e.Sections) || s.Section == elf.SHN_UNDEF {
			continue
		}
		in := e.Sections[s.Section]
		if in.Type != elf.SHT_PROGBITS || in.Size > uint64(file) || s.Size != 8 || s.Value > in.Size || in.Size-s.Value < 8 {
			return "", fmt.Errorf("symbol %s lies outside of its section", name)
		}
		data, err := in.Data()
		if err != nil {
			return "", fmt.Errorf("symbol %s: %w", name, err)
		}
		// 19 bits of major above 20 of minor and 24 of patch (driver/ppm_api_version.h).
		v := e.ByteOrder.Uint64(data[s.Value:])
		return fmt.Sprintf("%d.%d.%d", v>>44&(1<<19-1), v>>24&(1<<20-1), v&(1<<24-1)), nil
	}
	return "", nil
}
