// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

func TestEmbedded(t *testing.T) {
	const head = "static inline const void *bpf_probe__elf_bytes(size_t *sz)\n{\n\tstatic const char data[] __attribute__((__aligned__(8))) = \"\\\n"
	for _, c := range []struct{ name, text, want string }{
		{"as bpftool writes it", head + "\\x7f\\x45\\x4c\\x46\\x02\\\n\\0\\0\\xff\";\n", "\x7fELF\x02\x00\x00\xff"},
		{"nothing", "struct bpf_probe {};\n", "it holds no object"},
		{"no end", head + "\\x7f\\x45\\x4c\\x46\\x02\\\n", "its object has no end"},
		{"cut in a byte", head + "\\x7f\\x45\\x4c\\x46\\x0", `byte 4 of its object is written as "\\x0"`},
		{"no hexadecimal", head + "\\x7f\\x45\\x4c\\x46\\xzz\"", "byte 4 of its object: encoding/hex: invalid byte: U+007A 'z'"},
		{"another escape", head + "\\x7f\\x45\\x4c\\x46\\n\"", `byte 4 of its object is written as "\\n\""`},
	} {
		got, err := embedded([]byte(c.text))
		text := string(got)
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%s: got %q, want %q", c.name, text, c.want)
		}
	}
}

// section is one of an object that a test makes.
type section struct {
	name  string
	typ   elf.SectionType
	flags elf.SectionFlag
	data  []byte
}

// word is a version as the probe packs it.
func word(major, minor, patch uint64) []byte {
	return binary.LittleEndian.AppendUint64(nil, major<<44|minor<<24|patch)
}

// objectOf makes an ELF object of machine m; symbols name eight bytes each, one behind the other, of section 1.
func objectOf(t testing.TB, m elf.Machine, sections []section, symbols ...string) []byte {
	t.Helper()
	sections = append([]section{{}}, sections...)
	strtab, symtab := []byte{0}, make([]byte, elf.Sym64Size)
	for i, s := range symbols {
		symtab = binary.LittleEndian.AppendUint32(symtab, uint32(len(strtab)))
		symtab = append(symtab, 0x11, 0, 1, 0)
		symtab = binary.LittleEndian.AppendUint64(symtab, uint64(8*i))
		symtab = binary.LittleEndian.AppendUint64(symtab, 8)
		strtab = append(append(strtab, s...), 0)
	}
	sections = append(sections, section{name: ".symtab", typ: elf.SHT_SYMTAB, data: symtab}, section{name: ".strtab", typ: elf.SHT_STRTAB, data: strtab})
	names := []byte{0}
	body := &bytes.Buffer{}
	var heads []elf.Section64
	for _, s := range append(sections, section{name: ".shstrtab", typ: elf.SHT_STRTAB}) {
		h := elf.Section64{Type: uint32(s.typ), Flags: uint64(s.flags), Off: uint64(64 + body.Len()), Size: uint64(len(s.data))}
		if s.typ != elf.SHT_NULL {
			h.Name = uint32(len(names))
			names = append(append(names, s.name...), 0)
		}
		if s.typ == elf.SHT_SYMTAB {
			h.Link, h.Entsize = uint32(len(sections)-1), elf.Sym64Size
		}
		if s.name == ".shstrtab" {
			h.Size = uint64(len(names))
			s.data = names
		}
		body.Write(s.data)
		heads = append(heads, h)
	}
	var out bytes.Buffer
	head := elf.Header64{Type: uint16(elf.ET_REL), Machine: uint16(m), Version: 1, Shoff: uint64(64 + body.Len()), Ehsize: 64, Shentsize: 64,
		Shnum: uint16(len(heads)), Shstrndx: uint16(len(heads) - 1)}
	copy(head.Ident[:], "\x7fELF\x02\x01\x01")
	for _, part := range []any{head, body.Bytes(), heads} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func good() []section {
	return []section{
		{".rodata", elf.SHT_PROGBITS, elf.SHF_ALLOC, append(word(8, 0, 3), word(3, 3, 1)...)},
		{"tp_btf/sys_enter", elf.SHT_PROGBITS, elf.SHF_ALLOC | elf.SHF_EXECINSTR, make([]byte, 16)},
		{"license", elf.SHT_PROGBITS, elf.SHF_ALLOC, []byte("Dual MIT/GPL\x00")},
		{".BTF", elf.SHT_PROGBITS, 0, []byte{1}},
		{".BTF.ext", elf.SHT_PROGBITS, 0, []byte{1}},
	}
}

func TestParseObject(t *testing.T) {
	o, err := parseObject(objectOf(t, elf.EM_BPF, good(), "probe_api_ver", "probe_schema_var"))
	if err != nil || *o != (object{License: "Dual MIT/GPL", API: "8.0.3", Schema: "3.3.1", Programs: 1}) {
		t.Errorf("%+v, %v", o, err)
	}
	without := func(name string) []section {
		var out []section
		for _, s := range good() {
			if s.name != name {
				out = append(out, s)
			}
		}
		return out
	}
	license := good()
	license[2].data = []byte("GPL\x1b[31m")
	for _, c := range []struct {
		want string
		data []byte
	}{
		{"bad magic number", []byte("no ELF at all, but some sixty-four bytes long, so that it is read as")},
		{"not for eBPF", objectOf(t, elf.EM_X86_64, good())},
		{"no section with instructions", objectOf(t, elf.EM_BPF, without("tp_btf/sys_enter"))},
		{"no section .BTF.ext", objectOf(t, elf.EM_BPF, without(".BTF.ext"))},
		{"no section .BTF", objectOf(t, elf.EM_BPF, without(".BTF"))},
		{"section license holds", objectOf(t, elf.EM_BPF, license)},
		{"outside of its section", objectOf(t, elf.EM_BPF, good(), "a", "b", "probe_api_ver")},
	} {
		if o, err := parseObject(c.data); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %+v, %v", c.want, o, err)
		}
	}
}

