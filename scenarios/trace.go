// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Ptrace traces a child for a moment: the acting process attaches itself to it, or the child asks to be traced. Either way
// the child stops, is let go, and ends by itself.
type Ptrace struct {
	Request string `yaml:"request,required" json:"request"` // PTRACE_ATTACH, PTRACE_SEIZE or PTRACE_TRACEME
	Program string `yaml:"program,required" json:"program"` // of the child: one that ends with its standard input, as cat does
}

var ptraceCalls = []string{"PTRACE_ATTACH", "PTRACE_SEIZE", "PTRACE_TRACEME"}

// Kind implements [Action].
func (Ptrace) Kind() string { return "ptrace" }

// Do implements [Action]. All requests come from one thread: the kernel knows threads as tracers, not processes.
func (a Ptrace) Do(ctx context.Context) (d Detail, err error) {
	d = Detail{Path: a.Program, FD: -1}
	cmd := exec.CommandContext(ctx, a.Program)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return d, err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: a.Request == "PTRACE_TRACEME"}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return d, fmt.Errorf("start %s: %w", a.Program, err)
	}
	d.PID = cmd.Process.Pid
	err = a.trace(d.PID)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
	}
	return d, errors.Join(err, stdin.Close(), cmd.Wait())
}

// trace takes the child over, waits until it stopped, and lets it go.
func (a Ptrace) trace(pid int) error {
	var err error
	switch a.Request {
	case "PTRACE_ATTACH":
		err = unix.PtraceAttach(pid)
	case "PTRACE_SEIZE":
		if err = unix.PtraceSeize(pid); err == nil {
			err = unix.PtraceInterrupt(pid)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.Request, err)
	}
	var status unix.WaitStatus
	for {
		_, err = unix.Wait4(pid, &status, unix.WALL, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("wait for the traced child: %w", err)
	case !status.Stopped():
		return fmt.Errorf("the traced child did not stop, but ended: %#x", uint32(status))
	}
	if err := unix.PtraceDetach(pid); err != nil {
		return fmt.Errorf("PTRACE_DETACH: %w", err)
	}
	// The SIGSTOP of PTRACE_ATTACH may still be on its way when another stop was seen first (2 of 450 on a busy machine).
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		return fmt.Errorf("SIGCONT: %w", err)
	}
	return nil
}

func (a Ptrace) check() error {
	return errors.Join(oneOf("request", a.Request, ptraceCalls), absolute(a.Program))
}

func (Ptrace) needs() []string { return nil }

func (a Ptrace) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Traces reports whether a deed of the scenario traces a process. A process has one tracer: it cannot be done where the driver
// is that already.
func (s Scenario) Traces() bool { return traces(slices.Concat(s.Setup, s.Attack, s.Twin)) }

func traces(steps []Step) bool {
	return slices.ContainsFunc(steps, func(s Step) bool {
		switch a := s.action.(type) {
		case Ptrace:
			return true
		case As:
			return traces(a.steps())
		}
		return false
	})
}
