/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What a process has become by execve(2) or execveat(2). */
#ifndef MEWS_EXEC_H
#define MEWS_EXEC_H

#define ARGS_MAX 4096
#define ENV_MAX SECTION_MAX

#ifdef MEWS_BAD_UPPER
/* The layout until 6.5, where an overlay's dentry points to its entry. */
struct ovl_entry {
	unsigned long flags;
} __attribute__((preserve_access_index));

#define OVL_E_UPPER_ALIAS 0

/*
 * Known to be wrong, as Falco 0.38.1 was (falco#3286), so that mews can prove that it sees the difference: where the
 * kernel's types do not show overlayfs, which on 5.10 is a module without types, the field "does not exist", and
 * the layout of 6.5 is taken for granted. There d_fsdata holds the flags themselves; here it is a pointer, whose
 * lowest bit is never set.
 */
static __always_inline bool in_upper_layer(struct dentry *dentry, struct inode *inode)
{
	unsigned long flags = (unsigned long)BPF_CORE_READ(dentry, d_fsdata);

	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
		return false;
	if (bpf_core_field_exists(struct ovl_entry, flags))
		flags = BPF_CORE_READ((struct ovl_entry *)flags, flags);
	return flags & 1 << OVL_E_UPPER_ALIAS;
}
#else
/*
 * Whether the file lies in the upper, writable layer of an overlay: it was made or changed since the image.
 * Overlayfs is mostly a module, whose types 5.10 does not publish, so its layout must not be guessed from the
 * existence of fields (falco#3286). What holds since 4.13 is the order in struct ovl_inode: the inode, and
 * right behind it the dentry of the upper file, NULL where there is none.
 */
static __always_inline bool in_upper_layer(struct dentry *dentry, struct inode *inode)
{
	struct dentry *upper = NULL;

	if (BPF_CORE_READ(inode, i_sb, s_magic) != OVERLAYFS_SUPER_MAGIC)
		return false;
	bpf_probe_read_kernel(&upper, sizeof(upper), (void *)inode + bpf_core_type_size(struct inode));
	return upper && BPF_CORE_READ(upper, d_inode);
}
#endif

/* Whether the task could change its own executable. */
static __always_inline bool is_writable(struct task_struct *t, struct inode *inode)
{
	const struct cred *cred = BPF_CORE_READ(t, cred);
	unsigned short mode = BPF_CORE_READ(inode, i_mode);
	__u64 caps = 0;

	if (BPF_CORE_READ(inode, i_flags) & S_IMMUTABLE)
		return false;
	if (BPF_CORE_READ(inode, i_sb, s_flags) & SB_RDONLY)
		return false;
	if (mode & S_IWOTH)
		return true;
	if (BPF_CORE_READ(cred, fsuid.val) == BPF_CORE_READ(inode, i_uid.val))
		return true; /* the owner may give himself the permission */
	if (BPF_CORE_READ(cred, fsgid.val) == BPF_CORE_READ(inode, i_gid.val) && mode & S_IWGRP)
		return true;
	bpf_core_read(&caps, sizeof(caps), &cred->cap_effective);
	return caps & (1 << CAP_DAC_OVERRIDE | 1 << CAP_FOWNER);
}

/* Whether the file was made by memfd_create(2): it is in no directory, and the kernel names it so. */
static __always_inline bool is_memfd(struct dentry *d)
{
	char name[sizeof("memfd:")] = {};

	if (BPF_CORE_READ(d, d_parent) != d)
		return false;
	bpf_probe_read_kernel_str(name, sizeof(name), BPF_CORE_READ(d, d_name.name));
	return name[0] == 'm' && name[1] == 'e' && name[2] == 'm' && name[3] == 'f' && name[4] == 'd' &&
	       name[5] == ':';
}

static __always_inline __u64 nanoseconds(__s64 sec, __s64 nsec)
{
	return sec * NSEC_PER_SEC + nsec;
}

