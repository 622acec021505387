/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The system calls that need no more than their arguments, a name or two, or what a descriptor stands for. Which
 * argument is what stands in a table that user space fills in: one program serves all calls of a form, is verified once
 * for them, and blinds the probe to no more than that form if a kernel refuses it.
 */
#ifndef MEWS_CALL_H
#define MEWS_CALL_H

/* Where a shape looks: at one of the five arguments, by its index from 0, or elsewhere. */
enum shape_arg {
	SHAPE_OTHER = 5, /* base: the working directory; fd: what the call returned */
	SHAPE_NONE,
};

/* A call is of interest only where it made one of the standard streams out of another descriptor. */
enum shape_stdio {
	STDIO_ANY,
	STDIO_DUP,
	STDIO_FCNTL, /* which returns other small numbers too: its second argument tells */
};

#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030

struct shape {
	enum shape_arg name;
	enum shape_arg base; /* the descriptor of the directory that name starts from */
	enum shape_arg name2;
	enum shape_arg base2;
	enum shape_arg extra; /* descriptors: an address, whose length the next argument tells; names: a string */
	enum shape_arg fd;
	enum shape_stdio stdio;
};

/* By system call number. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SYSCALLS_MAX);
	__type(key, __u32);
	__type(value, struct shape);
} shapes SEC(".maps");

static __always_inline struct shape *shape_of(struct sys_exit *ctx)
{
	__u32 nr = ctx->nr;

	return bpf_map_lookup_elem(&shapes, &nr);
}

static __always_inline struct record *call_begin(struct sys_exit *ctx, struct task_struct *t)
{
	struct record *r = record_begin(RECORD_SYSCALL, EVENT_CALL, t);
	struct pt_regs *regs = task_regs();

	if (!r)
		return NULL;
	r->ev.nr = ctx->nr;
	r->ev.ret = ctx->ret;
	r->ev.args[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
	r->ev.args[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
	r->ev.args[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
	r->ev.args[3] = PT_REGS_PARM4_CORE_SYSCALL(regs);
	r->ev.args[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
	return r;
}

/* The argument with an index, or other if that is none of the five. */
static __always_inline __u64 arg(struct record *r, __u64 index, __u64 other)
{
	barrier_var(index);
	if (index >= sizeof(r->ev.args) / sizeof(r->ev.args[0]))
		return other;
	return r->ev.args[index];
}

SEC("tracepoint/raw_syscalls/sys_exit")
int numbers(struct sys_exit *ctx)
{
	struct record *r = call_begin(ctx, (void *)bpf_get_current_task());

	if (r)
		record_send(r);
	return 0;
}

/* The flags of clone3 are the first member of what it is given; numbers of the user API, so no relocation. */
SEC("tracepoint/raw_syscalls/sys_exit")
int clone3(struct sys_exit *ctx)
{
	struct record *r = call_begin(ctx, (void *)bpf_get_current_task());
	__u64 flags = 0;

	if (!r)
		return 0;
	if (bpf_probe_read_user(&flags, sizeof(flags), (void *)r->ev.args[0]))
		r->ev.flags |= EVENT_TRUNCATED;
	r->ev.args[0] = flags;
	record_send(r);
	return 0;
}

static __always_inline void put_name(struct record *r, __u16 *name_len, __u16 *base_len, struct task_struct *t,
				     enum shape_arg name, enum shape_arg base)
{
	const char *from = (void *)arg(r, name, 0);

	if (!from)
		return;
	put_user_string(r, name_len, from);
	if (base != SHAPE_NONE && is_relative(from))
		put_base(r, base_len, t, arg(r, base, AT_FDCWD));
}

SEC("tracepoint/raw_syscalls/sys_exit")
int names(struct sys_exit *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct shape *s = shape_of(ctx);
	struct record *r = call_begin(ctx, t);
	void *extra;

	if (!s || !r)
		return 0;
	put_name(r, &r->ev.len.name, &r->ev.len.base, t, s->name, s->base);
	put_name(r, &r->ev.len.name2, &r->ev.len.base2, t, s->name2, s->base2);
	extra = (void *)arg(r, s->extra, 0);
	if (extra)
		put_user_string(r, &r->ev.len.extra, extra);
	record_send(r);
	return 0;
}

#define SOCKADDR_MAX 128

SEC("tracepoint/raw_syscalls/sys_exit")
int descriptors(struct sys_exit *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct shape *s = shape_of(ctx);
	struct record *r;
	__u64 addr;

	if (!s || (s->stdio != STDIO_ANY && (__u64)ctx->ret > 2))
		return 0;
	if (s->stdio == STDIO_FCNTL) {
		__u32 command = PT_REGS_PARM2_CORE_SYSCALL(task_regs());

		if (command != F_DUPFD && command != F_DUPFD_CLOEXEC)
			return 0;
	}
	r = call_begin(ctx, t);
	if (!r)
		return 0;
	put_descriptor(r, t, (int)arg(r, s->fd, ctx->ret));
	addr = arg(r, s->extra, 0);
	if (addr)
		put_user(r, &r->ev.len.extra, addr, addr + (__u32)arg(r, s->extra + 1, 0), SOCKADDR_MAX);
	record_send(r);
	return 0;
}

/* chdir and fchdir: what became of the working directory matters more than how. */
SEC("tracepoint/raw_syscalls/sys_exit")
int directories(struct sys_exit *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct record *r = call_begin(ctx, t);

	if (!r)
		return 0;
	put_path(r, RECORD_SYSCALL, &r->ev.len.base, BPF_CORE_READ(t, fs, pwd));
	record_send(r);
	return 0;
}

#endif
