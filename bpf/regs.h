/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Finds the registers with which a task came into the kernel. */
#ifndef MEWS_REGS_H
#define MEWS_REGS_H

/* Of a kernel stack without KASAN; arm64 with pages of 64 KiB has larger ones. */
#define THREAD_SIZE 16384
#define SIZEOF_PT_REGS bpf_core_type_size(struct pt_regs)

/*
 * The registers of the current task. bpf_task_pt_regs came in 5.15. Before, they lie at the end of the kernel stack;
 * what FRED puts behind them came only in 6.9, so the fixed place is right there.
 */
static __always_inline struct pt_regs *task_regs(void)
{
	struct task_struct *t = (void *)bpf_get_current_task();

	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
		return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
	return BPF_CORE_READ(t, stack) + THREAD_SIZE - SIZEOF_PT_REGS;
}

#endif
