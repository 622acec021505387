/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Walks from a file or a cgroup up to its root. */
#ifndef MEWS_PATH_H
#define MEWS_PATH_H

/* A component costs the verifier about a hundred instructions; deeper paths are marked as truncated. */
#define PATH_DEPTH 48
#define CGROUP_DEPTH 16

static __always_inline struct mount *real_mount(struct vfsmount *mnt)
{
	return (void *)mnt - bpf_core_field_offset(struct mount, mnt);
}

/*
 * The root is a component without a name, which tells a whole path from one that ends in the air: a file that is
 * in no directory, a walk that was cut short.
 */
static __always_inline void put_root(struct record *r, __u16 *len)
{
	__u8 *to = room(r);

	if (!to)
		return;
	*to = 0;
	took(r, len, 1);
}

/*
 * Appends the path as d_path() would show it to the task whose root is given, one component after the other
 * from the file to the root: user space puts them in order, which is cheaper than doing it here.
 */
static __always_inline void put_path(struct record *r, __u16 *len, struct path path, struct path root)
{
	struct mount *m = real_mount(path.mnt);
	struct dentry *d = path.dentry;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < PATH_DEPTH; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);
		void *to;

		if (!d)
			return;
		if (d == root.dentry && &m->mnt == root.mnt)
			return put_root(r, len);
		if (d == BPF_CORE_READ(m, mnt.mnt_root)) {
			struct mount *over = BPF_CORE_READ(m, mnt_parent);

			if (over == m)
				return put_root(r, len); /* of the mount namespace */
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = over;
			continue;
		}
		to = room(r);
		if (!to)
			return;
		took(r, len, bpf_probe_read_kernel_str(to, COMPONENT_MAX, BPF_CORE_READ(d, d_name.name)));
		if (d == up)
			return; /* in no directory, as a memfd */
		d = up;
	}
	r->ev.flags |= EVENT_TRUNCATED;
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___v6_15 *now = (void *)kn;

	if (bpf_core_field_exists(now->__parent))
		return BPF_CORE_READ(now, __parent);
	return BPF_CORE_READ(kn, parent);
}

/* Appends the path of t's cgroup in the default hierarchy, as put_path does. */
static __always_inline void put_cgroup(struct record *r, __u16 *len, struct task_struct *t)
{
	struct kernfs_node *kn = BPF_CORE_READ(t, cgroups, dfl_cgrp, kn);
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < CGROUP_DEPTH; i++) {
		struct kernfs_node *up = kernfs_parent(kn);
		void *to;

		if (!up)
			return put_root(r, len);
		to = room(r);
		if (!to)
			return;
		took(r, len, bpf_probe_read_kernel_str(to, COMPONENT_MAX, BPF_CORE_READ(kn, name)));
		kn = up;
	}
	r->ev.flags |= EVENT_TRUNCATED;
}

#endif
