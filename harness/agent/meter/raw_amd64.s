// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

#define SYS_clone 56
#define SYS_execve 59
#define SYS_exit_group 231

// func ticks() uint64
TEXT ·ticks(SB), NOSPLIT, $0-8
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func vfork() int
TEXT ·vfork(SB), NOSPLIT, $0-8
	MOVQ $0x4111, DI  // CLONE_VM|CLONE_VFORK|SIGCHLD
	XORQ SI, SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	MOVQ $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  parent
	XORQ DI, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT  $3
parent:
	MOVQ AX, ret+0(FP)
	RET

// func spawn(path *byte, argv, envp **byte) int
//
// All that the child needs is in registers.
TEXT ·spawn(SB), NOSPLIT, $0-32
	MOVQ path+0(FP), R12
	MOVQ argv+8(FP), R13
	MOVQ envp+16(FP), BX
	MOVQ $0x4111, DI  // CLONE_VM|CLONE_VFORK|SIGCHLD
	XORQ SI, SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	MOVQ $SYS_clone, AX
	SYSCALL
	TESTQ AX, AX
	JNZ  parent
	MOVQ R12, DI
	MOVQ R13, SI
	MOVQ BX, DX
	MOVQ $SYS_execve, AX
	SYSCALL
	MOVQ $127, DI
	MOVQ $SYS_exit_group, AX
	SYSCALL
	INT  $3
parent:
	MOVQ AX, ret+24(FP)
	RET
