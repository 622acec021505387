/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The coming and going of processes; their threads are of no interest. At raw tracepoints, because the proper ones
 * show no task; what the kernel skips here since 7.0 (see syscall.h) user space finds in /proc.
 */
#ifndef MEWS_PROCESS_H
#define MEWS_PROCESS_H

static __always_inline void send_head(struct event *ev)
{
	count(ev->kind, bpf_ringbuf_output(&events, ev, sizeof(*ev), 0) != 0);
}

/* Arguments of the tracepoint: the caller of fork(2) or clone(2), its child. */
SEC("raw_tp/sched_process_fork")
int sched_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *caller = (void *)ctx->args[0];
	struct task_struct *child = (void *)ctx->args[1];
	struct event ev;

	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	head(&ev, EVENT_FORK, child);
	ev.origin = BPF_CORE_READ(caller, tgid);
	send_head(&ev);
	return 0;
}

/*
 * The first argument of the tracepoint is the task (6.16 added a second one). The leader's end stands for the
 * process's: it may end before its threads, which then look like a process that is read from /proc again.
 */
SEC("raw_tp/sched_process_exit")
int sched_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *t = (void *)ctx->args[0];
	struct event ev;

	if (BPF_CORE_READ(t, pid) != BPF_CORE_READ(t, tgid))
		return 0;
	head(&ev, EVENT_EXIT, t);
	ev.ret = BPF_CORE_READ(t, exit_code);
	send_head(&ev);
	return 0;
}

#endif
