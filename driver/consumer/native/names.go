// SPDX-License-Identifier: Apache-2.0

package native

import (
	"strings"

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
func openFlags(flags int) string {
	var names []string
	rest := flags
	for _, f := range openFlagNames {
		if rest&f.bits == f.bits {
			names = append(names, f.name)
			rest &^= f.bits
		}
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		names = append(names, "O_RDONLY")
	case unix.O_WRONLY:
		names = append(names, "O_WRONLY")
	case unix.O_RDWR:
		names = append(names, "O_RDWR")
	}
	if flags&unix.O_CLOEXEC != 0 {
		names = append(names, "O_CLOEXEC")
	}
	return strings.Join(names, "|")
}

// exeFlags is Falco's evt.arg.flags of an exec.
func exeFlags(exe modern.Exe) string {
	var names []string
	if exe.Writable {
		names = append(names, "EXE_WRITABLE")
	}
	if exe.UpperLayer {
		names = append(names, "EXE_UPPER_LAYER")
	}
	if exe.Memfd {
		names = append(names, "EXE_FROM_MEMFD")
	}
	return strings.Join(names, "|")
}
