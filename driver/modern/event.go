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
const schema = 1

// Kind says what happened.
type Kind uint32

// The kinds of events.
const (
	Exec = Kind(bpf.ProbeEventKindEVENT_EXEC)
	Open = Kind(bpf.ProbeEventKindEVENT_OPEN)
	Fork = Kind(bpf.ProbeEventKindEVENT_FORK)
	Exit = Kind(bpf.ProbeEventKindEVENT_EXIT)
)

var kindNames = map[Kind]string{Exec: "exec", Open: "open", Fork: "fork", Exit: "exit"}

func (k Kind) String() string { return kindNames[k] }

// Event is one thing that a process did. Its strings are as the guest gave them: they may hold any byte but NUL.
type Event struct {
	Kind      Kind
	Time      time.Duration // since boot, suspend included (CLOCK_BOOTTIME)
	Syscall   string        // "execve", "openat2", ...; "" for a fork and an exit
	Ret       int64         // what the system call returned: a file descriptor, or a negative errno
	Truncated bool          // a string, list or path of the event is shorter than the truth

	PID    int // the process (the kernel's tgid)
	TID    int
	PPID   int
	VPID   int // the process as its own pid namespace sees it
	Origin int // of a fork: the process that called it, which is not always the parent
	UID    int
	GID    int
	Comm   string // at most 15 bytes
	Cgroup uint64 // id in the default hierarchy

	Name string // the file to execute or to open, as the caller gave it
	Path string // Exec: the executable; Open: the file that was opened, no symlink left; "" if unknown

	Exe  Exe      // Exec: the executable
	Args []string // Exec: argv
	Env  []string // Exec: the environment
	// CgroupPath is the path in the default hierarchy, absolute, of an Exec.
	CgroupPath string

	Dir     string      // Open: the directory that a relative Name starts from
	DirFD   int         // Open: the first argument of openat and openat2
	Flags   int         // Open: O_RDONLY, ... as the caller gave them
	Perm    fs.FileMode // Open: the permissions for a new file
	Resolve uint64      // openat2: RESOLVE_BENEATH, ...
	Mode    uint32      // Open: type and permissions of the file (st_mode), 0 if it failed
}

// Exe is what a driver can tell about an executable.
type Exe struct {
	Ino        uint64
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
		return Event{}, badRecord("schema %d, this consumer reads %d", h.Schema, schema)
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
		Comm:      unix.ByteSliceToString(h.Comm[:]),
		Cgroup:    h.CgroupId,
	}
	if kind != Exec && kind != Open {
		return ev, nil
	}

	s := sections{rest: b[headSize:]}
	s.take(4) // struct record counts its data there while it is being built
	name, path, base := s.take(h.Len.Name), s.take(h.Len.Path), s.take(h.Len.Base)
	args, env, cgroup := s.take(h.Len.Args), s.take(h.Len.Env), s.take(h.Len.Cgroup)
	if s.short {
		return Event{}, badRecord("its sections are longer than its %d bytes", len(b))
	}
	ev.Name = unix.ByteSliceToString(name)
	ev.Path = joinPath(path)
	if kind == Exec {
		ev.Exe = Exe{
			Ino:        h.Ino,
			Writable:   h.Flags&bpf.ProbeEventFlagEVENT_EXE_WRITABLE != 0,
			UpperLayer: h.Flags&bpf.ProbeEventFlagEVENT_EXE_UPPER_LAYER != 0,
			Memfd:      h.Flags&bpf.ProbeEventFlagEVENT_EXE_FROM_MEMFD != 0,
		}
		ev.Args = splitStrings(args)
		ev.Env = splitStrings(env)
		ev.CgroupPath = joinPath(cgroup)
		return ev, nil
	}
	ev.Dir = joinPath(base)
	ev.DirFD = int(h.Dirfd)
	ev.Flags = int(h.Oflags)
	ev.Perm = fs.FileMode(h.Omode) & fs.ModePerm
	ev.Resolve = h.Resolve
	ev.Mode = h.Fmode
	return ev, nil
}

// syscallName is the name of system call nr. Every exec goes by execve, as with Falco: while it starts a program the
// kernel makes the caller's registers look as if execve had been called (x86, set_personality_64bit) or forgets the
// number (arm64).
func syscallName(kind Kind, nr int32) string {
	switch kind {
	case Exec:
		return "execve"
	case Open:
		for name, n := range syscallNumbers {
			if int64(nr) == int64(n) {
				return name
			}
		}
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

// joinPath makes a path of components that stand innermost first. A whole one ends in the root, which has no name,
// and becomes absolute; what lies in no directory, as "memfd:name", or was cut short does not.
func joinPath(b []byte) string {
	parts := splitStrings(b)
	if len(parts) == 1 && parts[0] == "" {
		return "/"
	}
	slices.Reverse(parts)
	return strings.Join(parts, "/")
}

// ErrRecord is what an error of Decode wraps: that record is lost, and the next may be sound.
var ErrRecord = errors.New("malformed record of the ring buffer")

func badRecord(format string, args ...any) error {
	return cause.Errorf(cause.EventFieldWrong, cause.FaultDriver, "%w: %s", ErrRecord, fmt.Sprintf(format, args...)).
		Advise("probe and consumer must come from the same build of mews")
}
