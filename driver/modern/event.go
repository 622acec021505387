// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/results/cause"
)

// schema is EVENT_SCHEMA of bpf/event.h, which this decoder is made for.
const schema = 4

// The places in the arguments of an Exec: exec_arg of bpf/event.h.
const (
	execCTime = iota
	execMTime
	execPIDNSStart
)

// Kind says what happened.
type Kind uint32

// The kinds of events.
const (
	Exec = Kind(bpf.ProbeEventKindEVENT_EXEC)
	Open = Kind(bpf.ProbeEventKindEVENT_OPEN)
	Fork = Kind(bpf.ProbeEventKindEVENT_FORK)
	Exit = Kind(bpf.ProbeEventKindEVENT_EXIT)
	Call = Kind(bpf.ProbeEventKindEVENT_CALL) // a system call that is neither an Exec nor an Open
)

var kindNames = map[Kind]string{Exec: "exec", Open: "open", Fork: "fork", Exit: "exit", Call: "call"}

func (k Kind) String() string { return kindNames[k] }

// Event is one thing that a process did. Its strings are as the guest gave them: they may hold any byte but NUL.
type Event struct {
	Kind      Kind
	Time      time.Duration // since boot, suspend included (CLOCK_BOOTTIME)
	Syscall   string        // "execve", "openat2", "pwrite", as libsinsp names it; "" for a Fork and an Exit
	Ret       int64         // what the system call returned: a file descriptor, or a negative errno; Exit: the status, as wait(2) has it
	Truncated bool          // a string, list or path of the event is shorter than the truth

	PID    int // the process (the kernel's tgid)
	TID    int
	PPID   int
	VPID   int // the process as its own pid namespace sees it
	Origin int // of a fork: the process that called it, which is not always the parent
	UID    int // effective
	GID    int
	Login  int    // the user who logged in; -1 if nobody did
	TTY    int    // device number of the controlling terminal, 0 if there is none
	Caps   Caps   // of all but an Open
	Comm   string // at most 15 bytes
	Cgroup uint64 // id in the default hierarchy

	Name string // the file as the caller gave it; memfd_create, delete_module: the name; mount: the source
	Path string // Exec: the executable; else what the descriptor is, no symlink left; "" if unknown
	Dir  string // the directory that a relative Name starts from; Exec, chdir, fchdir: the working directory

	Exe  Exe      // Exec: the executable
	Args []string // Exec: argv
	Env  []string // Exec: the environment
	// CgroupPath is the path in the default hierarchy, absolute, of an Exec; where CgroupV1 is set, that of the controller pids
	// in a hierarchy of version 1.
	CgroupPath string
	CgroupV1   bool
	PIDNSStart time.Duration // Exec: when the first process of its pid namespace was forked, since boot; 0 if unknown

	DirFD   int         // Open: the first argument of openat and openat2
	Flags   int         // Open: O_RDONLY, ... as the caller gave them
	Perm    fs.FileMode // Open: the permissions for a new file
	Resolve uint64      // openat2: RESOLVE_BENEATH, ...
	Mode    uint32      // type and permissions of the descriptor's file (st_mode), 0 if there is none

	Raw   [5]uint64 // Call: the arguments as the caller gave them; clone3: the flags come first
	Name2 string    // Call: the second name, as of a rename, link, symlink; mount: where
	Dir2  string    // Call: the directory that a relative Name2 starts from
	Extra string    // Call: the type of a mount, the parameters of init_module
	Addr  *Endpoint // Call: what connect and bind were given; nil if it makes no sense
	Sock  *Socket   // Call: the socket of the descriptor; nil if it is none
}

// Caps are the capabilities of a process, a bit each.
type Caps struct{ Effective, Permitted, Inheritable uint64 }

// Inode is what stat(2) says of an executable. Times are nanoseconds since 1970. An Ino of 0 is none that is known.
type Inode struct {
	Ino          uint64
	CTime, MTime int64
}

// Exe is what a driver can tell about an executable.
type Exe struct {
	Inode
	Writable   bool // the process could change it
	UpperLayer bool // it lies in the upper layer of an overlay: made or changed since the image
	Memfd      bool // made by memfd_create(2)
}

var headSize = binary.Size(bpf.ProbeEvent{})

