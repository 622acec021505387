//go:build ignore

/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The probe mews-modern: what processes come and go, and which of their system calls matter
 * to a rule: files and their names, sockets, privileges, namespaces, modules. Every program loads alone:
 * user space leaves out the one that a kernel refuses and says so, and the others run.
 */
#include "kernel.h"

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

/* The context of a raw tracepoint, from the kernel's user API. */
struct bpf_raw_tracepoint_args {
	__u64 args[3];
};

#include "event.h"
#include "record.h"
#include "path.h"
#include "exec.h"
#include "process.h"
#include "regs.h"
#include "syscall.h"
#include "descriptor.h"
#include "call.h"
#include "write.h"
#include "open.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";
