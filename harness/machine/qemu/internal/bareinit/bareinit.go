// SPDX-License-Identifier: Apache-2.0

// Package bareinit knows the smallest PID 1: it says one line on the console and sleeps for ever. It proves that
// a kernel came up and ran user code, and it is what a boot costs without us.
package bareinit

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Marker is the line that it says.
const Marker = "mews: user code runs"

// x86-64, position independent. The text that it writes follows it.
var code = []byte{
	0xb8, 0x01, 0x00, 0x00, 0x00, // mov eax, 1           write(2)
	0xbf, 0x01, 0x00, 0x00, 0x00, // mov edi, 1           the console
	0x48, 0x8d, 0x35, 0x10, 0x00, 0x00, 0x00, // lea rsi, [rip+16]  the text
	0xba, byte(len(Marker) + 1), 0x00, 0x00, 0x00, // mov edx, its length
	0x0f, 0x05, //                   syscall
	0xb8, 0x22, 0x00, 0x00, 0x00, // mov eax, 34          pause(2)
	0x0f, 0x05, //                   syscall
	0xeb, 0xf7, //                   jmp back to pause
}

// ELF is the program: one segment that holds its own headers, for x86-64.
func ELF() []byte {
	const (
		base    = 0x400000
		headers = 64 + 56 // of the file, and of its one segment
	)
	text := append(append([]byte(nil), code...), Marker+"\n"...)
	size := uint64(headers + len(text))
	var out bytes.Buffer
	// Writing fixed-size values to a buffer cannot fail.
	binary.Write(&out, binary.LittleEndian, elf.Header64{
		Ident:   [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:    uint16(elf.ET_EXEC),
		Machine: uint16(elf.EM_X86_64),
		Version: uint32(elf.EV_CURRENT),
		Entry:   base + headers,
		Phoff:   64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	})
	binary.Write(&out, binary.LittleEndian, elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Align: 0x1000,
	})
	out.Write(text)
	return out.Bytes()
}
