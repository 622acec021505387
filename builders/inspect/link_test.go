// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// encode is the little-endian form of fixed-size values.
func encode(values ...any) []byte {
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			panic(err)
		}
	}
	return b.Bytes()
}

// entry is a struct modversion_info.
func entry(name string, crc uint64) []byte {
	var padded [56]byte
	copy(padded[:], name)
	return encode(crc, padded)
}

func basic(name string, crc uint64) []section {
	return []section{{name: "__versions", typ: elf.SHT_PROGBITS, data: entry(name, crc)}}
}

func extended(names string, crcs ...uint32) []section {
	return []section{
		{name: "__version_ext_crcs", typ: elf.SHT_PROGBITS, data: encode(crcs)},
		{name: "__version_ext_names", typ: elf.SHT_PROGBITS, data: []byte(names)},
	}
}

// symbols are undefined symbols; the section in front of them is .modinfo. A name after "weak " is weak, after "own " defined.
func symbols(names ...string) []section {
	table, text := encode(elf.Sym64{}), "\x00"
	for _, name := range names {
		s := elf.Sym64{Name: uint32(len(text)), Info: byte(elf.STB_GLOBAL) << 4}
		if after, ok := strings.CutPrefix(name, "weak "); ok {
			name, s.Info = after, byte(elf.STB_WEAK)<<4
		}
		if after, ok := strings.CutPrefix(name, "own "); ok {
			name, s.Shndx = after, 1
		}
		table = append(table, encode(s)...)
		text += name + "\x00"
	}
	return []section{{name: ".strtab", typ: elf.SHT_STRTAB, data: []byte(text)}, {name: ".symtab", typ: elf.SHT_SYMTAB, data: table, size: 24}}
}

// linked is a module with CRCs and symbols; symbols' string table is the section in front of the table.
func linked(crcs []section, syms ...section) []byte {
	if len(syms) == 2 {
		syms[1].link = uint32(2 + len(crcs))
	}
	return module(elf.ET_REL, elf.EM_X86_64, goodInfo, append(crcs, syms...)...)
}

const symvers = "0x0000beef\tfilp_open\tvmlinux\tEXPORT_SYMBOL\t\n0x12345678\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n" +
	"0x00c0ffee\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n0x00000001\tcxl\tvmlinux\tEXPORT_SYMBOL_GPL\tCXL\n"

const unversioned = "0x00000000\tfilp_open\tvmlinux\tEXPORT_SYMBOL\t\n"

