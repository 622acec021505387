/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* Builds a record in per-CPU memory and hands it to the ring buffer, or counts it as lost. */
#ifndef MEWS_RECORD_H
#define MEWS_RECORD_H

/*
 * A section begins below DATA_MAX, and none is longer than SECTION_MAX, so the verifier needs no relation
 * between an offset and a length: any offset below the first with any length below the second is in bounds.
 * Both are powers of two. A per-CPU map value may not exceed 32 KiB.
 */
#define DATA_MAX 16384
#define SECTION_MAX 8192
#define STRING_MAX 4096
#define COMPONENT_MAX 256 /* NAME_MAX and a NUL */

struct record {
	struct event ev;
	__u32 used;
	__u8 data[DATA_MAX + SECTION_MAX];
};

/* Each attach point has a record of its own: since 7.0 a tracepoint may be preempted by another one. */
enum record_slot {
	RECORD_SYSCALL,
	RECORD_EXEC,
	RECORD_SLOTS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RECORD_SLOTS);
	__type(key, __u32);
	__type(value, struct record);
} records SEC(".maps");

/* User space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 * 1024 * 1024);
} events SEC(".maps");

/*
 * To wake the reader costs an interrupt to oneself and two changes of process, for each event more than all else that is done
 * for it. So the reader looks from time to time, and is woken when a share of the buffer is full. Either cannot be told from
 * the other by what is read, and who must know now asks it to look (driver/modern, Flush).
 */
#define WAKE_SHARE 8

static __always_inline __u64 wakeup(void)
{
	__u64 waiting = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	return waiting >= bpf_ringbuf_query(&events, BPF_RB_RING_SIZE) / WAKE_SHARE ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

struct counters {
	__u64 sent;
	__u64 full;	/* lost: the ring buffer was full */
	__u64 unbuilt;	/* lost: there was no memory to build it in, or it came out longer than that */
};

/* By event kind. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, EVENT_KINDS);
	__type(key, enum event_kind);
	__type(value, struct counters);
} counts SEC(".maps");

static __always_inline void count(enum event_kind kind, bool full)
{
	struct counters *c = bpf_map_lookup_elem(&counts, &kind);

	if (!c)
		return;
	if (full)
		c->full++;
	else
		c->sent++;
}

static __always_inline void count_unbuilt(enum event_kind kind)
{
	struct counters *c = bpf_map_lookup_elem(&counts, &kind);

	if (c)
		c->unbuilt++;
}

/* The process id of t in its own pid namespace. */
static __always_inline __u32 namespace_pid(struct task_struct *t)
{
	struct pid *pid = BPF_CORE_READ(t, group_leader, thread_pid);
	unsigned int level = BPF_CORE_READ(pid, level);
	struct upid upid = {};

	bpf_core_read(&upid, sizeof(upid), &pid->numbers[level]);
	return upid.nr;
}

static __always_inline __u32 login_uid(struct task_struct *t)
{
	struct task_struct___cos *cos = (void *)t;

	if (bpf_core_field_exists(t->loginuid))
		return BPF_CORE_READ(t, loginuid.val);
	if (bpf_core_field_exists(cos->audit))
		return BPF_CORE_READ(cos, audit, loginuid.val);
	return -1; /* a kernel without audit */
}

/* As new_encode_dev() of the kernel puts it. */
static __always_inline __u32 terminal(struct task_struct *t)
{
	struct tty_struct *tty = BPF_CORE_READ(t, signal, tty);
	__u32 major, minor;

	if (!tty)
		return 0;
	major = BPF_CORE_READ(tty, driver, major);
	minor = BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index);
	return (minor & 0xff) | major << 8 | (minor & ~0xff) << 12;
}

/* Everything that is known of an event of task t before one looks at what happened. */
static __always_inline void head(struct event *ev, enum event_kind kind, struct task_struct *t)
{
	const struct cred *cred = BPF_CORE_READ(t, cred);

	__builtin_memset(ev, 0, sizeof(*ev));
	ev->schema = EVENT_SCHEMA;
	ev->kind = kind;
	ev->time = bpf_ktime_get_boot_ns();
	ev->cgroup_id = bpf_get_current_cgroup_id();
	ev->uid = BPF_CORE_READ(cred, euid.val);
	ev->gid = BPF_CORE_READ(cred, egid.val);
	ev->loginuid = login_uid(t);
	ev->tty = terminal(t);
	if (kind != EVENT_OPEN) {
		bpf_core_read(&ev->caps[0], sizeof(ev->caps[0]), &cred->cap_effective);
		bpf_core_read(&ev->caps[1], sizeof(ev->caps[1]), &cred->cap_permitted);
		bpf_core_read(&ev->caps[2], sizeof(ev->caps[2]), &cred->cap_inheritable);
	}
	ev->tgid = BPF_CORE_READ(t, tgid);
	ev->tid = BPF_CORE_READ(t, pid);
	ev->ppid = BPF_CORE_READ(t, real_parent, tgid);
	ev->vpid = namespace_pid(t);
	bpf_core_read(ev->comm, sizeof(ev->comm), &t->comm);
}

static __always_inline struct record *record_begin(__u32 slot, enum event_kind kind, struct task_struct *t)
{
	struct record *r = bpf_map_lookup_elem(&records, &slot);

	if (!r) {
		count_unbuilt(kind);
		return NULL;
	}
	head(&r->ev, kind, t);
	r->used = 0;
	return r;
}

static __always_inline void record_send(struct record *r)
{
	__u64 size = r->used;

	barrier_var(size);
	if (size > DATA_MAX + SECTION_MAX)
		return count_unbuilt(r->ev.kind);
	/* used lies between the head and the data and goes with them: one copy instead of two. */
	size += __builtin_offsetof(struct record, data);
	count(r->ev.kind, bpf_ringbuf_output(&events, r, size, wakeup()) != 0);
}

/*
 * Where the next section goes, or NULL and a truncated record. The barriers here and below keep clang from
 * checking one copy of a number and using another, which the verifier of 5.10 does not see through.
 */
static __always_inline void *room(struct record *r)
{
	__u64 off = r->used;

	barrier_var(off);
	if (off >= DATA_MAX) {
		r->ev.flags |= EVENT_TRUNCATED;
		return NULL;
	}
	return &r->data[off];
}

static __always_inline void took(struct record *r, __u16 *len, long n)
{
	if (n <= 0)
		return;
	r->used += n;
	*len += n;
}

static __always_inline void put_kernel_string(struct record *r, __u16 *len, const void *from)
{
	void *to = room(r);

	if (to)
		took(r, len, bpf_probe_read_kernel_str(to, STRING_MAX, from));
}

static __always_inline void put_user_string(struct record *r, __u16 *len, const void *from)
{
	void *to = room(r);

	if (to)
		took(r, len, bpf_probe_read_user_str(to, STRING_MAX, from));
}

/* Appends the user memory from..end, of at most max bytes. */
static __always_inline void put_user(struct record *r, __u16 *len, unsigned long from, unsigned long end,
				     __u32 max)
{
	void *to = room(r);
	__u64 n = end - from;

	if (!to || end <= from)
		return;
	if (n > max) {
		r->ev.flags |= EVENT_TRUNCATED;
		n = max;
	}
	barrier_var(n);
	if (n > max)
		return;
	if (bpf_probe_read_user(to, n, (void *)from))
		r->ev.flags |= EVENT_TRUNCATED; /* a page is not in memory */
	else
		took(r, len, n);
}

#endif
