// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where things are in a guest.
const (
	stateDir = "/run/mews"
	selfPath = stateDir + "/agent" // this binary, on a filesystem that allows exec
	imageDir = stateDir + "/image" // the container image's root, read-only
	newRoot  = "/newroot"

	sparesDir = stateDir + "/modules" // kernel modules that are not loaded
)

func mount(source, target, fstype string, flags uintptr, data string) error {
	if err := os.MkdirAll(target, 0o755); err != nil && !errors.Is(err, unix.EROFS) {
		return err
	}
	if err := unix.Mount(source, target, fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s (%s) on %s: %w", source, fstype, target, err)
	}
	return nil
}

// mountKernel mounts what the search for devices needs.
func mountKernel() error {
	const plain = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	return errors.Join(
		mount("proc", "/proc", "proc", plain, ""),
		mount("sysfs", "/sys", "sysfs", plain, ""),
		mount("devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"),
		mount("run", "/run", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"),
		mkdirs(stateDir),
		bindFile("/init", selfPath),
		renew(selfPath),
	)
}

// renew gives a file the time of now. In the initramfs it has none, and of an executable without one a driver can say nothing
// that the check of events could hold against it.
func renew(path string) error {
	now := time.Now()
	return os.Chtimes(path, now, now)
}

// bindFile has a file at another place too: a copy would take the guest 10 MB, and a tenth of a second. It must stay where it
// is: of one that was removed the kernel says "(deleted)" in every path that a driver reads.
func bindFile(src, dst string) error {
	f, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := unix.Mount(src, dst, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", src, dst, err)
	}
	return nil
}

// enterRoot makes the userland's disk the root, where there is one. The initramfs cannot be left by
// pivot_root(2), and runc's pivot_root in turn refuses to work below it, so the new root is moved over it.
func enterRoot(disk string) error {
	if disk == "" {
		return errors.Join(mkdirs("/tmp", "/etc"), writeEtc("/etc"))
	}
	if err := mount(disk, newRoot, "ext4", unix.MS_RDONLY, ""); err != nil {
		return err
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s to the userland: %w (the userland must have that directory)", dir, err)
		}
	}
	// What the initramfs held beside the agent is memory that the guest can use.
	if err := os.RemoveAll("/modules"); err != nil {
		return err
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the userland to the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("enter the userland: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	// The copy of /etc is made on another mount first: the new one hides the image's.
	const etc = "/run/mews/etc"
	if err := errors.Join(mount("etc", etc, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"), copyTree("/etc", etc), writeEtc(etc)); err != nil {
		return err
	}
	if err := unix.Mount(etc, "/etc", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move %s to /etc: %w", etc, err)
	}
	for _, dir := range []string{"/tmp", "/var", "/root", "/mnt", "/home"} {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			continue // a small userland need not have them all
		}
		if err := mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=128m"); err != nil {
			return err
		}
	}
	return nil
}

// mountRest mounts what consumers, containers and probes need. A kernel may lack the tracing filesystems.
func mountRest() error {
	const plain = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	if err := errors.Join(
		os.Chmod("/tmp", 0o777|fs.ModeSticky),
		mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0620,ptmxmode=0666"),
		mount("shm", "/dev/shm", "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777,size=64m"),
		mount("cgroup2", cgroupRoot, "cgroup2", plain, ""),
		enableControllers(),
	); err != nil {
		return err
	}
	for fstype, dir := range map[string]string{"bpf": "/sys/fs/bpf", "tracefs": "/sys/kernel/tracing", "debugfs": "/sys/kernel/debug"} {
		if err := unix.Mount(fstype, dir, fstype, plain, ""); err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s on %s: %w", fstype, dir, err)
		}
	}
	return nil
}

const cgroupRoot = "/sys/fs/cgroup"

// enableControllers hands every controller down, as a container engine needs it.
func enableControllers() error {
	list, err := os.ReadFile(filepath.Join(cgroupRoot, "cgroup.controllers"))
	if err != nil {
		return err
	}
	var enable []string
	for c := range strings.FieldsSeq(string(list)) {
		enable = append(enable, "+"+c)
	}
	return os.WriteFile(filepath.Join(cgroupRoot, "cgroup.subtree_control"), []byte(strings.Join(enable, " ")), 0o644)
}

// writeEtc writes what Debian's maintainer scripts would have made, and what attacks are after: like on a real machine,
// /etc/shadow is readable by root and its group alone, and a cluster's API server has a name.
func writeEtc(dir string) error {
	for _, f := range []struct {
		name, text string
		mode       fs.FileMode
	}{
		{"passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", 0o644},
		{"group", "root:x:0:\ndaemon:x:1:\nshadow:x:42:\nnogroup:x:65534:\n", 0o644},
		{"shadow", "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n", 0o640},
		{"hostname", "mews\n", 0o644},
		{"hosts", "127.0.0.1 localhost mews\n127.0.0.10 kubernetes.default.svc.cluster.local\n", 0o644},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err // a link of the image's may lead anywhere
		}
		if err := os.WriteFile(path, []byte(f.text), f.mode); err != nil {
			return err
		}
	}
	if err := os.Chown(filepath.Join(dir, "shadow"), 0, 42); err != nil {
		return err
	}
	return unix.Sethostname([]byte("mews"))
}

func mkdirs(dirs ...string) error {
	for _, d := range dirs {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// copyTree copies directories, files and links below src to dst, which exists.
func copyTree(src, dst string) error {
	return filepath.WalkDir(src, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, path)
		if err != nil || rel == "." {
			return err
		}
		target := filepath.Join(dst, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			return os.Mkdir(target, info.Mode().Perm())
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		case d.Type().IsRegular():
			return copyFile(path, target, info.Mode().Perm())
		}
		return nil // a device or a socket in /etc is nothing to copy
	})
}

func copyFile(src, dst string, mode fs.FileMode) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

// linkUp brings a network link up.
func linkUp(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	return nil
}