static __always_inline __u64 change_time(struct inode *inode)
{
	struct inode___v6_11 *now = (void *)inode;
	struct inode___v6_6 *then = (void *)inode;

	if (bpf_core_field_exists(now->i_ctime_sec))
		return nanoseconds(BPF_CORE_READ(now, i_ctime_sec), BPF_CORE_READ(now, i_ctime_nsec) & ~I_CTIME_QUERIED);
	if (bpf_core_field_exists(then->__i_ctime))
		return nanoseconds(BPF_CORE_READ(then, __i_ctime.tv_sec), BPF_CORE_READ(then, __i_ctime.tv_nsec));
	return nanoseconds(BPF_CORE_READ(inode, i_ctime.tv_sec), BPF_CORE_READ(inode, i_ctime.tv_nsec));
}

static __always_inline __u64 modification_time(struct inode *inode)
{
	struct inode___v6_11 *now = (void *)inode;
	struct inode___v6_7 *then = (void *)inode;

	if (bpf_core_field_exists(now->i_mtime_sec))
		return nanoseconds(BPF_CORE_READ(now, i_mtime_sec), BPF_CORE_READ(now, i_mtime_nsec));
	if (bpf_core_field_exists(then->__i_mtime))
		return nanoseconds(BPF_CORE_READ(then, __i_mtime.tv_sec), BPF_CORE_READ(then, __i_mtime.tv_nsec));
	return nanoseconds(BPF_CORE_READ(inode, i_mtime.tv_sec), BPF_CORE_READ(inode, i_mtime.tv_nsec));
}

/* When the first process of t's pid namespace was forked, since boot. */
static __always_inline __u64 namespace_start(struct task_struct *t)
{
	struct pid *pid = BPF_CORE_READ(t, group_leader, thread_pid);
	unsigned int level = BPF_CORE_READ(pid, level);
	struct upid upid = {};
	struct task_struct *first;
	struct task_struct___v5_4 *old;

	bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]);
	first = BPF_CORE_READ(upid.ns, child_reaper);
	old = (void *)first;
	if (bpf_core_field_exists(old->real_start_time))
		return BPF_CORE_READ(old, real_start_time);
	return BPF_CORE_READ(first, start_boottime);
}

/* The context of sched/sched_process_exec, as its format file tells; it has been the same since 3.4. */
struct exec {
	__u64 common;
	__u32 filename; /* where it lies: its offset from here in the lower half, its length in the upper */
};

/* At the tracepoint proper, as sys_exit and for its reason. */
SEC("tracepoint/sched/sched_process_exec")
int sched_process_exec(struct exec *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct record *r = record_begin(RECORD_EXEC, EVENT_EXEC, t);
	struct mm_struct *mm = BPF_CORE_READ(t, mm);
	struct file *file = BPF_CORE_READ(mm, exe_file);
	struct inode *inode = BPF_CORE_READ(file, f_inode);
	struct path exe = BPF_CORE_READ(file, f_path);

	if (!r)
		return 0;
	r->ev.ino = BPF_CORE_READ(inode, i_ino);
	r->ev.args[EXEC_CTIME] = change_time(inode);
	r->ev.args[EXEC_MTIME] = modification_time(inode);
	r->ev.args[EXEC_PIDNS_START] = namespace_start(t);
	if (is_writable(t, inode))
		r->ev.flags |= EVENT_EXE_WRITABLE;
	if (in_upper_layer(exe.dentry, inode))
		r->ev.flags |= EVENT_EXE_UPPER_LAYER;
	if (is_memfd(exe.dentry))
		r->ev.flags |= EVENT_EXE_FROM_MEMFD;

	put_kernel_string(r, &r->ev.len.name, (void *)ctx + (ctx->filename & 0xffff));
	put_path(r, RECORD_EXEC, &r->ev.len.path, exe);
	put_path(r, RECORD_EXEC, &r->ev.len.base, BPF_CORE_READ(t, fs, pwd));
	put_user(r, &r->ev.len.args, BPF_CORE_READ(mm, arg_start), BPF_CORE_READ(mm, arg_end), ARGS_MAX);
	put_user(r, &r->ev.len.env, BPF_CORE_READ(mm, env_start), BPF_CORE_READ(mm, env_end), ENV_MAX);
	put_cgroup(r, &r->ev.len.cgroup, t);
	record_send(r);
	return 0;
}

#endif
