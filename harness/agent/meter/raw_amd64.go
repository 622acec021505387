// SPDX-License-Identifier: Apache-2.0

package meter

import "debug/elf"

const machine = elf.EM_X86_64

// exit0 is exit_group(0).
var exit0 = []byte{
	0xb8, 0xe7, 0x00, 0x00, 0x00, // mov $231, %eax
	0x31, 0xff, // xor %edi, %edi
	0x0f, 0x05, // syscall
}

// ticks reads the time-stamp counter. With -icount, QEMU's is the number of instructions that ran, times 2^shift.
func ticks() uint64

// vfork makes a process in this one's memory that ends at once with 0, and returns its id, or an error as the kernel
// returns it. The child writes to no memory: it has this thread's stack.
//
//go:noescape
func vfork() int

// spawn makes a process in this one's memory that becomes the program.
//
//go:noescape
func spawn(path *byte, argv, envp **byte) int
