// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/internal/lazy"
)

// errLayer is what an error of exeOf wraps: in which layer of an overlay the executable lies cannot be told.
var errLayer = errors.New("layer of overlayfs unknown")

// exeOf finds out what can be told of the executable of a thread that has just been through execve(2), from user space
// alone. exe is its path as the thread sees it.
//
// The upper layer: overlayfs shows its upper directory in the list of mounts, by the path that whoever mounted it
// gave, and what was made or changed since the image lies below it under the same path as in the overlay. That path is
// resolved in the mount namespace and root of this process, in which container engines mount too. Where that does not
// hold, or the file has been deleted, nobody can say, and it is an error, not a false.
//
// One case is taken on trust: an overlay that is mounted nowhere and read-only. runc from 1.2 on runs its own binary
// from such a one, which has no upper layer; but somebody who may mount could make one that has.
func exeOf(s status, exe string) (modern.Exe, error) {
	link := procPath(s.tid, "exe")
	fd, err := unix.Open(link, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return modern.Exe{}, fmt.Errorf("open %s: %w", link, err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	var sfs unix.Statfs_t
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &st); err != nil {
		return modern.Exe{}, fmt.Errorf("statx %s: %w", link, err)
	}
	if err := unix.Fstatfs(fd, &sfs); err != nil {
		return modern.Exe{}, fmt.Errorf("statfs %s: %w", link, err)
	}
	mount, isMounted, err := mountOf(s.tid, fd)
	if err != nil {
		return modern.Exe{}, err
	}
	e := modern.Exe{
		Inode:    modern.Inode{Ino: st.Ino, CTime: nanoseconds(st.Ctime), MTime: nanoseconds(st.Mtime)},
		Writable: writable(s, &st, mount),
		// The filesystem of memfds is mounted nowhere, and no name on another can look so.
		Memfd: !isMounted && strings.HasPrefix(exe, "/memfd:"),
	}
	if sfs.Type != unix.OVERLAYFS_SUPER_MAGIC {
		return e, nil
	}
	switch {
	case st.Nlink == 0:
		return e, fmt.Errorf("%w: %s has been deleted", errLayer, exe)
	case !isMounted && sfs.Flags&unix.ST_RDONLY != 0:
		return e, nil
	case !isMounted:
		return e, fmt.Errorf("%w: %s lies in an overlay that is mounted nowhere", errLayer, exe)
	}
	e.UpperLayer, err = inUpper(mount, exe)
	return e, err
}

func nanoseconds(t unix.StatxTimestamp) int64 {
	return t.Sec*int64(time.Second) + int64(t.Nsec)
}

// mountOf is the mount that an open file lies in, as the thread sees it.
func mountOf(tid, fd int) (m mounted, ok bool, err error) {
	info, _, err := readProc("/proc/thread-self/fdinfo/"+strconv.Itoa(fd), procMax)
	if err != nil {
		return mounted{}, false, err
	}
	for line := range strings.Lines(info) {
		value, found := strings.CutPrefix(line, "mnt_id:\t")
		if !found {
			continue
		}
		id, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil {
			return mounted{}, false, fmt.Errorf("mnt_id of an open file: %w", err)
		}
		mounts, whole, err := readProc(procPath(tid, "mountinfo"), 1<<20)
		if err != nil || !whole {
			return mounted{}, false, fmt.Errorf("read the mounts of thread %d (all of them: %t): %w", tid, whole, err)
		}
		m, ok = mountWithID(mounts, id)
		return m, ok, nil
	}
	return mounted{}, false, errors.New("the kernel does not say in which mount a file was opened")
}

// inUpper says whether a file of an overlay lies in the upper layer. One that has no upper layer cannot be written to.
func inUpper(m mounted, exe string) (bool, error) {
	upper := m.super["upperdir"]
	inside := m.root
	switch {
	case upper == "":
		return false, nil
	case !path.IsAbs(upper):
		return false, fmt.Errorf("%w: its upper directory is %q", errLayer, upper)
	case m.point == exe: // a single file, bind-mounted
	case m.point == "/":
		inside = path.Join(m.root, exe)
	case strings.HasPrefix(exe, m.point+"/"):
		inside = path.Join(m.root, strings.TrimPrefix(exe, m.point))
	default:
		return false, fmt.Errorf("%w: %s does not lie below its mount point %s", errLayer, exe, m.point)
	}
	// os.Root: what a container wrote into its upper directory must not lead out of it.
	dir, err := openUpper(upper)
	if err != nil {
		return false, fmt.Errorf("%w: open its upper directory: %w", errLayer, err)
	}
	defer dir.Close()
	info, err := dir.Lstat(strings.TrimPrefix(inside, "/"))
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("%w: %w", errLayer, err)
	}
	// Anything else would hide the file or be another one: the kernel executes regular files alone.
	if !info.Mode().IsRegular() {
		return false, fmt.Errorf("%w: %s in the upper directory is %s", errLayer, inside, info.Mode().Type())
	}
	return true, nil
}

// openUpper opens the directory that the mount's option names. What stands there has backslashes before commas and colons
// in some kernels (6.18 has), as whoever mounted it had to write them, and has not in others.
func openUpper(option string) (*os.Root, error) {
	dir, err := os.OpenRoot(option)
	plain := backslashes().ReplaceAllString(option, "$1")
	if plain == option {
		return dir, err
	}
	other, otherErr := os.OpenRoot(plain)
	switch {
	case err != nil:
		return other, otherErr
	case otherErr != nil:
		return dir, nil
	}
	return nil, errors.Join(fmt.Errorf("both %q and %q exist", option, plain), dir.Close(), other.Close())
}

var backslashes = lazy.Regexp(`\\(.)`)

// writable says whether the process could change its own executable, by the rules of Falco's drivers (bpf/exec.h).
func writable(s status, st *unix.Statx_t, m mounted) bool {
	if st.Attributes&unix.STATX_ATTR_IMMUTABLE != 0 {
		return false
	}
	if _, readOnly := m.super["ro"]; readOnly {
		return false
	}
	switch {
	case st.Mode&unix.S_IWOTH != 0, s.fsuid == int(st.Uid), s.fsgid == int(st.Gid) && st.Mode&unix.S_IWGRP != 0:
		return true
	}
	return s.caps.Effective&(1<<unix.CAP_DAC_OVERRIDE|1<<unix.CAP_FOWNER) != 0
}
