// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

const goodInfo = "name=scap\x00vermagic=6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions \x00depends=a,b\x00api_version=8.0.4\x00schema_version=4.1.0\x00srcversion=ABC\x00"

// section is one of an ELF object.
type section struct {
	name string
	typ  elf.SectionType
	data []byte
	link uint32 // index of another section: 1 is .modinfo
	size uint64 // of its entries
}

// module makes an ELF object with a .modinfo and more sections behind it.
func module(typ elf.Type, machine elf.Machine, info string, more ...section) []byte {
	all := append([]section{{name: ".modinfo", typ: elf.SHT_PROGBITS, data: []byte(info)}}, more...)
	all = append(all, section{name: ".shstrtab", typ: elf.SHT_STRTAB})
	names := "\x00"
	headers := []elf.Section64{{}}
	var body bytes.Buffer
	for i, s := range all {
		headers = append(headers, elf.Section64{Name: uint32(len(names)), Type: uint32(s.typ), Link: s.link, Entsize: s.size, Addralign: 1})
		names += s.name + "\x00"
		if i == len(all)-1 {
			s.data = []byte(names)
		}
		headers[i+1].Off, headers[i+1].Size = uint64(64+body.Len()), uint64(len(s.data))
		body.Write(s.data)
	}
	head := elf.Header64{
		Ident: [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(typ), Machine: uint16(machine), Version: 1, Ehsize: 64, Shentsize: 64, Shnum: uint16(len(headers)), Shstrndx: uint16(len(all)),
		Shoff: uint64(64 + body.Len()),
	}
	var out bytes.Buffer
	for _, part := range []any{head, body.Bytes(), headers} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			panic(err)
		}
	}
	return out.Bytes()
}

func config(t *testing.T, text string) *kernels.Config {
	t.Helper()
	c, err := kernels.ParseConfig(strings.NewReader("CONFIG_MODULES=y\n" + text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCheck(t *testing.T) {
	kernel := kernels.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64", Arch: "x86_64"}
	good := module(elf.ET_REL, elf.EM_X86_64, goodInfo)
	other := strings.Replace(goodInfo, "6.1.0-56", "6.1.0-55", 1)
	for _, c := range []struct {
		name, config string
		data         []byte
		want         cause.Cause
	}{
		{"good", "", good, ""},
		{"another release", "", module(elf.ET_REL, elf.EM_X86_64, other), cause.VermagicMismatch},
		{"a release that begins the same", "", module(elf.ET_REL, elf.EM_X86_64, strings.Replace(goodInfo, "amd64 ", "amd64x ", 1)), cause.VermagicMismatch},
		{"another machine", "", module(elf.ET_REL, elf.EM_AARCH64, goodInfo), cause.VermagicMismatch},
		{"unsigned, not forced", "CONFIG_MODULE_SIG=y\n", good, ""},
		{"unsigned, forced", "CONFIG_MODULE_SIG_FORCE=y\n", good, cause.ModuleSignature},
		{"signed, forced", "CONFIG_MODULE_SIG_FORCE=y\n", append(bytes.Clone(good), signature...), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := Parse("scap.ko", c.data)
			if err != nil {
				t.Fatal(err)
			}
			f := cause.Of(m.Check(kernel, config(t, c.config)))
			if f.Cause != c.want || f.Check() != nil {
				t.Errorf("got %+v, want %q", f, c.want)
			}
		})
	}
}

func TestRead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scap.ko")
	if err := os.WriteFile(file, module(elf.ET_REL, elf.EM_X86_64, goodInfo), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "scap" || m.APIVersion != "8.0.4" || m.SchemaVersion != "4.1.0" || m.SrcVersion != "ABC" || strings.Join(m.Depends, "+") != "a+b" || m.Signed || len(m.SHA256) != 64 {
		t.Errorf("%+v", m)
	}
}

func TestNotAModule(t *testing.T) {
	for name, data := range map[string][]byte{
		"empty":       nil,
		"text":        []byte("make: nothing to be done"),
		"executable":  module(elf.ET_EXEC, elf.EM_X86_64, goodInfo),
		"truncated":   module(elf.ET_REL, elf.EM_X86_64, goodInfo)[:100],
		"no vermagic": module(elf.ET_REL, elf.EM_X86_64, "name=scap\x00"),
	} {
		if m, err := Parse(name, data); cause.Of(err).Cause != cause.ToolchainBroken {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	good := module(elf.ET_REL, elf.EM_X86_64, goodInfo)
	f.Add(good)
	f.Add(good[:len(good)-64])
	f.Add(linked(basic("filp_open", 1), symbols("filp_open", "kfree")...))
	f.Add(linked(extended("filp_open\x00\x00", 1), symbols("filp_open")...))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Parse("x.ko", data); (m == nil) == (err == nil) {
			t.Errorf("%v, %v", m, err)
		}
	})
}
