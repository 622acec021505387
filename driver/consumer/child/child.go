// SPDX-License-Identifier: Apache-2.0

// Package child knows how to run a consumer's process: whole lines of what it prints, the last of what it complains
// about, and how it ended. What it prints is not trusted.
package child

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// Bounds of what is kept of one process, in bytes: an event with a whole environment is below 16 KiB.
const (
	MaxLine   = 1 << 20
	maxStderr = 64 << 10
)

// Process is one that runs, or ran.
type Process struct {
	cmd    *exec.Cmd
	stderr tail
	done   chan struct{}

	// Set before done is closed.
	readErr error
	waitErr error
}

// Start starts cmd and hands each line that it prints to line, whose bytes are valid until it returns. The first error
// of line is kept, and reading goes on: a process that nobody reads blocks, and its driver drops events. A line longer
// than MaxLine ends the process.
func Start(cmd *exec.Cmd, line func([]byte) error) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	out, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, &p.stderr
	cmd.WaitDelay = waitDelay
	// A group of its own, so that Kill reaches what it started.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	w.Close() // the process has its own
	if err != nil {
		out.Close()
		return nil, err
	}
	go func() {
		defer close(p.done)
		defer out.Close()
		read := make(chan error, 1)
		go func() { read <- p.read(out, line) }()
		p.waitErr = cmd.Wait()
		// Its end is not the pipe's, which whatever it left behind may hold open for ever.
		out.SetReadDeadline(time.Now().Add(waitDelay))
		if p.readErr = <-read; errors.Is(p.readErr, os.ErrDeadlineExceeded) {
			p.readErr = nil
		}
	}()
	return p, nil
}

// waitDelay is how long what a process leaves behind may hold its streams open.
const waitDelay = 5 * time.Second

func (p *Process) read(r io.ReadCloser, line func([]byte) error) error {
	var first error
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), MaxLine)
	for lines.Scan() {
		if len(lines.Bytes()) == 0 {
			continue
		}
		if err := line(lines.Bytes()); err != nil && first == nil {
			first = err
		}
	}
	if err := lines.Err(); err != nil && first == nil {
		first = err
		p.kill() // nobody reads on
		r.Close()
	}
	return first
}

// Done is closed when the process has ended and everything it printed was delivered.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended reports whether Done is closed.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ReadErr is the first error of a line. To be called when Done is closed.
func (p *Process) ReadErr() error { return p.readErr }

// KilledBy is the signal that ended the process; 0 when none did. To be called when Done is closed.
func (p *Process) KilledBy() syscall.Signal {
	var exit *exec.ExitError
	if errors.As(p.waitErr, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return ws.Signal()
		}
	}
	return 0
}

// ExitCode is the process's, -1 when a signal ended it. To be called when Done is closed.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Signal sends a signal; to one that has ended already it is no error.
func (p *Process) Signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// Kill ends the process and what it started, and waits for the end.
func (p *Process) Kill() {
	p.kill()
	<-p.done
}

// kill sends the signal to the whole group. An error says that none of it is left.
func (p *Process) kill() {
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
}

// State says in words how the process ended.
func (p *Process) State() string {
	if !p.Ended() || p.cmd.ProcessState == nil {
		return "running"
	}
	return p.cmd.ProcessState.String()
}

// Stderr is the last of what the process wrote to its standard error.
func (p *Process) Stderr() string { return p.stderr.String() }

// Evidence is the last lines of text, under the name of where they are from.
func Evidence(from, text string) []cause.Evidence {
	const last = 20
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var out []cause.Evidence
	for _, l := range lines[max(0, len(lines)-last):] {
		if l != "" {
			out = append(out, cause.Evidence{File: from, Text: l})
		}
	}
	return out
}

// tail keeps the last bytes written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - maxStderr; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
