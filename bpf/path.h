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
 * Appends the path as d_path() would show it to the current task, one component after the other from the file to
 * the root: user space puts them in order, which is cheaper than doing it here.
 *
 * A function of its own, which the verifier goes through once for a program however often that calls it; it is most of
 * what there is to verify. Such a function takes nothing but numbers before 5.13: where names a record by its slot and,
 * by its offset among the lengths, a section of it.
 */
__noinline int walk(__u64 dentry, __u64 vfsmount, __u64 where)
{
	struct task_struct *t = (void *)bpf_get_current_task();
	struct path root = BPF_CORE_READ(t, fs, root);
	struct mount *m = real_mount((void *)vfsmount);
	struct dentry *d = (void *)dentry;
	__u32 slot = where >> 16;
	__u64 section = where & 0xffff;
	struct record *r = bpf_map_lookup_elem(&records, &slot);
	__u16 *len;
	int i;

	barrier_var(section);
	if (!r || section > sizeof(r->ev.len) - sizeof(*len))
		return 0;
	len = (void *)&r->ev.len + section;
#pragma clang loop unroll(disable)
	for (i = 0; i < PATH_DEPTH; i++) {
		struct dentry *up = BPF_CORE_READ(d, d_parent);
		void *to;

		if (!d)
			return 0;
		if (d == root.dentry && &m->mnt == root.mnt) {
			put_root(r, len);
			return 0;
		}
		if (d == BPF_CORE_READ(m, mnt.mnt_root)) {
			struct mount *over = BPF_CORE_READ(m, mnt_parent);

			if (over == m) {
				put_root(r, len); /* of the mount namespace */
				return 0;
			}
			d = BPF_CORE_READ(m, mnt_mountpoint);
			m = over;
			continue;
		}
		to = room(r);
		if (!to)
			return 0;
		took(r, len, bpf_probe_read_kernel_str(to, COMPONENT_MAX, BPF_CORE_READ(d, d_name.name)));
		if (d == up)
			return 0; /* in no directory, as a memfd */
		d = up;
	}
	r->ev.flags |= EVENT_TRUNCATED;
	return 0;
}

static __always_inline void put_path(struct record *r, enum record_slot slot, __u16 *len, struct path path)
{
	__u64 section = (void *)len - (void *)&r->ev.len;

	walk((__u64)path.dentry, (__u64)path.mnt, (__u64)slot << 16 | section);
}

static __always_inline struct kernfs_node *kernfs_parent(struct kernfs_node *kn)
{
	struct kernfs_node___v6_15 *now = (void *)kn;

	if (bpf_core_field_exists(now->__parent))
		return BPF_CORE_READ(now, __parent);
	return BPF_CORE_READ(kn, parent);
}

/*
 * The cgroup of the controller pids, if that is in a hierarchy of version 1: there every container engine has its containers,
 * and nothing of them in the default hierarchy.
 */
static __always_inline struct cgroup *legacy_cgroup(struct css_set *set)
{
	struct cgroup_subsys_state *css = NULL;
	struct cgroup *cg;

	if (!bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id))
		return NULL;
	bpf_probe_read_kernel(&css, sizeof(css),
			      (void *)set + bpf_core_field_offset(set->subsys) +
				      sizeof(css) * bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id));
	cg = BPF_CORE_READ(css, cgroup);
	if (!cg || BPF_CORE_READ(cg, root) == BPF_CORE_READ(set, dfl_cgrp, root))
		return NULL;
	return cg;
}

/* Appends the path of t's cgroup, as put_path does: in the default hierarchy, or where that is not the one that tells. */
static __always_inline void put_cgroup(struct record *r, __u16 *len, struct task_struct *t)
{
	struct css_set *set = BPF_CORE_READ(t, cgroups);
	struct cgroup *legacy = legacy_cgroup(set);
	struct kernfs_node *kn = BPF_CORE_READ(set, dfl_cgrp, kn);
	int i;

	if (legacy) {
		kn = BPF_CORE_READ(legacy, kn);
		r->ev.flags |= EVENT_CGROUP_V1;
	}
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
