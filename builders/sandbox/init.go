// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Init must be called first in main, and in TestMain of packages that build: in the process that [Run] starts it sets
// the sandbox up and never returns, in any other it does nothing.
func Init() {
	if len(os.Args) != 1 || os.Args[0] != marker {
		return
	}
	// Capabilities and no_new_privs belong to a thread: the one that execs must be the one that gave them up.
	runtime.LockOSThread()
	err := enter()
	fmt.Fprint(os.NewFile(3, "report"), err)
	os.Exit(setupFailed)
}

// enter only returns when the command could not be started.
func enter() error {
	var s setup
	if err := json.NewDecoder(io.LimitReader(os.Stdin, 4<<20)).Decode(&s); err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	if err := mounts(&s); err != nil {
		return err
	}
	null, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("/dev/null: %w", err)
	}
	if err := unix.Dup2(null, 0); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if err := unix.Close(null); err != nil {
		return fmt.Errorf("standard input: %w", err)
	}
	if err := unix.Sethostname([]byte("mews")); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if err := unix.Chdir(s.Dir); err != nil {
		return fmt.Errorf("chdir %s: %w", s.Dir, err)
	}
	if err := limits(&s); err != nil {
		return err
	}
	if err := dropPrivileges(); err != nil {
		return err
	}
	unix.Umask(0o022)
	unix.CloseOnExec(3)
	return fmt.Errorf("exec %s: %w", s.Argv[0], unix.Exec(s.Argv[0], s.Argv, s.Env))
}

// mounts makes the sandbox's file system and moves into it.
func mounts(s *setup) error {
	m := func(source, target, fstype string, flags uintptr, data string) error {
		if err := unix.Mount(source, target, fstype, flags, data); err != nil {
			return fmt.Errorf("mount %s on %s: %w", fstype, target, err)
		}
		return nil
	}
	whole, err := detach(s.Host)
	if err != nil {
		return err
	}
	// Everything is mounted over the root directory itself: that is only seen in this name space.
	if len(s.Overlay) == 0 {
		if err := m(s.Root, s.Root, "bind", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := m("", s.Root, "read-only bind", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
			return err
		}
	} else {
		lower := make([]string, 0, 1+len(s.Overlay))
		for _, dir := range append([]string{s.Root}, s.Overlay...) {
			lower = append(lower, escapeLower.Replace(dir))
		}
		if err := m("overlay", s.Root, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "lowerdir="+strings.Join(lower, ":")); err != nil {
			return err
		}
	}
	in := func(p string) string { return filepath.Join(s.Root, p) }
	// objtool of 7.x and pahole read /proc: without it the build fails and looks like an API change.
	const plain = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := m("proc", in("proc"), "proc", plain, ""); err != nil {
		return err
	}
	// Many of the host's sysctls belong to uid 0 and ask for no capability: kernel.core_pattern runs a program as root.
	if err := m("", in("proc"), "read-only bind", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|plain, ""); err != nil {
		return err
	}
	if err := m("tmpfs", in("tmp"), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=1g"); err != nil {
		return err
	}
	if err := devices(in("dev"), m); err != nil {
		return err
	}
	if err := m(s.Scratch, in(ScratchAt), "bind", unix.MS_BIND, ""); err != nil {
		return err
	}
	if err := m("", in(ScratchAt), "bind", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_NOSUID|unix.MS_NODEV, ""); err != nil {
		return err
	}
	if err := unix.Chdir(s.Root); err != nil {
		return fmt.Errorf("chdir %s: %w", s.Root, err)
	}
	if !whole {
		// pivot_root refuses a root that is no mount point. The build has no CAP_SYS_CHROOT to leave this one with.
		if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move the root: %w", err)
		}
		if err := unix.Chroot("."); err != nil {
			return fmt.Errorf("chroot: %w", err)
		}
		return unix.Chdir("/")
	}
	// pivot_root(".", ".") stacks the old root on the new one, and the unmount takes it away: nothing of the host is left to reach.
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	return unix.Chdir("/")
}

// detach keeps what is mounted here from the host's name space. In a chroot whose root is not a mount point the mount
// that holds it cannot be named, and so not be made private: that is no harm unless it is shared, which the parent's
// own list of mounts would show. whole says that the root is a mount point.
func detach(host int) (whole bool, err error) {
	err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	if !errors.Is(err, unix.EINVAL) {
		return true, wrap("make the mounts private", err)
	}
	probe, err := os.MkdirTemp("", "mews-sandbox-")
	if err != nil {
		return false, err
	}
	defer os.Remove(probe)
	if err := unix.Mount("tmpfs", probe, "tmpfs", 0, "size=4k"); err != nil {
		return false, wrap("mount a probe", err)
	}
	defer unix.Unmount(probe, unix.MNT_DETACH)
	seen, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", host))
	switch {
	case err != nil:
		return false, wrap("look at the host's mounts", err)
	case strings.Contains(string(seen), " "+probe+" "):
		return false, errors.New("this root directory lies on a shared mount, and is none itself: bind it to itself before the chroot (mount --bind DIR DIR; mount --make-private DIR)")
	}
	return false, nil
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// escapeLower writes a path the way overlayfs wants it in lowerdir=.
var escapeLower = strings.NewReplacer(`\`, `\\`, ":", `\:`, ",", `\,`)

// devices fills /dev. Nodes are bound from the host's, because a user name space may not make any.
func devices(dev string, m func(source, target, fstype string, flags uintptr, data string) error) error {
	if err := m("tmpfs", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return err
	}
	for _, n := range []string{"null", "zero", "full", "random", "urandom"} {
		p := filepath.Join(dev, n)
		if err := os.WriteFile(p, nil, 0o666); err != nil {
			return err
		}
		if err := m("/dev/"+n, p, "bind", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	return os.Symlink("/proc/self/fd", filepath.Join(dev, "fd"))
}

func limits(s *setup) error {
	for _, l := range []struct {
		name     string
		resource int
		max      uint64
	}{
		{"address space", unix.RLIMIT_AS, s.Memory},
		{"file size", unix.RLIMIT_FSIZE, s.File},
		{"core size", unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(l.resource, &unix.Rlimit{Cur: l.max, Max: l.max}); err != nil {
			return fmt.Errorf("limit of %s: %w", l.name, err)
		}
	}
	return nil
}

// dropPrivileges empties the bounding set, so that an exec as uid 0 gains no capability.
func dropPrivileges() error {
	for c := uintptr(0); ; c++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) && c > 0 {
			break // past the last one this kernel knows
		}
		if err != nil {
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	return nil
}
