// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/internal/nearest"
)

// Exec runs a program as a child and waits for it to end with status 0. The child has the deed's id in its
// environment, as the acting process has.
type Exec struct {
	Path string   `yaml:"path,required" json:"path"` // absolute; also its argv[0]
	Args []string `yaml:"args" json:"args,omitempty"`
	User int      `yaml:"user" json:"user,omitempty"` // the number of who runs it
}

// Kind implements [Action].
func (Exec) Kind() string { return "exec" }

// Do implements [Action].
func (a Exec) Do(ctx context.Context) (Detail, error) {
	cmd := exec.CommandContext(ctx, a.Path, a.Args...)
	if a.User != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(a.User), Gid: uint32(a.User)}}
	}
	err := cmd.Run()
	d := Detail{Path: a.Path, FD: -1}
	if cmd.Process != nil {
		d.PID = cmd.Process.Pid
	}
	if err != nil {
		return d, fmt.Errorf("exec %s: %w", a.Path, err)
	}
	return d, nil
}

func (a Exec) check() error {
	if a.User < 0 || a.User > maxUser {
		return fmt.Errorf("the user %d is none from 0 to %d", a.User, maxUser)
	}
	return absolute(a.Path)
}

// maxUser is the highest number of an account that is one: nobody's.
const maxUser = 65534

func (a Exec) needs() []string { return nil }

func (a Exec) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Copy makes a new file with the bytes of another, by read and write: not a link, not a clone, not a rename.
type Copy struct {
	Src  string `yaml:"src,required" json:"src"`
	Dst  string `yaml:"dst,required" json:"dst"` // must not exist
	Mode string `yaml:"mode" json:"mode,omitempty"`
}

// Kind implements [Action].
func (Copy) Kind() string { return "copy" }

// maxCopy bounds what Copy writes, in bytes; the largest program of a Debian base system is below 20 MiB.
const maxCopy = 256 << 20

// Do implements [Action].
func (a Copy) Do(context.Context) (Detail, error) {
	d := Detail{Path: a.Dst, FD: -1}
	mode, err := fileMode(a.Mode)
	if err != nil {
		return d, err
	}
	src, err := os.Open(a.Src)
	if err != nil {
		return d, err
	}
	defer src.Close()
	dst, err := os.OpenFile(a.Dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return d, err
	}
	// The wrappers hide ReadFrom and WriteTo, which would use copy_file_range: on some file systems that
	// shares the source's blocks, and a copy that is not one proves nothing.
	n, err := io.Copy(struct{ io.Writer }{dst}, struct{ io.Reader }{io.LimitReader(src, maxCopy+1)})
	if err == nil && n > maxCopy {
		err = fmt.Errorf("copy %s: it is larger than %d MiB", a.Src, maxCopy>>20)
	}
	if err == nil {
		err = dst.Chmod(mode) // whatever the umask is
	}
	// Closed before anything runs it: a program that is open for writing is busy (ETXTBSY).
	return d, errors.Join(err, dst.Close())
}

func (a Copy) check() error {
	_, err := fileMode(a.Mode)
	return errors.Join(absolute(a.Src), absolute(a.Dst), err)
}

func (a Copy) needs() []string { return nil }

func (a Copy) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Open opens a file by the system call that is named, and closes it again.
type Open struct {
	Syscall string   `yaml:"syscall,required" json:"syscall"` // open, openat, openat2, or an operation of io_uring
	Path    string   `yaml:"path,required" json:"path"`
	Flags   []string `yaml:"flags" json:"flags,omitempty"`     // O_RDONLY, ...; none is O_RDONLY
	Mode    string   `yaml:"mode" json:"mode,omitempty"`       // octal; for O_CREAT
	Resolve []string `yaml:"resolve" json:"resolve,omitempty"` // RESOLVE_...; openat2 alone
	// Traverse lets the path climb, as in /srv/../etc/passwd: it reaches the kernel as it is written.
	Traverse bool `yaml:"traverse" json:"traverse,omitempty"`
}

// Kind implements [Action].
func (Open) Kind() string { return "open" }

// Do implements [Action].
func (a Open) Do(context.Context) (Detail, error) {
	d := Detail{Path: a.Path, FD: -1}
	flags, resolve, mode, err := a.values()
	if err != nil {
		return d, err
	}
	var fd int
	switch a.Syscall {
	case "open":
		fd, err = sysOpen(a.Path, int(flags), mode)
	case "openat":
		fd, err = unix.Openat(unix.AT_FDCWD, a.Path, int(flags), mode)
	case "openat2":
		fd, err = unix.Openat2(unix.AT_FDCWD, a.Path, &unix.OpenHow{Flags: flags, Mode: uint64(mode), Resolve: resolve})
	default:
		fd, err = ringOpen(ringOps[a.Syscall], a.Path, unix.OpenHow{Flags: flags, Mode: uint64(mode), Resolve: resolve})
	}
	if err != nil {
		return d, fmt.Errorf("%s %s: %w", a.Syscall, a.Path, err)
	}
	d.FD = fd
	return d, unix.Close(fd)
}

