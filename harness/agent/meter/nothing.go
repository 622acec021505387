// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// smallest is a program that exits with 0: one page, no library, nothing to relocate, so that what its start costs is what
// the kernel and its drivers do.
func smallest() []byte {
	const at, head = 0x400000, 64 + 56
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: at + head, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	size := uint64(head + len(exit0))
	p := elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X), Vaddr: at, Paddr: at, Filesz: size, Memsz: size, Align: 0x1000}
	var b bytes.Buffer
	// Writes to a buffer of values of a fixed size, which cannot fail.
	_ = binary.Write(&b, binary.LittleEndian, h)
	_ = binary.Write(&b, binary.LittleEndian, p)
	b.Write(exit0)
	return b.Bytes()
}
