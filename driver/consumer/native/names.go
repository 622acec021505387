// SPDX-License-Identifier: Apache-2.0

package native

import (
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// result is Falco's evt.res.
func result(ret int64) string {
	if ret >= 0 {
		return "SUCCESS"
	}
	if name := unix.ErrnoName(unix.Errno(-ret)); name != "" {
		return name
	}
	return "UNKNOWN"
}

type flagName struct {
	name string
	bits int
}

// openFlagNames stand in the order in which libsinsp prints them (file_flags in driver/flags_table.c). O_SYNC
// holds the bit of O_DSYNC, so it goes first.
var openFlagNames = []flagName{
	{"O_DIRECTORY", unix.O_DIRECTORY},
	{"O_DIRECT", unix.O_DIRECT},
	{"O_TRUNC", unix.O_TRUNC},
	{"O_SYNC", unix.O_SYNC},
	{"O_NONBLOCK", unix.O_NONBLOCK},
	{"O_EXCL", unix.O_EXCL},
	{"O_DSYNC", unix.O_DSYNC},
	{"O_APPEND", unix.O_APPEND},
	{"O_CREAT", unix.O_CREAT},
}

// openFlags is Falco's evt.arg.flags of a system call that opens a file.
func (s *scratch) openFlags(flags int) string {
	start := len(s.text)
	s.flags(flags, openFlagNames, "|")
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		s.more(start, "|", "O_RDONLY")
	case unix.O_WRONLY:
		s.more(start, "|", "O_WRONLY")
	case unix.O_RDWR:
		s.more(start, "|", "O_RDWR")
	}
	if flags&unix.O_CLOEXEC != 0 {
		s.more(start, "|", "O_CLOEXEC")
	}
	return s.since(start)
}

// exeFlags is Falco's evt.arg.flags of an exec.
func (s *scratch) exeFlags(exe modern.Exe) string {
	start := len(s.text)
	if exe.Writable {
		s.more(start, "|", "EXE_WRITABLE")
	}
	if exe.UpperLayer {
		s.more(start, "|", "EXE_UPPER_LAYER")
	}
	if exe.Memfd {
		s.more(start, "|", "EXE_FROM_MEMFD")
	}
	return s.since(start)
}