func (a Open) values() (flags, resolve uint64, mode uint32, err error) {
	if flags, err = sum("flag", a.Flags, openFlags); err != nil {
		return
	}
	if resolve, err = sum("resolve flag", a.Resolve, resolveFlags); err != nil {
		return
	}
	if a.Mode != "" {
		m, err := fileMode(a.Mode)
		return flags, resolve, uint32(m), err
	}
	return
}

func (a Open) check() error {
	flags, resolve, _, err := a.values()
	if err := errors.Join(err, oneOf("syscall", a.Syscall, openCalls)); err != nil {
		return err
	}
	switch {
	case resolve != 0 && !strings.HasSuffix(a.Syscall, "openat2"):
		return fmt.Errorf("%s has no resolve flags; openat2 has", a.Syscall)
	case a.Mode != "" && flags&unix.O_CREAT == 0:
		return errors.New("a mode without O_CREAT: openat2 refuses that (EINVAL)")
	case a.Traverse:
		return climbing(a.Path)
	}
	return absolute(a.Path)
}

func (a Open) needs() []string {
	switch a.Syscall {
	case "openat2":
		return []string{a.Syscall}
	case "io_uring_openat", "io_uring_openat2":
		return []string{"io_uring_setup"}
	}
	return nil
}

func (a Open) fill(sub substitution) (Action, error) { return filled(a, sub) }

var openCalls = []string{"open", "openat", "openat2", "io_uring_openat", "io_uring_openat2"}

var ringOps = map[string]uint8{"io_uring_openat": ringOpOpenat, "io_uring_openat2": ringOpOpenat2}

var openFlags = map[string]uint64{
	"O_RDONLY": unix.O_RDONLY, "O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR,
	"O_APPEND": unix.O_APPEND, "O_CLOEXEC": unix.O_CLOEXEC, "O_CREAT": unix.O_CREAT,
	"O_DIRECTORY": unix.O_DIRECTORY, "O_EXCL": unix.O_EXCL, "O_NOFOLLOW": unix.O_NOFOLLOW,
	"O_PATH": unix.O_PATH, "O_TRUNC": unix.O_TRUNC,
}

var resolveFlags = map[string]uint64{
	"RESOLVE_BENEATH": unix.RESOLVE_BENEATH, "RESOLVE_IN_ROOT": unix.RESOLVE_IN_ROOT,
	"RESOLVE_NO_MAGICLINKS": unix.RESOLVE_NO_MAGICLINKS, "RESOLVE_NO_SYMLINKS": unix.RESOLVE_NO_SYMLINKS,
	"RESOLVE_NO_XDEV": unix.RESOLVE_NO_XDEV,
}

// oneOf refuses a word that is none of those known.
func oneOf(what, word string, known []string) error {
	if slices.Contains(known, word) {
		return nil
	}
	return fmt.Errorf("unknown %s %q%s (known: %s)", what, word, nearest.Hint(word, known), strings.Join(known, ", "))
}

// sum is the flags of those names together.
func sum(what string, names []string, known map[string]uint64) (uint64, error) {
	var out uint64
	for _, n := range names {
		f, ok := known[n]
		if !ok {
			list := make([]string, 0, len(known))
			for k := range known {
				list = append(list, k)
			}
			return 0, fmt.Errorf("unknown %s %q%s", what, n, nearest.Hint(n, list))
		}
		out |= f
	}
	return out, nil
}

// fileMode reads octal permissions; none is 0755, a program's.
func fileMode(s string) (fs.FileMode, error) {
	if s == "" {
		return 0o755, nil
	}
	m, err := strconv.ParseUint(s, 8, 32)
	if err != nil || m > 0o777 {
		return 0, fmt.Errorf("the mode %q is not three octal digits, as in 0644", s)
	}
	return fs.FileMode(m), nil
}

// absolute refuses a path that another directory or a .. could make another file. One that a variable begins is
// looked at again when it is filled.
func absolute(p string) error {
	if strings.HasPrefix(p, "${") {
		return nil
	}
	if !path.IsAbs(p) || path.Clean(p) != p {
		return fmt.Errorf("the path %q is not absolute and clean", p)
	}
	return sandboxed(p)
}

// own is what mews itself lives in, in a guest: a scenario that touches it would judge mews and not a driver.
var own = []string{"/run/mews", "/.mews/agent", "/init", "/dev/vport", "/dev/virtio-ports", "/dev/vd"}

// sandboxed refuses a path that leads out of what a scenario may touch.
func sandboxed(p string) error {
	p = path.Clean(p)
	for _, o := range own {
		if p == o || strings.HasPrefix(p, o+"/") || strings.HasPrefix(o, "/dev/v") && strings.HasPrefix(p, o) {
			return fmt.Errorf("the path %q is mews's own in the guest, outside what a scenario may touch", p)
		}
	}
	return nil
}

// absolutes is absolute of each.
func absolutes(paths ...string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, absolute(p))
	}
	return errors.Join(errs...)
}

// climbing refuses a path that does not go up: it would be no traversal.
func climbing(p string) error {
	if strings.HasPrefix(p, "${") {
		return nil
	}
	if !path.IsAbs(p) || !slices.Contains(strings.Split(p, "/"), "..") {
		return fmt.Errorf("the path %q is not an absolute one with .. in it, as traverse says", p)
	}
	return sandboxed(p)
}
