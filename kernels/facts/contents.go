// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/mews-farm/mews/results/cause"
)

// Bounds of the parts of a kernel that are read whole.
const (
	maxSection  = 256 << 20 // .rodata, .BTF
	maxIKConfig = 16 << 20  // a configuration, decompressed
)

// section returns an ELF section, or nil where there is none.
func (v *Vmlinux) section(name string) ([]byte, error) {
	if v.elf == nil {
		return nil, nil
	}
	s := v.elf.Section(name)
	if s == nil || s.Type == elf.SHT_NOBITS {
		return nil, nil
	}
	// Open and not Data: a section can be compressed, and a bomb.
	var b bytes.Buffer
	n, err := b.ReadFrom(io.LimitReader(s.Open(), maxSection+1))
	switch {
	case n > maxSection:
		return nil, corrupt(fmt.Errorf("section %s: %w", name, ErrLimit))
	case errors.Is(err, io.ErrUnexpectedEOF), err == nil && uint64(n) < s.Size:
		return nil, corrupt(fmt.Errorf("section %s: %w", name, ErrTruncated))
	case err != nil:
		return nil, corrupt(fmt.Errorf("section %s: %w", name, err))
	}
	return b.Bytes(), nil
}

func corrupt(err error) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read vmlinux: %w", err)
}

// constants returns what holds a kernel's strings: .rodata, or all of a raw Image.
func (v *Vmlinux) constants() ([]byte, error) {
	if v.elf == nil {
		return v.raw, nil
	}
	return v.section(".rodata")
}

// BTF returns the kernel's type information as it lies there, for cilium/ebpf's btf.LoadSpecFromReader;
// nil where it has none.
func (v *Vmlinux) BTF() ([]byte, error) {
	if v.elf != nil {
		return v.section(".BTF")
	}
	// A raw Image has no sections. The header of BTF tells how long it is: struct btf_header of linux/btf.h, which
	// has 24 bytes, and 32 where the layout of kinds follows the types.
	var found []byte
	for off := range occurrences(v.raw, "\x9f\xeb\x01\x00") {
		if b := btfAt(v.raw[off:]); len(b) > len(found) {
			found = b
		}
	}
	return found, nil
}

// btfAt returns the BTF that b starts with, or nil.
func btfAt(b []byte) []byte {
	const minHeader, maxHeader = 24, 64
	if len(b) < minHeader {
		return nil
	}
	word := func(i int) int64 { return int64(binary.LittleEndian.Uint32(b[4*i:])) }
	header, types, typesLen, strings, stringsLen := word(1), word(2), word(3), word(4), word(5)
	if header < minHeader || header > maxHeader || types != 0 || strings < typesLen || stringsLen == 0 {
		return nil
	}
	end := header + strings + stringsLen
	if end > int64(len(b)) || b[header+strings] != 0 || b[end-1] != 0 {
		return nil
	}
	return b[:end]
}

// BuildID returns the linker's GNU build-id in hexadecimal, or "".
func (v *Vmlinux) BuildID() (string, error) {
	b := v.raw
	if v.elf != nil {
		var err error
		if b, err = v.section(".notes"); err != nil {
			return "", err
		}
	}
	// A raw Image has those of its vDSOs too; they lie in .rodata, which the kernel's own notes follow (RO_DATA in
	// vmlinux.lds.h): the last counts.
	const desc = 20
	id := ""
	for off := range occurrences(b, gnuBuildID) {
		if d := b[off+len(gnuBuildID):]; len(d) >= desc {
			id = hex.EncodeToString(d[:desc])
		}
	}
	return id, nil
}

// gnuBuildID starts a note with a SHA-1: the lengths of name and content, NT_GNU_BUILD_ID, and the name.
const gnuBuildID = "\x04\x00\x00\x00\x14\x00\x00\x00\x03\x00\x00\x00GNU\x00"

// PVH reports whether a hypervisor can enter the kernel directly: the note XEN_ELFNOTE_PHYS32_ENTRY of CONFIG_PVH.
func (v *Vmlinux) PVH() (bool, error) {
	notes, err := v.section(".notes")
	for _, size := range []string{"\x04", "\x08"} { // 32 and 64 bits wide
		for range occurrences(notes, "\x04\x00\x00\x00"+size+"\x00\x00\x00\x12\x00\x00\x00Xen\x00") {
			return true, nil
		}
	}
	return false, err
}

// IKConfig returns the configuration that CONFIG_IKCONFIG keeps in the kernel, as text; nil where it has none.
func (v *Vmlinux) IKConfig() ([]byte, error) {
	b, err := v.constants()
	if err != nil {
		return nil, err
	}
	// kernel/configs.c: "IKCFG_ST", a gzip file, "IKCFG_ED". The markers alone are in scripts too, which COS keeps in .rodata.
	for off := range occurrences(b, "IKCFG_ST\x1f\x8b\x08") {
		packed := b[off+len("IKCFG_ST"):]
		end := bytes.Index(packed, []byte("IKCFG_ED"))
		if end < 0 {
			return nil, corrupt(fmt.Errorf("its IKCONFIG %w", ErrTruncated))
		}
		z, err := gzip.NewReader(bytes.NewReader(packed[:end]))
		if err != nil {
			return nil, corrupt(fmt.Errorf("its IKCONFIG: %w", err))
		}
		text, err := gather(z, packed[:end], maxIKConfig)
		if err != nil {
			return nil, corrupt(fmt.Errorf("its IKCONFIG %w", err))
		}
		return text, nil
	}
	return nil, nil
}

// comments returns the strings of .comment, which the compiler leaves in every object; a bzImage's vmlinux has none.
func (v *Vmlinux) comments() ([]string, error) {
	b, err := v.section(".comment")
	return commentStrings(b), err
}

func commentStrings(section []byte) []string {
	var out []string
	for s := range bytes.SplitSeq(section, []byte{0}) {
		if len(s) > 0 {
			out = append(out, string(s))
		}
	}
	return out
}

// occurrences yields the offsets of pattern in b.
func occurrences(b []byte, pattern string) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for at := 0; ; {
			i := bytes.Index(b[at:], []byte(pattern))
			if i < 0 || !yield(at+i) {
				return
			}
			at += i + 1
		}
	}
}
