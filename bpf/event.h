/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * The record that goes through the ring buffer: a fixed head, then the sections one after the other, each as
 * long as its member of len says. driver/modern decodes it; a change here is a new EVENT_SCHEMA.
 */
#ifndef MEWS_EVENT_H
#define MEWS_EVENT_H

#define EVENT_SCHEMA 4

enum event_kind {
	EVENT_EXEC = 1, /* 0 is no event */
	EVENT_OPEN,
	EVENT_FORK,
	EVENT_EXIT,
	EVENT_CALL, /* any other system call; nr says which */
	EVENT_KINDS,
};

/*
 * The length of each section, in the order in which they follow the head. "Strings" end in a NUL each. A path
 * is the strings of its components, innermost first, and last the root, whose name is empty.
 */
struct event_lens {
	__u16 name;   /* the name as the caller gave it; a string */
	__u16 path;   /* exec: the executable; else the file of a descriptor; a path */
	__u16 base;   /* the directory that a relative name starts from; exec: the working directory; a path */
	__u16 args;   /* exec: argv; strings */
	__u16 env;    /* exec: the environment; strings */
	__u16 cgroup; /* exec: the cgroup in the default hierarchy, but see EVENT_CGROUP_V1; a path */
	__u16 name2;  /* the second name, as of a rename; a string */
	__u16 base2;  /* where the second name starts from; a path */
	__u16 sock;   /* the socket of a descriptor; a struct endpoints */
	__u16 extra;  /* connect, bind: the address as the caller gave it; mount: the type; init_module: the parameters */
};

/* Both ends of a socket as the kernel has them. Ports are in host order. */
struct endpoints {
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u16 local_port;
	__u16 remote_port;
	__u16 path_len; /* of a unix socket: of its own name or, if it has none, of its peer's */
	__u8 local[16]; /* of IPv4 the first four bytes */
	__u8 remote[16];
	__u8 path[108];
};

enum event_flag {
	EVENT_TRUNCATED = 1 << 0, /* a section is shorter than the truth */
	EVENT_EXE_WRITABLE = 1 << 1,
	EVENT_EXE_UPPER_LAYER = 1 << 2,
	EVENT_EXE_FROM_MEMFD = 1 << 3,
	EVENT_CGROUP_V1 = 1 << 4, /* exec: the cgroup is that of the controller pids, in a hierarchy of version 1 */
};

/* What stands in args of an exec; driver/modern has these numbers too. Times of a file are nanoseconds since 1970. */
enum exec_arg {
	EXEC_CTIME,
	EXEC_MTIME,
	EXEC_PIDNS_START, /* when the first process of its pid namespace was forked, as time */
};

struct event {
	__u64 time; /* nanoseconds since boot, suspend included */
	__u64 cgroup_id;
	__u64 ino;     /* exec: the executable's inode; else of the descriptor's file, 0 if there is none */
	__u64 resolve; /* openat2 */
	__s64 ret;     /* exit: the status, as wait(2) has it */
	__u64 args[5]; /* call: the arguments as the caller gave them; clone3: the flags come first; exec: see exec_arg */
	__u64 caps[3]; /* effective, permitted, inheritable; of all but open */
	__u32 oflags;  /* open: the flags as the caller gave them */
	__u32 omode;   /* open: the permissions asked for */
	__u32 fmode;   /* type and permissions of the descriptor's file, 0 if there is none */
	__s32 dirfd;
	__u32 tgid;
	__u32 tid;
	__u32 ppid;
	__u32 vpid; /* tgid as its own pid namespace sees it */
	__u32 uid;  /* effective, as Falco has it */
	__u32 gid;
	__u32 loginuid; /* -1 if nobody logged in */
	__u32 tty;	/* device number of the controlling terminal as stat(2) has it, 0 if there is none */
	__u32 origin;	/* fork: the process that called fork; it is not always the parent */
	__s32 nr;	/* open, call: the system call */
	enum event_flag flags;
	enum event_kind kind;
	__u16 schema;
	struct event_lens len;
	__u16 pad;
	__u8 comm[16];
};

_Static_assert(sizeof(struct event) == 208, "driver/modern decodes a head of this size");

#endif
