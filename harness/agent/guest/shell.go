// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

const (
	shellDir    = stateDir + "/shell"
	shellWait   = 2 * time.Second // that a call waits for output
	maxUnread   = 1 << 20         // of output that nobody fetched; the shell stands still until somebody does
	shellPrompt = "mews# "
)

// shell is the guest's one interactive shell, on a terminal of its own.
type shell struct {
	mu      sync.Mutex
	pty     *os.File
	output  []byte
	changed chan struct{} // closed and renewed when output, room for it or the end came
	ended   bool
	code    int
}

// Shell starts the shell, hands it input and fetches its output. It is served beside a deed.
func (a *Agent) Shell(ctx context.Context, r *wire.ShellRequest) (*wire.ShellReply, error) {
	s := &a.shell
	if err := s.start(); err != nil {
		return nil, err
	}
	if r.GetRows() > 0 && r.GetColumns() > 0 {
		size := &unix.Winsize{Row: uint16(r.GetRows()), Col: uint16(r.GetColumns())}
		if err := s.control(func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, size) }); err != nil {
			return nil, ours("size the shell's terminal", err)
		}
	}
	if len(r.GetInput()) > 0 {
		if _, err := s.pty.Write(r.GetInput()); err != nil && !s.over() {
			return nil, ours("write to the shell", err)
		}
	}
	if !r.GetRead() {
		return &wire.ShellReply{}, nil
	}
	timer := time.NewTimer(shellWait)
	defer timer.Stop()
	for {
		s.mu.Lock()
		if len(s.output) > 0 || s.ended {
			reply := &wire.ShellReply{Output: s.output, Ended: s.ended, ExitCode: int32(s.code)}
			s.output = nil
			s.tell()
			s.mu.Unlock()
			return reply, nil
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			return &wire.ShellReply{}, nil
		case <-ctx.Done():
			return &wire.ShellReply{}, nil
		}
	}
}

// tell wakes who waits; s.mu is held.
func (s *shell) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *shell) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (s *shell) control(do func(fd int) error) error {
	raw, err := s.pty.SyscallConn()
	if err != nil {
		return err
	}
	var done error
	return errors.Join(raw.Control(func(fd uintptr) { done = do(int(fd)) }), done)
}

func (s *shell) start() (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pty != nil {
		return nil
	}
	root, program, err := shellRoot()
	if err != nil {
		return err
	}
	pty, terminal, err := openPTY()
	if err != nil {
		return ours("make a terminal", err)
	}
	defer terminal.Close()
	cmd := exec.Command(program)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TERM=xterm", "PS1=" + shellPrompt}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Chroot: root}
	if err := cmd.Start(); err != nil {
		pty.Close()
		return ours("start a shell", err)
	}
	s.pty, s.changed = pty, make(chan struct{})
	go s.collect(cmd)
	return nil
}

// collect reads what the shell says until it and all that it started have closed the terminal.
func (s *shell) collect(cmd *exec.Cmd) {
	buf := make([]byte, 32<<10)
	for {
		n, err := s.pty.Read(buf)
		s.mu.Lock()
		s.output = append(s.output, buf[:n]...)
		s.tell()
		for len(s.output) > maxUnread {
			changed := s.changed
			s.mu.Unlock()
			<-changed
			s.mu.Lock()
		}
		s.mu.Unlock()
		if err != nil { // EIO: nobody has the other side any more
			break
		}
	}
	_ = cmd.Wait() // the state tells
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.code = true, cmd.ProcessState.ExitCode()
	s.tell()
}

// shellRoot is where the shell lives, and its path there. A userland for a consumer has no shell; then the container image
// lends its programs: they are laid below the guest's own root, which is seen as it is.
func shellRoot() (root, program string, err error) {
	for _, sh := range []string{"/bin/bash", "/bin/dash", "/bin/sh"} {
		if _, err := os.Stat(sh); err == nil {
			return "", sh, nil
		}
	}
	root = filepath.Join(shellDir, "root")
	if err := errors.Join(mkdirs(shellDir), mount("shell", shellDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755,size=64m"),
		mkdirs(filepath.Join(shellDir, "upper"), filepath.Join(shellDir, "work"), root)); err != nil {
		return "", "", ours("make a root for the shell", err)
	}
	layers := fmt.Sprintf("lowerdir=/:%s,upperdir=%s,workdir=%s", imageDir, filepath.Join(shellDir, "upper"), filepath.Join(shellDir, "work"))
	if err := mount("overlay", root, "overlay", 0, layers); err != nil {
		return "", "", ours("make a root for the shell", err)
	}
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/etc", "/tmp", "/var", "/root", "/home", "/mnt"} {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := unix.Mount(dir, root+dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return "", "", ours("bind "+dir+" for the shell", err)
		}
	}
	for _, sh := range []string{"/usr/bin/bash", "/usr/bin/dash"} {
		if _, err := os.Stat(imageDir + sh); err == nil {
			return root, sh, nil
		}
	}
	return "", "", cause.Errorf(cause.Internal, cause.FaultHarness, "neither the guest's userland nor its container image has a shell").
		Advise("add bash or dash to one of them in the matrix")
}

// openPTY is a new pseudo-terminal: our side and the process's.
func openPTY() (ours, theirs *os.File, err error) {
	ours, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		ours, err = os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		return nil, nil, err
	}
	raw, err := ours.SyscallConn()
	if err != nil {
		ours.Close()
		return nil, nil, err
	}
	number, done := 0, error(nil)
	if err := raw.Control(func(fd uintptr) {
		if done = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); done == nil {
			number, done = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	}); errors.Join(err, done) != nil {
		ours.Close()
		return nil, nil, errors.Join(err, done)
	}
	theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		ours.Close()
	}
	return ours, theirs, err
}
