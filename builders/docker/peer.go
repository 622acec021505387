// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sameFiles reports a daemon whose files are others than this process's, as in a chroot or a container that was lent the
// daemon's socket. Where nothing tells, they are taken to be the same.
func (r *Runner) sameFiles() error {
	path, local := strings.CutPrefix(r.cli.DaemonHost(), "unix://")
	if !local {
		return nil
	}
	pid, err := peer(path)
	switch {
	case err != nil:
		return nil // that it answers was seen
	case pid == 0:
		return unusable("the Docker daemon runs outside of this container, and sees other files than this process")
	}
	return sameRoot(pid)
}

// sameRoot compares the root directory of a process with this one's, as far as one may look.
func sameRoot(pid int) error {
	own, theirs := rootOf("self"), rootOf(fmt.Sprint(pid))
	if own != nil && theirs != nil && !os.SameFile(own, theirs) {
		return unusable("the Docker daemon sees other files than this process, whose root is not the daemon's")
	}
	return nil
}

// peer is the process that listens at a Unix socket, 0 if it has no number here: its PID namespace is another.
func peer(path string) (int, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	if ctl := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); ctl != nil {
		return 0, ctl
	}
	if err != nil {
		return 0, err
	}
	return int(cred.Pid), nil
}

// rootOf is the root directory of a process; nil where one may not look.
func rootOf(pid string) os.FileInfo {
	fi, err := os.Stat("/proc/" + pid + "/root/.")
	if err != nil {
		return nil
	}
	return fi
}
