/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The coming and going of processes; their threads are of no interest. At tracepoints proper, because the kernel skips
 * programs at raw ones since 7.0 (see syscall.h): 46 of 1,968 forks by four processes on one CPU of 7.3.
 */
#ifndef MEWS_PROCESS_H
#define MEWS_PROCESS_H

#define CLONE_PARENT 0x8000
#define CLONE_THREAD 0x10000

/* How many newer siblings a child may have got from others: by CLONE_PARENT, or of a process that left them behind. */
#define NEWER_MAX 8

static __always_inline void send_head(struct event *ev)
{
	count(ev->kind, bpf_ringbuf_output(&events, ev, sizeof(*ev), wakeup()) != 0);
}

/* The child of parent with this pid. The kernel puts a new one at the end of the list. */
static __always_inline struct task_struct *newest_child(struct task_struct *parent, int pid)
{
	struct list_head *at = BPF_CORE_READ(parent, children.prev);

#pragma unroll
	for (int i = 0; i < NEWER_MAX; i++) {
		struct task_struct *t = (void *)at - bpf_core_field_offset(struct task_struct, sibling);

		if (BPF_CORE_READ(t, pid) == pid)
			return t;
		at = BPF_CORE_READ(at, prev);
	}
	return NULL;
}

/* The context of task/task_newtask, as its format file tells; it has been the same since 3.4. */
struct newtask {
	__u64 common;
	__s32 pid;
	char comm[16];
	__u64 clone_flags;
};

/* In the caller of fork(2) or clone(2), before the child runs. The tracepoint tells the child's number alone. */
SEC("tracepoint/task/task_newtask")
int task_newtask(struct newtask *ctx)
{
	struct task_struct *caller = (void *)bpf_get_current_task();
	struct task_struct *parent = caller, *child;
	__u64 flags = ctx->clone_flags;
	struct event ev;

	if (flags & CLONE_THREAD)
		return 0;
	if (flags & CLONE_PARENT)
		parent = BPF_CORE_READ(caller, real_parent);
	child = newest_child(parent, ctx->pid);
	if (!child) {
		count_unbuilt(EVENT_FORK);
		return 0;
	}
	head(&ev, EVENT_FORK, child);
	ev.origin = BPF_CORE_READ(caller, tgid);
	send_head(&ev);
	return 0;
}

/*
 * The task that ends is the one that runs. The leader's end stands for the process's: it may end before its threads, which
 * then look like a process that is read from /proc again.
 */
SEC("tracepoint/sched/sched_process_exit")
int sched_process_exit(void *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct event ev;

	if (BPF_CORE_READ(t, pid) != BPF_CORE_READ(t, tgid))
		return 0;
	head(&ev, EVENT_EXIT, t);
	ev.ret = BPF_CORE_READ(t, exit_code);
	send_head(&ev);
	return 0;
}

#endif
