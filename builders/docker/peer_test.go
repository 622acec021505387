// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A daemon in another root binds other directories than those that it is told.
func TestSameFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if pid, err := peer(path); err != nil || pid != os.Getpid() {
		t.Errorf("at this process's own socket listens %d (%v), not %d", pid, err, os.Getpid())
	}
	if err := sameRoot(os.Getpid()); err != nil {
		t.Error(err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process in another root")
	}
	// With /usr as its root a program finds its libraries in /lib as before: the system's /lib is /usr/lib.
	cmd := exec.Command("/bin/cat")
	cmd.Dir, cmd.SysProcAttr = "/", &syscall.SysProcAttr{Chroot: "/usr"}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer in.Close()
	if err := sameRoot(cmd.Process.Pid); err == nil || !strings.Contains(err.Error(), "sees other files") {
		t.Errorf("a process in another root has the same: %v", err)
	}
}