func TestClassify(t *testing.T) {
	const old = "CMake Warning at x:1 (message):\n  [MODERN BPF] clang '11.0.1' is too old for compiling the modern BPF probe, you need\n  at least '12.0.0' version\n"
	const wrong = "/build/libs/driver/modern_bpf/a.bpf.c:7:3: error: no member named 'x' in 'struct y'\n"
	const link = "libbpf: cannot resolve libc version\nlibbpf: global 'LICENSE': weak binding\nError: failed to link '/build/out/a.bpf.o': Invalid argument (22)\nlibbpf: later\n"
	for _, c := range []struct {
		name, configured, said string
		res                    sandbox.Result
		cause                  cause.Cause
		fault                  cause.Fault
		evidence               string
	}{
		{"wrong code", "-- x\n", wrong, sandbox.Result{ExitCode: 2}, cause.CompileError, cause.FaultDriver, "driver/modern_bpf/a.bpf.c:7: error: no member"},
		{"an old clang", old, wrong, sandbox.Result{ExitCode: 2}, cause.ToolchainMismatch, cause.FaultToolchain, "clang '11.0.1' is too old"},
		{"an old bpftool", "  [MODERN BPF] bpftool does not support gen command\n", link, sandbox.Result{ExitCode: 2}, cause.ToolchainMismatch, cause.FaultToolchain, "does not support gen"},
		{"no link", "", link, sandbox.Result{ExitCode: 2}, cause.ToolchainBroken, cause.FaultToolchain, "failed to link '/build/out/a.bpf.o'"},
		{"an option that clang lacks", "", "clang: error: unknown argument: '-fnew'\n", sandbox.Result{ExitCode: 2}, cause.CompileError, cause.FaultDriver, "-fnew"},
		{"no room, whatever else", old, wrong + "x: No space left on device\n", sandbox.Result{ExitCode: 2}, cause.DiskFull, cause.FaultInfra, "No space"},
		{"killed", "", "x\n", sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL}, cause.OutOfMemory, cause.FaultInfra, "x"},
		{"a child was", "", "x\n", sandbox.Result{ExitCode: 2, OutOfMemory: true}, cause.OutOfMemory, cause.FaultInfra, "x"},
		{"stopped", old, "x\n", sandbox.Result{ExitCode: -1, Signal: syscall.SIGKILL, TimedOut: true, Elapsed: time.Minute}, cause.BuildTimeout, cause.FaultInfra, "1m0s"},
		{"nobody knows", "", "libbpf: something\nmake: *** odd\n", sandbox.Result{ExitCode: 2}, cause.Internal, cause.FaultHarness, "odd"},
	} {
		b := &build{Request: &Request{Compiler: product.Compiler{Command: "clang-11", Family: "clang", Major: 11}}}
		f := cause.Of(b.classify(&c.res, c.configured, c.said))
		if f.Cause != c.cause || f.Fault != c.fault || !strings.Contains(fmt.Sprint(f.Evidence), c.evidence) {
			t.Errorf("%s: %+v", c.name, f)
		}
		if strings.Contains(fmt.Sprint(f.Evidence), "later") {
			t.Errorf("%s: what came behind the verdict: %+v", c.name, f)
		}
	}
}

func FuzzParseObject(f *testing.F) {
	f.Add(objectOf(f, elf.EM_BPF, good(), "probe_api_ver", "probe_schema_var"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if o, err := parseObject(data); err == nil && (o.Programs == 0 || len(o.License) > maxText) {
			t.Errorf("%+v", o)
		}
	})
}

func FuzzEmbedded(f *testing.F) {
	f.Add([]byte("\"\\\n\\x7f\\x45\\x4c\\x46\\x02\\\n\\0\";"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if out, err := embedded(data); err == nil && !bytes.HasPrefix(out, []byte("\x7fELF")) {
			t.Errorf("%q", out)
		}
	})
}
