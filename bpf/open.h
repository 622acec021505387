/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* The system calls that open a file by name, each when it returns. */
#ifndef MEWS_OPEN_H
#define MEWS_OPEN_H

static __always_inline int opened(struct sys_exit *ctx, int dirfd, const char *name, __u32 flags,
				  __u32 mode, __u64 resolve)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct record *r = record_begin(RECORD_SYSCALL, EVENT_OPEN, t);

	if (!r)
		return 0;
	r->ev.nr = ctx->nr;
	r->ev.ret = ctx->ret;
	r->ev.dirfd = dirfd;
	r->ev.oflags = flags;
	r->ev.omode = mode;
	r->ev.resolve = resolve;

	put_user_string(r, &r->ev.len.name, name);
	note_written(r, t);
	put_descriptor(r, t, r->ev.ret);
	if (is_relative(name))
		put_base(r, &r->ev.len.base, t, dirfd);
	record_send(r);
	return 0;
}

/*
 * open, openat and creat. The table says which of the arguments is the name, and extra which are the flags; creat has
 * none. What comes after the one or the other are the permissions.
 */
SEC("tracepoint/raw_syscalls/sys_exit")
int opens(struct sys_exit *ctx)
{
	struct pt_regs *regs = task_regs();
	struct shape *s = shape_of(ctx);
	const char *name = (void *)PT_REGS_PARM1_CORE_SYSCALL(regs);
	__u32 flags = PT_REGS_PARM2_CORE_SYSCALL(regs);
	__u32 mode = PT_REGS_PARM3_CORE_SYSCALL(regs);
	int dirfd = AT_FDCWD;

	if (!s)
		return 0;
	if (s->name == 1) {
		dirfd = (__u64)name;
		name = (void *)PT_REGS_PARM2_CORE_SYSCALL(regs);
		flags = mode;
		mode = PT_REGS_PARM4_CORE_SYSCALL(regs);
	} else if (s->extra == SHAPE_NONE) {
		mode = flags;
		flags = O_CREAT | O_WRONLY | O_TRUNC;
	}
	return opened(ctx, dirfd, name, flags, mode, 0);
}

#ifdef MEWS_BAD_OPENHOW
/*
 * Known to be wrong, as Falco 0.39.2 was (falco#3417), so that mews can prove that it sees the difference: the
 * loader does not look whether the kernel has the type, and each member that is read is a relocation that ends in
 * the verifier's refusal where it has not.
 */
SEC("tracepoint/raw_syscalls/sys_exit")
int openat2(struct sys_exit *ctx)
{
	struct pt_regs *regs = task_regs();
	struct open_how how = {};

	bpf_probe_read_user(&how, sizeof(how), (void *)PT_REGS_PARM3_CORE_SYSCALL(regs));
	return opened(ctx, PT_REGS_PARM1_CORE_SYSCALL(regs), (void *)PT_REGS_PARM2_CORE_SYSCALL(regs), how.flags,
		      how.mode, how.resolve);
}
#else
/* The loader leaves this program out of a kernel that has no struct open_how. */
SEC("tracepoint/raw_syscalls/sys_exit")
int openat2(struct sys_exit *ctx)
{
	struct pt_regs *regs = task_regs();
	struct open_how *from = (void *)PT_REGS_PARM3_CORE_SYSCALL(regs);

	return opened(ctx, PT_REGS_PARM1_CORE_SYSCALL(regs), (void *)PT_REGS_PARM2_CORE_SYSCALL(regs),
		      BPF_CORE_READ_USER(from, flags), BPF_CORE_READ_USER(from, mode),
		      BPF_CORE_READ_USER(from, resolve));
}
#endif

#endif