// Decode reads one record of the ring buffer. The bytes are not trusted: a guest may have written them.
func Decode(b []byte) (Event, error) {
	var h bpf.ProbeEvent
	if len(b) < headSize {
		return Event{}, badRecord("%d bytes, shorter than its head of %d", len(b), headSize)
	}
	if _, err := binary.Decode(b, binary.NativeEndian, &h); err != nil {
		return Event{}, badRecord("%v", err)
	}
	if h.Schema != schema {
		return Event{}, cause.Failf(cause.APISchemaMismatch, cause.FaultDriver, "%w: a record of schema %d, and this consumer reads schema %d", ErrSchema, h.Schema, schema).
			Advise("probe and consumer must come from the same build of mews")
	}
	kind := Kind(h.Kind)
	if _, ok := kindNames[kind]; !ok {
		return Event{}, badRecord("unknown kind %d", h.Kind)
	}
	ev := Event{
		Kind:      kind,
		Time:      time.Duration(h.Time),
		Syscall:   syscallName(kind, h.Nr),
		Ret:       h.Ret,
		Truncated: h.Flags&bpf.ProbeEventFlagEVENT_TRUNCATED != 0,
		PID:       int(h.Tgid),
		TID:       int(h.Tid),
		PPID:      int(h.Ppid),
		VPID:      int(h.Vpid),
		Origin:    int(h.Origin),
		UID:       int(h.Uid),
		GID:       int(h.Gid),
		Login:     int(int32(h.Loginuid)),
		TTY:       int(h.Tty),
		Caps:      Caps{h.Caps[0], h.Caps[1], h.Caps[2]},
		Comm:      unix.ByteSliceToString(h.Comm[:]),
		Cgroup:    h.CgroupId,
	}
	if kind == Fork || kind == Exit {
		return ev, nil
	}

	s := sections{rest: b[headSize:]}
	s.take(4) // struct record counts its data there while it is being built
	name, path, base := s.take(h.Len.Name), s.take(h.Len.Path), s.take(h.Len.Base)
	args, env, cgroup := s.take(h.Len.Args), s.take(h.Len.Env), s.take(h.Len.Cgroup)
	name2, base2 := s.take(h.Len.Name2), s.take(h.Len.Base2)
	sock, extra := s.take(h.Len.Sock), s.take(h.Len.Extra)
	if s.short {
		return Event{}, badRecord("its sections are longer than its %d bytes", len(b))
	}
	ev.Name = unix.ByteSliceToString(name)
	ev.Path = joinPath(path)
	ev.Dir = joinPath(base)
	switch kind {
	case Exec:
		ev.Exe = Exe{
			Inode:      Inode{Ino: h.Ino, CTime: int64(h.Args[execCTime]), MTime: int64(h.Args[execMTime])},
			Writable:   h.Flags&bpf.ProbeEventFlagEVENT_EXE_WRITABLE != 0,
			UpperLayer: h.Flags&bpf.ProbeEventFlagEVENT_EXE_UPPER_LAYER != 0,
			Memfd:      h.Flags&bpf.ProbeEventFlagEVENT_EXE_FROM_MEMFD != 0,
		}
		ev.PIDNSStart = max(time.Duration(h.Args[execPIDNSStart]), 1) // that of the machine may begin before its clock does
		ev.Args = splitStrings(args)
		ev.Env = splitStrings(env)
		ev.CgroupPath = joinPath(cgroup)
		ev.CgroupV1 = h.Flags&bpf.ProbeEventFlagEVENT_CGROUP_V1 != 0
		return ev, nil
	case Open:
		ev.DirFD = int(h.Dirfd)
		ev.Flags = int(h.Oflags)
		ev.Perm = fs.FileMode(h.Omode) & fs.ModePerm
		ev.Resolve = h.Resolve
		ev.Mode = h.Fmode
		return ev, nil
	}
	if ev.Syscall == "" {
		return Event{}, badRecord("system call %d is none that the probe watches", h.Nr)
	}
	ev.Raw = h.Args
	ev.Mode = h.Fmode
	ev.Name2 = unix.ByteSliceToString(name2)
	ev.Dir2 = joinPath(base2)
	switch ev.Syscall {
	case "connect", "bind":
		ev.Addr = ParseAddress(extra)
	default:
		ev.Extra = unix.ByteSliceToString(extra)
	}
	var err error
	ev.Sock, err = decodeSocket(sock)
	return ev, err
}

// syscallName is the name of system call nr. Every exec goes by execve, as with Falco: while it starts a program the
// kernel makes the caller's registers look as if execve had been called (x86, set_personality_64bit) or forgets the
// number (arm64).
func syscallName(kind Kind, nr int32) string {
	switch kind {
	case Exec:
		return "execve"
	case Open, Call:
		return names[nr]
	}
	return ""
}

// sections cuts a record into its parts.
type sections struct {
	rest  []byte
	short bool
}

func (s *sections) take(n uint16) []byte {
	if int(n) > len(s.rest) {
		s.short = true
		return nil
	}
	part := s.rest[:n]
	s.rest = s.rest[n:]
	return part
}

// splitStrings splits strings that end in a NUL each; the last may have been cut off before its NUL.
func splitStrings(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	b = bytes.TrimSuffix(b, []byte{0})
	return strings.Split(string(b), "\x00")
}

// memfd begins the name of every file of memfd_create(2).
const memfd = "memfd:"

// joinPath makes a path of components that stand innermost first. A whole one ends in the root, which has no name,
// and becomes absolute; what lies in no directory or was cut short does not. A memfd, "memfd:name", does: the kernel
// (d_path) and so Falco show it below a root of its own.
func joinPath(b []byte) string {
	parts := splitStrings(b)
	if len(parts) == 1 && parts[0] == "" {
		return "/"
	}
	slices.Reverse(parts)
	if len(parts) == 1 && strings.HasPrefix(parts[0], memfd) {
		return "/" + parts[0]
	}
	return strings.Join(parts, "/")
}

// ErrRecord is what an error of Decode wraps: that record is lost, and the next may be sound.
var ErrRecord = errors.New("malformed record of the ring buffer")

// ErrSchema is what an error of Decode wraps that is about every record of the driver: none of the others can be read either.
var ErrSchema = errors.New("the driver's events are of another schema")

func badRecord(format string, args ...any) error {
	return cause.Errorf(cause.EventFieldWrong, cause.FaultDriver, "%w: %s", ErrRecord, fmt.Sprintf(format, args...)).
		Advise("probe and consumer must come from the same build of mews")
}
