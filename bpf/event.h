/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The record that goes through the ring buffer: a fixed head, then the sections one after the other, each as
 * long as its member of len says. driver/modern decodes it; a change here is a new EVENT_SCHEMA.
 */
#ifndef MEWS_EVENT_H
#define MEWS_EVENT_H

#define EVENT_SCHEMA 1

enum event_kind {
	EVENT_EXEC = 1, /* 0 is no event */
	EVENT_OPEN,
	EVENT_FORK,
	EVENT_EXIT,
	EVENT_KINDS,
};

/*
 * The length of each section, in the order in which they follow the head. "Strings" end in a NUL each. A path
 * is the strings of its components, innermost first, and last the root, whose name is empty.
 */
struct event_lens {
	__u16 name;   /* the name as the caller gave it; a string */
	__u16 path;   /* exec: the executable; open: the file; a path */
	__u16 base;   /* open of a relative name: the directory it starts from; a path */
	__u16 args;   /* exec: argv; strings */
	__u16 env;    /* exec: the environment; strings */
	__u16 cgroup; /* exec: the cgroup in the default hierarchy; a path */
};

enum event_flag {
	EVENT_TRUNCATED = 1 << 0, /* a section is shorter than the truth */
	EVENT_EXE_WRITABLE = 1 << 1,
	EVENT_EXE_UPPER_LAYER = 1 << 2,
	EVENT_EXE_FROM_MEMFD = 1 << 3,
};

struct event {
	__u64 time; /* nanoseconds since boot, suspend included */
	__u64 cgroup_id;
	__u64 ino;     /* exec: the executable's inode; open: the file's, 0 if it failed */
	__u64 resolve; /* openat2 */
	__s64 ret;
	__u32 oflags; /* open: the flags as the caller gave them */
	__u32 omode;  /* open: the permissions asked for */
	__u32 fmode;  /* open: type and permissions of the file, 0 if it failed */
	__s32 dirfd;
	__u32 tgid;
	__u32 tid;
	__u32 ppid;
	__u32 vpid; /* tgid as its own pid namespace sees it */
	__u32 uid;
	__u32 gid;
	__u32 origin; /* fork: the process that called fork; it is not always the parent */
	__s32 nr;     /* open: the system call */
	enum event_flag flags;
	enum event_kind kind;
	__u16 schema;
	struct event_lens len;
	__u16 pad;
	__u8 comm[16];
};

_Static_assert(sizeof(struct event) == 128, "driver/modern decodes a head of this size");

#endif