func TestCheckSymbols(t *testing.T) {
	kernel := kernels.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64", Arch: "x86_64"}
	const modversions = "CONFIG_MODVERSIONS=y\n"
	both := append(basic("module_layout", 0xc0ffee)[0].data, entry("filp_open", 0xbeef)...)
	for _, c := range []struct {
		name, config, symvers string
		data                  []byte
		want                  cause.Cause
		fault                 cause.Fault
		says                  string // in the note, or in the evidence
	}{
		{"equal", modversions, symvers, linked([]section{{name: "__versions", typ: elf.SHT_PROGBITS, data: both}}, symbols("filp_open", "own here")...), "", "",
			"2 symbols, all CRCs those of the kernel"},
		{"equal, of 6.14", modversions, symvers, linked(extended("filp_open\x00kfree\x00\x00", 0xbeef, 0x12345678), symbols("filp_open", "kfree")...), "", "",
			"2 symbols, all CRCs those of the kernel"},
		{"another CRC", modversions, symvers, linked(basic("filp_open", 0xbeee), symbols("filp_open")...), cause.SymbolCRCMismatch, cause.FaultToolchain,
			"filp_open: CRC 0x0000beee in the module, 0x0000beef in Module.symvers"},
		{"another CRC, of 6.14", modversions, symvers, linked(extended("kfree\x00", 7), symbols("kfree")...), cause.SymbolCRCMismatch, cause.FaultToolchain,
			"kfree: CRC 0x00000007 in the module, 0x12345678 in Module.symvers"},
		{"another layout of modules", modversions, symvers, linked(basic("module_layout", 1)), cause.SymbolCRCMismatch, cause.FaultToolchain, "module_layout: CRC 0x00000001"},
		{"another CRC of a weak symbol", modversions, symvers, linked(basic("kfree", 1), symbols("weak kfree")...), cause.SymbolCRCMismatch, cause.FaultToolchain, "kfree: CRC"},
		{"not exported", modversions, symvers, linked(basic("filp_open", 0xbeef), symbols("filp_open", "kallsyms_lookup_name")...), cause.ModpostUnresolved, cause.FaultDriver,
			"kallsyms_lookup_name: not in Module.symvers"},
		{"exported by other headers", modversions, symvers, linked(basic("fd_is_open", 9), symbols("fd_is_open")...), cause.ModpostUnresolved, cause.FaultToolchain,
			"fd_is_open: CRC 0x00000009 in the module, not in Module.symvers"},
		{"weak, not exported", modversions, symvers, linked(basic("filp_open", 0xbeef), symbols("filp_open", "weak gone")...), "", "", "1 symbols, all CRCs"},
		{"what as leaves behind", modversions, symvers, linked(basic("filp_open", 0xbeef), symbols(ignored, "filp_open")...), "", "", "1 symbols, all CRCs"},
		{"one without a CRC", modversions, symvers, linked(basic("filp_open", 0xbeef), symbols("filp_open", "kfree")...), "", "",
			"2 symbols, 1 of them without a CRC, all others those of the kernel"},
		{"no CRCs at all", modversions, symvers, linked(nil, symbols("filp_open")...), cause.SymbolCRCMismatch, cause.FaultToolchain, "no section __versions"},
		{"the kernel has none", "", unversioned, linked(nil, symbols("filp_open")...), "", "", "1 symbols, all exported, by a kernel without CRCs (CONFIG_MODVERSIONS is not set)"},
		{"the kernel has none, not exported", "", unversioned, linked(nil, symbols("kfree")...), cause.ModpostUnresolved, cause.FaultDriver, "kfree: not in Module.symvers"},
		{"the headers have none", modversions, unversioned, linked(basic("filp_open", 1), symbols("filp_open")...), "", "", "CRCs not compared: the kernel's Module.symvers holds none"},
		{"nobody knows", modversions, "", linked(basic("filp_open", 1), symbols("filp_open", "gone")...), "", "", "symbols not compared: no Module.symvers of this kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse("scap.ko", c.data)
			if err != nil {
				t.Fatalf("%+v", err)
			}
			exported, err := ParseSymvers(strings.NewReader(c.symvers))
			if err != nil {
				t.Fatal(err)
			}
			note, err := m.CheckSymbols(kernel, config(t, c.config), exported)
			f := cause.Of(err)
			if f.Cause != c.want || f.Fault != c.fault || f.Check() != nil || err != nil && f.State != cause.Fail {
				t.Errorf("got %+v, want %q of %q", f, c.want, c.fault)
			}
			if said := note + fmt.Sprint(f.Evidence); !strings.Contains(said, c.says) {
				t.Errorf("got %s, want %s", said, c.says)
			}
		})
	}
}

func TestEvidenceIsBounded(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("gone_%02d", i))
	}
	m, err := Parse("scap.ko", linked(nil, symbols(names...)...))
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.CheckSymbols(kernels.Kernel{Release: "6.1"}, config(t, ""), Symvers{"kfree": 1})
	f := cause.Of(err)
	if len(f.Evidence) != maxEvidence+1 || !strings.Contains(err.Error(), "gone_00 and 99 more symbols") {
		t.Errorf("%d lines: %v", len(f.Evidence), err)
	}
}

