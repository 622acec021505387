// SPDX-License-Identifier: Apache-2.0

package ptrace

import "golang.org/x/sys/unix"

// arch is what seccomp calls the system calls of this machine.
const arch = unix.AUDIT_ARCH_X86_64

// foreignBit marks the numbers of x32, which share the architecture.
const foreignBit = 0x40000000

// registers reads the system call that a stopped thread is in.
func registers(tid int) (nr int, args [6]uint64, ret int64, err error) {
	var r unix.PtraceRegs
	err = unix.PtraceGetRegs(tid, &r)
	return int(int64(r.Orig_rax)), [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}, int64(r.Rax), err
}
