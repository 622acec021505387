// SPDX-License-Identifier: Apache-2.0

package ptrace

import "golang.org/x/sys/unix"

// arch is what seccomp calls the system calls of this machine.
const arch = unix.AUDIT_ARCH_AARCH64

// foreignBit is no bit here: a 32-bit call has another architecture.
const foreignBit = 0

// prStatus is NT_PRSTATUS, the set of general registers: arm64 has no PTRACE_GETREGS.
const prStatus = 1

// registers reads the system call that a stopped thread is in. At its entry x0 is an argument, at its exit the result.
func registers(tid int) (nr int, args [6]uint64, ret int64, err error) {
	var r unix.PtraceRegsArm64
	err = unix.PtraceGetRegSetArm64(tid, prStatus, &r)
	return int(int64(r.Regs[8])), [6]uint64(r.Regs[:6]), int64(r.Regs[0]), err
}
