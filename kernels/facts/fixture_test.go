// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cilium/ebpf/btf"
	"github.com/pierrec/lz4/v4"
)

// testdata/payload holds a vmlinux of ours, and what the tools that build kernels make of it. They are committed, so that a test
// needs neither the tools nor that they work today as they did.
var remake = flag.Bool("remake", false, "make testdata/payload again; wants gzip, xz, lzma, bzip2, lz4 and zstd")

// packers are the kernel's own, scripts/Makefile.lib.
var packers = []struct {
	name string // as Vmlinux.Compression
	file string
	argv []string
}{
	{"gzip", "vmlinux.gz", []string{"gzip", "-n", "-9"}},
	{"xz", "vmlinux.xz", []string{"xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB"}},
	{"lzma", "vmlinux.lzma", []string{"xz", "--format=lzma", "-9"}},
	{"bzip2", "vmlinux.bz2", []string{"bzip2", "-9"}},
	{"lz4", "vmlinux.lz4", []string{"lz4", "-l", "-9"}},
	{"zstd", "vmlinux.zst", []string{"zstd", "-22", "--ultra"}},
}

func TestMain(m *testing.M) {
	flag.Parse()
	if *remake {
		if err := remakePayloads(); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

func remakePayloads() error {
	dir := filepath.Join("testdata", "payload")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	vmlinux := newELF(elf.EM_X86_64, vmlinuxSections(vmlinuxBTF())...)
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), vmlinux, 0o644); err != nil {
		return err
	}
	for _, p := range packers {
		c := exec.Command(p.argv[0], append(p.argv[1:], "-c")...)
		c.Stdin = bytes.NewReader(vmlinux)
		packed, err := c.Output()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, p.file), packed, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func payload(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "payload", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Of the fixture.
const (
	fixtureRelease = "6.1.0-1-test"
	fixtureBanner  = "Linux version 6.1.0-1-test (builder@example.org) (gcc-12 (Test 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Test) 2.40) "
	fixtureVersion = "#7 SMP PREEMPT_DYNAMIC Test 6.1.192-2 (2026-11-16)"
	fixtureConfig  = `CONFIG_CC_VERSION_TEXT="gcc-12 (Test 12.2.0-14) 12.2.0"
CONFIG_IKCONFIG=y
CONFIG_DEBUG_INFO_BTF=y
CONFIG_VIRTIO_PCI=y
CONFIG_VIRTIO_CONSOLE=y
`
)

var (
	fixtureBuildID = bytes.Repeat([]byte{0xab}, 20)
	vdsoBuildID    = bytes.Repeat([]byte{0xcd}, 20)
)

type section struct {
	name string
	data []byte
}

func vmlinuxSections(types []byte) []section {
	// Calls, the targets of which the x86 filter of xz turns into absolute ones.
	text := bytes.Repeat([]byte{0x90, 0xe8, 0x00, 0x01, 0x00, 0x00, 0xc3, 0x90}, 4096)
	for i := range 4096 {
		binary.LittleEndian.PutUint16(text[8*i+2:], uint16(i))
	}
	rodata := slices.Concat(
		[]byte("%s version %s\x00"+fixtureBanner+"# SMP PREEMPT_DYNAMIC Test\n\x00"),
		[]byte(fixtureBanner+fixtureVersion+"\n\x00"),
		ikconfig([]byte(fixtureConfig)),
	)
	notes := slices.Concat(
		note(elf.NType(0x12), "Xen\x00", make([]byte, 8)),
		note(elf.NType(3), "GNU\x00", fixtureBuildID),
	)
	return []section{{".text", text}, {".rodata", rodata}, {".notes", notes}, {".BTF", types}, {".comment", []byte("GCC: (Test 12.2.0-14) 12.2.0\x00")}}
}

func ikconfig(text []byte) []byte {
	return slices.Concat([]byte("IKCFG_ST"), gzipped(text), []byte("IKCFG_ED"))
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	z.Write(b)
	z.Close()
	return out.Bytes()
}

func note(kind elf.NType, name string, desc []byte) []byte {
	var b []byte
	for _, n := range []int{len(name), len(desc), int(kind)} {
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return slices.Concat(b, []byte(name), desc)
}

// vmlinuxBTF has what ParseBTF asks for, and an entry point of two system calls.
func vmlinuxBTF() []byte {
	u64 := &btf.Int{Name: "__u64", Size: 8}
	enum := func(name string, values ...string) btf.Type {
		e := &btf.Enum{Name: name, Size: 4}
		for i, v := range values {
			e.Values = append(e.Values, btf.EnumValue{Name: v, Value: uint64(i)})
		}
		return e
	}
	call := func(name string) btf.Type {
		return &btf.Func{Name: name, Type: &btf.FuncProto{Return: u64}, Linkage: btf.StaticFunc}
	}
	b, err := btf.NewBuilder([]btf.Type{
		&btf.Struct{Name: "open_how", Size: 24, Members: []btf.Member{
			{Name: "flags", Type: u64}, {Name: "mode", Type: u64, Offset: 64}, {Name: "resolve", Type: u64, Offset: 128},
		}},
		enum("bpf_map_type", "BPF_MAP_TYPE_UNSPEC", "BPF_MAP_TYPE_HASH", "BPF_MAP_TYPE_RINGBUF", "__MAX_BPF_MAP_TYPE"),
		enum("bpf_prog_type", "BPF_PROG_TYPE_UNSPEC", "BPF_PROG_TYPE_TRACING", "BPF_PROG_TYPE_RAW_TRACEPOINT"),
		enum("bpf_attach_type", "BPF_TRACE_RAW_TP", "BPF_TRACE_FENTRY", "__MAX_BPF_ATTACH_TYPE"),
		enum("bpf_func_id", "BPF_FUNC_unspec", "BPF_FUNC_ringbuf_reserve", "__BPF_FUNC_MAX_ID"),
		call("__x64_sys_openat"), call("__x64_sys_openat2"),
	}, nil)
	if err != nil {
		panic(err)
	}
	raw, err := b.Marshal(nil, nil)
	if err != nil {
		panic(err)
	}
	return raw
}

// newELF makes a file of nothing but sections.
func newELF(machine elf.Machine, sections ...section) []byte {
	const header, entry = 64, 64
	names := []byte{0}
	body := make([]byte, header)
	headers := []elf.Section64{{}}
	for _, s := range append(slices.Clone(sections), section{".shstrtab", nil}) {
		at := uint32(len(names))
		names = append(append(names, s.name...), 0)
		kind := elf.SHT_PROGBITS
		if s.name == ".shstrtab" {
			kind, s.data = elf.SHT_STRTAB, names
		}
		headers = append(headers, elf.Section64{
			Name: at, Type: uint32(kind), Off: uint64(len(body)), Size: uint64(len(s.data)), Addralign: 1,
		})
		body = append(body, s.data...)
	}
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Shoff: uint64(len(body)),
		Ehsize: header, Shentsize: entry, Shnum: uint16(len(headers)), Shstrndx: uint16(len(headers) - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var out bytes.Buffer
	out.Write(body)
	binary.Write(&out, binary.LittleEndian, headers)
	file := out.Bytes()
	out.Reset()
	binary.Write(&out, binary.LittleEndian, h)
	copy(file, out.Bytes())
	return file
}

// bzImage wraps a payload that has its size word.
func bzImage(payload []byte) []byte {
	const setup, stub = 2, 100
	b := make([]byte, (setup+1)*512+stub)
	copy(b, "MZ")
	b[0x1f1] = setup
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(b[0x206:], 0x20f)
	binary.LittleEndian.PutUint32(b[0x248:], stub)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(len(payload)))
	return slices.Concat(b, payload, []byte("a signature"))
}

func withSize(packed []byte, size int) []byte {
	return binary.LittleEndian.AppendUint32(slices.Clone(packed), uint32(size))
}

// rawImage is an Image of arm64 with the parts of a vmlinux at places that no header tells, and the vDSO's build-id before its own.
func rawImage(types []byte) []byte {
	b := make([]byte, 8192)
	copy(b, "MZ")
	copy(b[0x38:], "ARMd")
	copy(b[4096:], newELF(elf.EM_AARCH64, section{".note", note(3, "GNU\x00", vdsoBuildID)}))
	for _, s := range vmlinuxSections(types) {
		if s.name != ".comment" { // objcopy -O binary leaves it out
			b = append(b, s.data...)
			b = append(b, make([]byte, 4-len(b)%4)...)
		}
	}
	return append(b, make([]byte, 512)...)
}

// lz4Legacy is what `lz4 -l` writes.
func lz4Legacy(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := lz4.NewWriter(&out)
	if err := z.Apply(lz4.LegacyOption(true)); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zboot(name string, payload, tail []byte) []byte {
	const at = 0x80
	b := make([]byte, at)
	copy(b, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(b[8:], at)
	binary.LittleEndian.PutUint32(b[12:], uint32(len(payload)))
	copy(b[24:], name)
	return slices.Concat(b, payload, tail)
}