func TestMalformedSymbols(t *testing.T) {
	long := strings.Repeat("x", 56)
	for name, data := range map[string][]byte{
		"half an entry":         linked([]section{{name: "__versions", typ: elf.SHT_PROGBITS, data: make([]byte, 63)}}),
		"a name without an end": linked(basic(long, 1)),
		"no name":               linked(basic("", 1)),
		"a line as a name":      linked(basic("a\nb", 1)),
		"more than 32 bits":     linked(basic("kfree", 1<<32)),
		"two CRCs":              linked([]section{{name: "__versions", typ: elf.SHT_PROGBITS, data: append(entry("kfree", 1), entry("kfree", 2)...)}}),
		"fewer names":           linked(extended("kfree\x00", 1, 2)),
		"more names":            linked(extended("kfree\x00kmalloc\x00", 1)),
		"no end of names":       linked(extended("kfree", 1)),
		"an escape as a symbol": linked(nil, symbols("\x1b[2J")...),
		"a symbol without name": linked(nil, symbols("")...),
		"a huge symbol table":   linked(nil, section{name: ".strtab", typ: elf.SHT_STRTAB, data: []byte{0}}, section{name: ".symtab", typ: elf.SHT_SYMTAB, data: make([]byte, maxSymtab+24), size: 24}),
	} {
		if m, err := Parse(name, data); cause.Of(err).Cause != cause.ToolchainBroken {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestParseSymvers(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"today's", symvers, "map[cxl:1 filp_open:48879 kfree:305419896 module_layout:12648430]"},
		{"of 4.18, without a name space", "0x00000010\tkfree\tvmlinux\tEXPORT_SYMBOL\n", "map[kfree:16]"},
		{"of 5.4, name space in front of the module", "0x00000010\tkfree\tNS\tvmlinux\tEXPORT_SYMBOL\n", "map[kfree:16]"},
		{"no end of line", "0x1\ta\tb", "map[a:1]"},
		{"twice: the kernel's own comes first", "0x1\ta\tvmlinux\n0x2\ta\tother\n", "map[a:1]"},
		{"empty", "", "map[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseSymvers(strings.NewReader(c.text))
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("got %v, %v, want %s", got, err, c.want)
			}
		})
	}
	for name, text := range map[string]string{
		"no CRC":          symvers + "kfree\tvmlinux\n",
		"no prefix":       "00000010\tkfree\tvmlinux\n",
		"64 bits":         "0x123456789\tkfree\tvmlinux\n",
		"no module":       "0x1\tkfree\n",
		"no symbol":       "0x1\t\tvmlinux\n",
		"a space":         "0x1\tk free\tvmlinux\n",
		"an endless line": "0x1\tkfree\t" + strings.Repeat("x", 1<<20),
	} {
		if got, err := ParseSymvers(strings.NewReader(text)); err == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestSymbolsOfHeaders(t *testing.T) {
	const dir = "/usr/src/linux-headers-6.1.0-56-cloud-amd64"
	headers := t.TempDir()
	f := &kernels.Files{Kernel: kernels.Kernel{Release: "6.1.0-56-cloud-amd64"}, Headers: headers, HeaderDir: dir}
	if err := os.MkdirAll(filepath.Join(headers, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*kernels.Files{"no headers": {}, "no Module.symvers": f} {
		if s, err := Symbols(f); err != nil || len(s) > 0 {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	file := filepath.Join(headers, dir, "Module.symvers")
	if err := os.WriteFile(file, []byte(symvers), 0o644); err != nil {
		t.Fatal(err)
	}
	if s, err := Symbols(f); err != nil || len(s) != 4 {
		t.Errorf("%v, %v", s, err)
	}

	outside := filepath.Join(t.TempDir(), "symvers")
	if err := os.Rename(file, outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, file); err != nil {
		t.Fatal(err)
	}
	if s, err := Symbols(f); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("a link out of the headers was followed: %v, %v", s, err)
	}
}

func FuzzParseSymvers(f *testing.F) {
	f.Add(symvers)
	f.Add("0x\t\t\n\n0xffffffff\ta\t")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSymvers(strings.NewReader(text))
		if (s == nil) == (err == nil) {
			t.Fatalf("%v, %v", s, err)
		}
		for symbol := range s {
			if !isSymbol(symbol) || !strings.Contains(text, symbol) {
				t.Errorf("%q came out", symbol)
			}
		}
	})
}

func FuzzVersions(f *testing.F) {
	f.Add(entry("kfree", 1), encode(uint32(1), uint32(2)), []byte("kfree\x00kmalloc\x00\x00"))
	f.Add(make([]byte, 64), []byte{}, []byte{})
	f.Add(entry(strings.Repeat("x", 60), 1<<33), encode(uint32(1)), []byte("\x00"))
	f.Fuzz(func(t *testing.T, data, crcs, names []byte) {
		one, err1 := parseVersions(data, 8, binary.LittleEndian)
		two, err2 := parseExtended(crcs, names, binary.LittleEndian)
		if err1 != nil && one != nil || err2 != nil && two != nil || len(one) > len(data)/64 || len(two) > len(crcs)/4 {
			t.Errorf("%v, %v; %v, %v", one, err1, two, err2)
		}
		for _, symbol := range slices.Concat(slices.Collect(maps.Keys(one)), slices.Collect(maps.Keys(two))) {
			if !isSymbol(symbol) {
				t.Errorf("%q came out", symbol)
			}
		}
	})
}
