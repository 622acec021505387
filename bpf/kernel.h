/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The parts of the kernel that the probe looks at, and nothing else: each structure holds only the members
 * that are read, in any order, and CO-RE finds where the running kernel keeps them. Written by hand so that a
 * reader sees at a glance what the probe depends on; a generated vmlinux.h would hide that in 3 MB.
 * A name after three underscores is a flavour: the same kernel type as another version declares it.
 */
#ifndef MEWS_KERNEL_H
#define MEWS_KERNEL_H

/* Tells bpf_tracing.h that the kernel's own register names are declared here. */
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef short __s16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* From the kernel's user API, whose numbers never change. */
enum {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_RINGBUF = 27,
};

#define AT_FDCWD -100
#define O_WRONLY 00000001
#define O_ACCMODE 00000003
#define O_CREAT 00000100
#define O_TRUNC 00001000
#define S_IFMT 00170000
#define S_IFSOCK 0140000
#define S_IWUSR 00200
#define S_IWGRP 00020
#define S_IWOTH 00002
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define BPF_F_NO_PREALLOC 1
#define BPF_RB_NO_WAKEUP 1
#define BPF_RB_FORCE_WAKEUP 2
#define BPF_RB_AVAIL_DATA 0
#define BPF_RB_RING_SIZE 1
#define SB_RDONLY 1
#define S_IMMUTABLE 8
#define I_CTIME_QUERIED (1U << 31) /* in i_ctime_nsec since 6.13 (4e40eff0b573): somebody has asked for it */
#define NSEC_PER_SEC 1000000000LL
#define CAP_DAC_OVERRIDE 1
#define CAP_FOWNER 3
#define OVERLAYFS_SUPER_MAGIC 0x794c7630

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10;
	unsigned long r8;
	unsigned long r9;
	unsigned long ax;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
};

struct thread_info {
	__u32 status;
};
#elif defined(__TARGET_ARCH_arm64)
struct user_pt_regs {
	__u64 regs[31];
};

struct pt_regs {
	struct user_pt_regs user_regs;
};

struct thread_info {
	unsigned long flags;
};
#else
#error "the probe knows the system call conventions of x86 and arm64"
#endif

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

/* u32 cap[2] before 6.3 and u64 val since: the same 64 bits on a little-endian machine. */
typedef struct {
	__u32 cap[2];
} kernel_cap_t;

struct cred {
	kuid_t euid;
	kgid_t egid;
	kuid_t fsuid;
	kgid_t fsgid;
	kernel_cap_t cap_inheritable;
	kernel_cap_t cap_permitted;
	kernel_cap_t cap_effective;
};

struct qstr {
	const unsigned char *name;
};

struct timespec64 {
	__s64 tv_sec;
	long tv_nsec;
};

struct super_block {
	unsigned long s_flags;
	unsigned long s_magic;
};

struct inode {
	unsigned short i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	unsigned int i_flags;
	struct super_block *i_sb;
	unsigned long i_ino;
	struct timespec64 i_mtime;
	struct timespec64 i_ctime;
};

/* 6.6 (13bc24457850) hid the one time behind two underscores, 6.7 (12cd44023651) the other. */
struct inode___v6_6 {
	struct timespec64 __i_ctime;
};

struct inode___v6_7 {
	struct timespec64 __i_mtime;
};

/* 6.11 (3aa63a569c64) took both apart. */
struct inode___v6_11 {
	__s64 i_mtime_sec;
	__s64 i_ctime_sec;
	__u32 i_mtime_nsec;
	__u32 i_ctime_nsec;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	void *d_fsdata;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	unsigned long env_start;
	unsigned long env_end;
	struct file *exe_file;
};

struct kernfs_node {
	struct kernfs_node *parent;
	const char *name;
};

/* Since 6.15 (633488947ef6) the parent is under RCU and has another name. */
struct kernfs_node___v6_15 {
	struct kernfs_node *__parent;
};

struct cgroup_root;

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
};

enum cgroup_subsys_id {
	pids_cgrp_id = 13, /* what it is depends on the configuration */
};

struct css_set {
	struct cgroup_subsys_state *subsys[1]; /* by cgroup_subsys_id */
	struct cgroup *dfl_cgrp;
};

struct task_struct;

struct pid_namespace {
	struct task_struct *child_reaper;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct tty_driver {
	int major;
	int minor_start;
};

struct tty_struct {
	struct tty_driver *driver;
	int index;
};

struct signal_struct {
	struct tty_struct *tty;
};

struct list_head {
	struct list_head *prev;
};

struct task_struct {
	struct thread_info thread_info;
	void *stack;
	struct mm_struct *mm;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct list_head children;
	struct list_head sibling;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	const struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct css_set *cgroups;
	struct signal_struct *signal;
	kuid_t loginuid;
	int exit_code;
	__u64 start_boottime;
};

/* Until 5.5 (cf25e24db61c) it had another name. */
struct task_struct___v5_4 {
	__u64 real_start_time;
};

/* Container-Optimized OS keeps it with what else its audit knows of a task. */
struct audit_task_info {
	kuid_t loginuid;
};

struct task_struct___cos {
	struct audit_task_info *audit;
};

/* Came with openat2 in 5.6; el8 kernels of 2022 have the ring buffer and not this (falco#3417). */
struct open_how {
	__u64 flags;
	__u64 mode;
	__u64 resolve;
};

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol; /* a bit field before 5.6 */
};

struct socket {
	short type;
	struct sock *sk;
};

struct sockaddr_un {
	unsigned short sun_family;
	char sun_path[108];
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct unix_address *addr;
	struct sock *peer;
};

#pragma clang attribute pop

enum bpf_func_id {
	BPF_FUNC_task_pt_regs = 175,
};

#endif
