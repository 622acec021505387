// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxSymtab bounds a symbol table, in bytes: Falco's module has 15 KB, and debug/elf needs five times as much to hold it.
const maxSymtab = 16 << 20

// ignored is what GNU as before 2.37 leaves in the symbol table of x86-64 objects without a use; the kernel skips it as
// well (kernel/module/main.c, ignore_undef_symbol).
const ignored = "_GLOBAL_OFFSET_TABLE_"

// undefined returns what the module needs of the kernel, sorted. Weak symbols are left out: they may stay unresolved.
func undefined(e *elf.File) ([]string, error) {
	table := e.SectionByType(elf.SHT_SYMTAB)
	if table == nil {
		return nil, nil
	}
	if table.Size > maxSymtab {
		return nil, fmt.Errorf("the symbol table has %d bytes", table.Size)
	}
	all, err := e.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return nil, fmt.Errorf("read the symbol table: %w", err)
	}
	var out []string
	for _, s := range all {
		if s.Section != elf.SHN_UNDEF || elf.ST_BIND(s.Info) != elf.STB_GLOBAL || s.Name == ignored {
			continue
		}
		if !isSymbol(s.Name) {
			return nil, fmt.Errorf("undefined symbol %q is no name", s.Name)
		}
		out = append(out, s.Name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// versions returns the CRCs that modpost copied into the module from the Module.symvers of the headers it was built
// against, by symbol. Since 6.14 they may be in two sections of their own (CONFIG_EXTENDED_MODVERSIONS), which
// the kernel then prefers. Nil when the module carries none.
func versions(e *elf.File) (map[string]uint32, error) {
	section := func(name string) ([]byte, error) {
		s := e.Section(name)
		if s == nil {
			return nil, nil
		}
		data, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		return data, nil
	}
	basic, err1 := section("__versions")
	crcs, err2 := section("__version_ext_crcs")
	names, err3 := section("__version_ext_names")
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	if len(crcs) > 0 {
		return parseExtended(crcs, names, e.ByteOrder)
	}
	word := 8
	if e.Class == elf.ELFCLASS32 {
		word = 4
	}
	return parseVersions(basic, word, e.ByteOrder)
}

// entrySize is sizeof(struct modversion_info): an unsigned long of word bytes, and the symbol's name padded with zeros.
const entrySize = 64

func parseVersions(data []byte, word int, order binary.ByteOrder) (map[string]uint32, error) {
	if len(data)%entrySize != 0 {
		return nil, fmt.Errorf("__versions has %d bytes, not a multiple of %d", len(data), entrySize)
	}
	var out map[string]uint32
	for entry := range slices.Chunk(data, entrySize) {
		crc := uint64(order.Uint32(entry))
		if word == 8 {
			crc = order.Uint64(entry)
		}
		if crc > 1<<32-1 {
			return nil, fmt.Errorf("__versions holds %#x, which is no CRC", crc)
		}
		name, _, ended := bytes.Cut(entry[word:], []byte{0})
		if !ended {
			return nil, fmt.Errorf("__versions holds a name without an end")
		}
		var err error
		if out, err = addVersion(out, string(name), uint32(crc)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parseExtended reads an array of CRCs and as many names, each with a zero behind it. modpost leaves one more zero at the end.
func parseExtended(crcs, names []byte, order binary.ByteOrder) (map[string]uint32, error) {
	if len(crcs)%4 != 0 {
		return nil, fmt.Errorf("__version_ext_crcs has %d bytes, not a multiple of 4", len(crcs))
	}
	var out map[string]uint32
	for crc := range slices.Chunk(crcs, 4) {
		name, rest, ended := bytes.Cut(names, []byte{0})
		if !ended {
			return nil, fmt.Errorf("__version_ext_names holds fewer names than there are CRCs")
		}
		names = rest
		var err error
		if out, err = addVersion(out, string(name), order.Uint32(crc)); err != nil {
			return nil, err
		}
	}
	if len(bytes.Trim(names, "\x00")) > 0 {
		return nil, fmt.Errorf("__version_ext_names holds more names than there are CRCs")
	}
	return out, nil
}

func addVersion(to map[string]uint32, name string, crc uint32) (map[string]uint32, error) {
	if !isSymbol(name) {
		return nil, fmt.Errorf("%q with the CRC %#08x is no name of a symbol", name, crc)
	}
	if to == nil {
		to = map[string]uint32{}
	}
	if other, twice := to[name]; twice && other != crc {
		return nil, fmt.Errorf("%s has two CRCs, %#08x and %#08x", name, other, crc)
	}
	to[name] = crc
	return to, nil
}

// isSymbol reports whether s is printable ASCII without a space: mangled names of Rust and the dots of clones are.
func isSymbol(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
