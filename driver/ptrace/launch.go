// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// The words by which a program that holds a [Driver] knows what it was started for.
const (
	TraceWord = "ptrace-tracer" // call Trace
	ExecWord  = "ptrace-exec"   // call Exec with the arguments that follow
)

// Launch starts cmd traced, from its exec on. start is what starts a command; nil is cmd.Start. cmd must have no extra
// files. The process is the caller's child, with the standard streams, directory and environment that cmd has.
//
// cmd.Path becomes this program again, which waits to be adopted by the tracer, puts the filter on itself and only then
// becomes what was to be started: by execve(2), so that the process stays the same.
func (d *Driver) Launch(cmd *exec.Cmd, start func(*exec.Cmd) error) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if len(cmd.ExtraFiles) > 0 {
		return errors.New("a traced command cannot have extra files")
	}
	if start == nil {
		start = (*exec.Cmd).Start
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer w.Close()
	defer r.Close()
	own, err := exec.LookPath(d.self[0])
	if err != nil {
		return err
	}
	args := append(d.self[:len(d.self):len(d.self)], ExecWord, cmd.Path)
	cmd.Path, cmd.Args = own, append(args, cmd.Args...)
	cmd.ExtraFiles = []*os.File{r}
	if err := start(cmd); err != nil {
		return err
	}
	_, err = d.ask(request{Op: opAdopt, PID: cmd.Process.Pid})
	if err == nil {
		_, err = w.Write([]byte{goAhead})
	}
	if err != nil {
		// It finds the pipe closed, and ends without having started anything.
		w.Close()
		return errors.Join(err, ended(cmd))
	}
	return nil
}

func ended(cmd *exec.Cmd) error {
	if err := cmd.Wait(); err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "%s was not started: %w", cmd.Args[len(cmd.Args)-1], err)
	}
	return nil
}

// goFD is where the process of Launch is told that it is traced, by goAhead.
const (
	goFD    = 3
	goAhead = 'g'
)

// Exec is what [Driver.Launch] starts: args are the path of a program, and all of its argv. It must be called on the
// main thread, since that is the one that is traced. It returns only by error.
func Exec(args []string) error {
	if len(args) < 2 {
		return errors.New("a program and its argv are lacking")
	}
	runtime.LockOSThread()
	word := os.NewFile(goFD, "go")
	b := make([]byte, 1)
	if _, err := io.ReadFull(word, b); err != nil || b[0] != goAhead {
		return fmt.Errorf("the tracer did not take over: %w", err)
	}
	if err := word.Close(); err != nil {
		return err
	}
	if unix.Gettid() != unix.Getpid() {
		return errors.New("this is not the main thread, and another would not be traced")
	}
	if err := install(filter(table)); err != nil {
		return fmt.Errorf("install the filter: %w", err)
	}
	return fmt.Errorf("execute %s: %w", args[0], syscall.Exec(args[0], args[1:], os.Environ()))
}
