// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the filter tells the tracer of a system call, beside that there is one (SECCOMP_RET_DATA).
const (
	nativeCall  = 1
	foreignCall = 2 // of another ABI, 32-bit or x32: not decoded, and counted as lost
)

// Offsets in struct seccomp_data (linux/seccomp.h), which is the same since 3.5.
const (
	offsetNr   = 0
	offsetArch = 4
	// Both machines are little-endian: the lower half of an argument comes first.
	offsetSecond = 24
)

// filter is the program that stops a thread at those system calls and lets all others pass. It takes nothing that a
// kernel from 4.8 on lacks; before that, the entry of a call came after its seccomp stop.
func filter(calls []watched) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	unless := func(op uint16, k uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | op, K: k, Jf: skip}
	}
	ret := func(action uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
	}
	prog := []unix.SockFilter{
		load(offsetArch),
		{Code: unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, K: arch, Jt: 1},
		ret(unix.SECCOMP_RET_TRACE | foreignCall),
		load(offsetNr),
	}
	if foreignBit != 0 {
		prog = append(prog, unless(unix.BPF_JSET, foreignBit, 1), ret(unix.SECCOMP_RET_TRACE|foreignCall))
	}
	// Each number has a return of its own: a jump reaches 255 instructions at most.
	trace := ret(unix.SECCOMP_RET_TRACE | nativeCall)
	for _, c := range calls {
		if c.second == nil {
			prog = append(prog, unless(unix.BPF_JEQ, uint32(c.nr), 1), trace)
			continue
		}
		prog = append(prog, unless(unix.BPF_JEQ, uint32(c.nr), uint8(2+2*len(c.second))), load(offsetSecond))
		for _, value := range c.second {
			prog = append(prog, unless(unix.BPF_JEQ, value, 1), trace)
		}
		prog = append(prog, ret(unix.SECCOMP_RET_ALLOW))
	}
	return append(prog, ret(unix.SECCOMP_RET_ALLOW))
}

// install puts the filter on the calling thread, for good: it and what it starts keep it to their end. Without
// no_new_privs, which would change what the traced do, that takes CAP_SYS_ADMIN.
func install(prog []unix.SockFilter) error {
	p := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p)), 0, 0)
}
