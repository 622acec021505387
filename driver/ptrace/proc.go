// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
)

// Bounds of what is read of a process, in bytes. Those of argv and of the environment are the probe's, so that what is
// truncated is the same under both.
const (
	procMax = 64 << 10
	argsMax = 4096
	envMax  = 8192
)

// status is what /proc says of a thread and its process.
type status struct {
	comm         string
	pid, tid     int
	ppid, vpid   int
	uid, gid     int // effective, as Falco has it
	fsuid, fsgid int
	login, tty   int
	caps         modern.Caps
}

func procPath(tid int, file ...string) string {
	return "/proc/" + strconv.Itoa(tid) + "/" + strings.Join(file, "/")
}

// readProc reads a file of /proc up to max bytes; whole is false where it is longer. It goes past package os, whose files
// cost twice the system calls, since every event is paid for by the traced.
func readProc(path string, max int) (text string, whole bool, err error) {
	return readFile(path, max, false)
}

// readRecord reads a file of /proc that the kernel makes as one record (single_open in its fs/seq_file.c, or from a string
// as loginuid), of which a read that returns less than was asked for returns the rest.
func readRecord(path string) (string, error) {
	text, _, err := readFile(path, procMax, true)
	return text, err
}

func readFile(path string, max int, record bool) (text string, whole bool, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false, err
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 4<<10)
	for len(b) <= max {
		b = slices.Grow(b, 1)
		n, err := unix.Read(fd, b[len(b):cap(b)])
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return string(b), false, err
		}
		b = b[:len(b)+n]
		if n == 0 || record && len(b) < cap(b) {
			return string(b), true, nil
		}
	}
	return string(b[:max]), false, nil
}

// readStatus asks the kernel who a thread is. One that is gone is an error.
func readStatus(tid int) (status, error) {
	text, err := readRecord(procPath(tid, "status"))
	if err != nil {
		return status{}, err
	}
	s, err := parseStatus(text, tid)
	if err != nil {
		return s, err
	}
	s.login, s.tty = -1, 0
	// A kernel without CONFIG_AUDIT has no such file: there nobody has logged in.
	if text, err := readRecord(procPath(tid, "loginuid")); err == nil {
		if id, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil {
			s.login = int(int32(id))
		}
	}
	if text, err := readRecord(procPath(tid, "stat")); err == nil {
		s.tty = terminal(text)
	}
	return s, nil
}

// terminal is tty_nr of /proc/PID/stat.
func terminal(stat string) int {
	return int(statWord(stat, 7))
}

// statWord is a number of /proc/PID/stat, as proc(5) counts them: from 1, and the third is behind the name of the program,
// which may hold blanks and brackets.
func statWord(stat string, n int) int64 {
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if n -= 3; n >= len(words) {
		return 0
	}
	v, _ := strconv.ParseInt(words[n], 10, 64)
	return v
}

var errStatus = errors.New("/proc/PID/status lacks what it has had since 4.1")

// parseStatus looks for what is wanted, in the order in which the kernel writes it (fs/proc/array.c). No name can look like
// a line: its newlines are escaped.
func parseStatus(text string, tid int) (status, error) {
	rest := "\n" + text
	line := func(key string) string {
		_, after, found := strings.Cut(rest, "\n"+key+":\t")
		if !found {
			return ""
		}
		value, _, _ := strings.Cut(after, "\n")
		rest = after
		return value
	}
	set := func(value string) uint64 {
		bits, _ := strconv.ParseUint(value, 16, 64)
		return bits
	}
	s := status{tid: tid}
	s.comm = statusName.Replace(line("Name"))
	s.pid = column(line("Tgid"), 0)
	s.ppid = column(line("PPid"), 0)
	uid, gid := line("Uid"), line("Gid") // each real, effective, saved, filesystem
	s.uid, s.fsuid = column(uid, 1), column(uid, 3)
	s.gid, s.fsgid = column(gid, 1), column(gid, 3)
	inner := line("NStgid") // in each pid namespace, the innermost last
	s.vpid = column(inner, strings.Count(inner, "\t"))
	s.caps.Inheritable, s.caps.Permitted, s.caps.Effective = set(line("CapInh")), set(line("CapPrm")), set(line("CapEff"))
	if s.pid == 0 || s.vpid == 0 {
		return status{}, errStatus
	}
	return s, nil
}

// column is the number in a column, from 0, of a line of the status file. They are separated by tabs.
func column(value string, i int) int {
	for ; i > 0; i-- {
		_, value, _ = strings.Cut(value, "\t")
	}
	value, _, _ = strings.Cut(value, "\t")
	n, _ := strconv.Atoi(value)
	return n
}

// statusName undoes what the status file does to a name: \n for a newline, \\ for a backslash.
var statusName = strings.NewReplacer(`\\`, `\`, `\n`, "\n")

// cgroupOf is the cgroup of a thread, as the probe has it.
func cgroupOf(tid int) (path string, v1 bool) {
	text, err := readRecord(procPath(tid, "cgroup"))
	if err != nil {
		return "", false
	}
	return modern.CgroupOf(text)
}

// linkOf is what a link of /proc points to, as the thread sees it: without the root that it may have been given by
// chroot(2), and without the mark of a file that is in no directory any more.
func linkOf(tid int, file ...string) string {
	link := procPath(tid, file...)
	path, err := os.Readlink(link)
	if err != nil {
		return ""
	}
	if bare, ok := strings.CutSuffix(path, " (deleted)"); ok {
		var st unix.Stat_t
		if unix.Stat(link, &st) == nil && st.Nlink == 0 {
			path = bare
		}
	}
	root, err := os.Readlink(procPath(tid, "root"))
	if err != nil {
		return path
	}
	return below(root, path)
}

// below is path as seen by somebody whose root directory is root.
func below(root, path string) string {
	switch {
	case root == "/":
		return path
	case path == root:
		return "/"
	case strings.HasPrefix(path, root+"/"):
		return path[len(root):]
	}
	return path
}
