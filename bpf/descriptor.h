/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What a descriptor of the current task stands for. */
#ifndef MEWS_DESCRIPTOR_H
#define MEWS_DESCRIPTOR_H

static __always_inline struct file *file_of_fd(struct task_struct *t, __u64 fd)
{
	struct fdtable *fdt = BPF_CORE_READ(t, files, fdt);
	struct file **table = BPF_CORE_READ(fdt, fd);
	struct file *file = NULL;

	if (fd >= BPF_CORE_READ(fdt, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), &table[fd]);
	return file;
}

/* Appends the directory that a relative name starts from. */
static __always_inline void put_base(struct record *r, __u16 *len, struct task_struct *t, int dirfd)
{
	struct path base;

	if (dirfd == AT_FDCWD) {
		base = BPF_CORE_READ(t, fs, pwd);
	} else {
		struct file *dir = file_of_fd(t, dirfd);

		if (!dir)
			return;
		base = BPF_CORE_READ(dir, f_path);
	}
	put_path(r, RECORD_SYSCALL, len, base);
}

/* Whether the kernel would look up name from a directory. */
static __always_inline bool is_relative(const char *name)
{
	char first = 0;

	bpf_probe_read_user(&first, sizeof(first), name);
	return first != '/';
}

static __always_inline void unix_name(struct endpoints *e, struct sock *sk)
{
	struct unix_address *addr = BPF_CORE_READ((struct unix_sock *)sk, addr);
	__u64 len;

	if (!addr) {
		sk = BPF_CORE_READ((struct unix_sock *)sk, peer);
		addr = BPF_CORE_READ((struct unix_sock *)sk, addr);
	}
	if (!addr)
		return;
	len = BPF_CORE_READ(addr, len) - __builtin_offsetof(struct sockaddr_un, sun_path);
	barrier_var(len);
	if (len > sizeof(e->path))
		return;
	if (!bpf_probe_read_kernel(e->path, len, &addr->name[0].sun_path))
		e->path_len = len;
}

/* Appends both ends of the file's socket, if it is one of a family that has a known form. */
static __always_inline void put_socket(struct record *r, struct file *file)
{
	struct socket *socket = BPF_CORE_READ(file, private_data);
	struct sock *sk = BPF_CORE_READ(socket, sk);
	struct endpoints *e = room(r);

	if (!e || !sk)
		return;
	__builtin_memset(e, 0, sizeof(*e));
	e->family = BPF_CORE_READ(sk, __sk_common.skc_family);
	e->type = BPF_CORE_READ(socket, type);
	e->protocol = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_protocol);
	if (e->family == AF_INET) {
		bpf_core_read(e->local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_core_read(e->remote, 4, &sk->__sk_common.skc_daddr);
	} else if (e->family == AF_INET6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		bpf_core_read(e->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(e->remote, 16, &sk->__sk_common.skc_v6_daddr);
	} else if (e->family == AF_UNIX && bpf_core_type_exists(struct unix_sock)) {
		unix_name(e, sk);
	}
	if (e->family == AF_INET || e->family == AF_INET6) {
		__u16 port = BPF_CORE_READ(sk, __sk_common.skc_dport);

		e->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
		e->remote_port = port << 8 | port >> 8;
	}
	took(r, &r->ev.len.sock, sizeof(*e));
}

/* Appends what the descriptor stands for: the ends of a socket, or the path of anything else. */
static __always_inline void put_descriptor(struct record *r, struct task_struct *t, __s64 fd)
{
	struct file *file = fd < 0 ? NULL : file_of_fd(t, fd);

	if (!file)
		return;
	r->ev.fmode = BPF_CORE_READ(file, f_inode, i_mode);
	r->ev.ino = BPF_CORE_READ(file, f_inode, i_ino);
	if ((r->ev.fmode & S_IFMT) == S_IFSOCK)
		put_socket(r, file);
	else
		put_path(r, RECORD_SYSCALL, &r->ev.len.path, BPF_CORE_READ(file, f_path));
}

#endif
