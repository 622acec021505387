/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Writes, which are far too many to report: only those to files that were opened for writing, while the probe
 * watched, by a name that begins with one of some prefixes. The name counts as the caller gave it, so a relative one
 * is never watched.
 */
#ifndef MEWS_WRITE_H
#define MEWS_WRITE_H

#define PREFIX_MAX 64
#define PREFIXES_MAX 64
#define WRITTEN_MAX 4096

struct prefix {
	__u32 bits; /* of the name that count */
	__u8 name[PREFIX_MAX];
};

/* User space fills it in before the probe is attached. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, PREFIXES_MAX);
	__type(key, struct prefix);
	__type(value, __u32);
} prefixes SEC(".maps");

/* The inode of a file says whether its memory has become another file since. */
struct written {
	__u64 inode;
	__u64 ino;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WRITTEN_MAX);
	__type(key, __u64); /* struct file * */
	__type(value, struct written);
} written SEC(".maps");

/* Remembers the file that was opened if its writes are to be seen. The name must be the record's first section. */
static __always_inline void note_written(struct record *r, struct task_struct *t)
{
	struct prefix key = {.bits = PREFIX_MAX * 8};
	struct written to;
	struct file *file;
	__u64 at;

	if (r->ev.ret < 0 || (r->ev.oflags & O_ACCMODE) == 0 || r->ev.len.name == 0)
		return;
	if (r->ev.len.name <= PREFIX_MAX)
		key.bits = (r->ev.len.name - 1) * 8;
	__builtin_memcpy(key.name, r->data, PREFIX_MAX);
	if (!bpf_map_lookup_elem(&prefixes, &key))
		return;
	file = file_of_fd(t, r->ev.ret);
	if (!file)
		return;
	at = (__u64)file;
	to.inode = (__u64)BPF_CORE_READ(file, f_inode);
	to.ino = BPF_CORE_READ(file, f_inode, i_ino);
	bpf_map_update_elem(&written, &at, &to, 0);
}

SEC("tracepoint/raw_syscalls/sys_exit")
int writes(struct sys_exit *ctx)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	__u64 fd = PT_REGS_PARM1_CORE_SYSCALL(task_regs());
	struct file *file = file_of_fd(t, fd);
	__u64 at = (__u64)file;
	struct written *to = bpf_map_lookup_elem(&written, &at);
	struct record *r;

	if (!to || to->inode != (__u64)BPF_CORE_READ(file, f_inode) ||
	    to->ino != BPF_CORE_READ(file, f_inode, i_ino))
		return 0;
	r = call_begin(ctx, t);
	if (!r)
		return 0;
	put_descriptor(r, t, fd);
	record_send(r);
	return 0;
}

#endif
