// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"github.com/mews-farm/mews/internal/splat"
)

// process is a running QEMU that dies with us, however we die.
type process struct {
	pid    int
	exited chan struct{} // closed when it is gone and reaped
	state  *os.ProcessState
	stderr *lastBytes

	mu     sync.Mutex
	reaped bool
}

// startProcess runs program with files as its descriptors from 3 on.
//
// Pdeathsig has the kernel kill QEMU when we are gone, kill -9 included. It looks at the THREAD that forked, not
// at the process: Go ends a thread when a goroutine that had locked itself to it returns, and a QEMU that
// such a thread had started would die in the middle of its run. So one goroutine locks a thread of its own, starts
// QEMU and stays until QEMU has ended. (If we die between fork and the child's prctl, Go's child sees that its
// parent has changed and kills itself.)
func startProcess(program string, args []string, files []*os.File) (*process, error) {
	p := &process{exited: make(chan struct{}), stderr: &lastBytes{}}
	cmd := exec.Command(program, args...)
	cmd.Stderr = p.stderr
	cmd.ExtraFiles = files
	// Its own group: Ctrl-C on the terminal is for us, and we end QEMU in order, so that its last words are read.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}

	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid = cmd.Process.Pid
		started <- nil
		// The error repeats the state, or says that stderr could not be read, which is only less to tell.
		_ = cmd.Wait()
		p.mu.Lock()
		p.state, p.reaped = cmd.ProcessState, true
		p.mu.Unlock()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// kill ends QEMU at once. It has nothing to lose: disks are read-only or thrown away.
func (p *process) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reaped { // else the number could be somebody else's by now
		return nil
	}
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return err
	}
	return nil
}

// lastBytes keeps the end of what is written to it: QEMU's complaint is the last that it says.
type lastBytes struct {
	mu  sync.Mutex
	buf []byte
}

const keptStderr = 8 << 10

func (l *lastBytes) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = append(l.buf, p...)
	if over := len(l.buf) - keptStderr; over > 0 {
		l.buf = append(l.buf[:0], l.buf[over:]...)
	}
	return len(p), nil
}

// lines is what is kept, cleaned, without empty lines.
func (l *lastBytes) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for line := range bytes.Lines(l.buf) {
		if s := strings.TrimSpace(splat.Clean(string(line))); s != "" {
			out = append(out, s)
		}
	}
	return out
}
