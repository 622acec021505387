// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"os"
	"path/filepath"
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
	return filepath.Join(append([]string{"/proc", strconv.Itoa(tid)}, file...)...)
}

// readProc reads a file of /proc up to max bytes; whole is false where it is longer. It goes past package os, whose files
// cost twice the system calls, since every event is paid for by the traced.
func readProc(path string, max int) (text string, whole bool, err error) {
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
		case err != nil:
			return string(b), false, err
		case n == 0:
			return string(b), true, nil
		default:
			b = b[:len(b)+n]
		}
	}
	return string(b[:max]), false, nil
}

// readStatus asks the kernel who a thread is. One that is gone is an error.
func readStatus(tid int) (status, error) {
	text, _, err := readProc(procPath(tid, "status"), procMax)
	if err != nil {
		return status{}, err
	}
	s, err := parseStatus(text, tid)
	if err != nil {
		return s, err
	}
	s.login, s.tty = -1, 0
	// A kernel without CONFIG_AUDIT has no such file: there nobody has logged in.
	if text, _, err := readProc(procPath(tid, "loginuid"), procMax); err == nil {
		if id, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32); err == nil {
			s.login = int(int32(id))
		}
	}
	if text, _, err = readProc(procPath(tid, "stat"), procMax); err == nil {
		s.tty = terminal(text)
	}
	return s, nil
}

// terminal is tty_nr of /proc/PID/stat. The name of the program, which stands before it, may hold blanks and brackets.
func terminal(stat string) int {
	words := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const ttyNr = 4 // state, ppid, pgrp, session, tty_nr
	if len(words) <= ttyNr {
		return 0
	}
	tty, _ := strconv.Atoi(words[ttyNr])
	return tty
}

var errStatus = errors.New("/proc/PID/status lacks what it has had since 4.1")

func parseStatus(text string, tid int) (status, error) {
	s := status{tid: tid}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":\t")
		words := strings.Fields(value)
		if len(words) == 0 {
			continue
		}
		last := words[len(words)-1]
		switch key {
		case "Name":
			s.comm = unescapeName(value)
		case "Tgid":
			s.pid, _ = strconv.Atoi(words[0])
		case "PPid":
			s.ppid, _ = strconv.Atoi(words[0])
		case "Uid": // real, effective, saved, filesystem
			s.uid, _ = strconv.Atoi(words[min(1, len(words)-1)])
			s.fsuid, _ = strconv.Atoi(last)
		case "Gid":
			s.gid, _ = strconv.Atoi(words[min(1, len(words)-1)])
			s.fsgid, _ = strconv.Atoi(last)
		case "NStgid": // in each pid namespace, the innermost last
			s.vpid, _ = strconv.Atoi(last)
		case "CapEff":
			s.caps.Effective, _ = strconv.ParseUint(words[0], 16, 64)
		case "CapPrm":
			s.caps.Permitted, _ = strconv.ParseUint(words[0], 16, 64)
		case "CapInh":
			s.caps.Inheritable, _ = strconv.ParseUint(words[0], 16, 64)
		}
	}
	if s.pid == 0 || s.vpid == 0 {
		return status{}, errStatus
	}
	return s, nil
}

// unescapeName undoes what the status file does to a name: \n for a newline, \\ for a backslash.
func unescapeName(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\n`, "\n").Replace(s)
}

// cgroupOf is the path of a thread's cgroup in the default hierarchy, the one numbered 0.
func cgroupOf(tid int) string {
	text, _, err := readProc(procPath(tid, "cgroup"), procMax)
	if err != nil {
		return ""
	}
	return defaultCgroup(text)
}

func defaultCgroup(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(line, "0::"); ok {
			return strings.TrimSuffix(path, "\n")
		}
	}
	return ""
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
