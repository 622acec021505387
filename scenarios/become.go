// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Become makes the acting process itself another program: in a container that is then what was started in it, and its
// parent is the container's engine. It must be the last step. The program must end with status 0.
type Become struct {
	Path     string   `yaml:"path,required" json:"path"`
	Args     []string `yaml:"args" json:"args,omitempty"`
	Terminal bool     `yaml:"terminal" json:"terminal,omitempty"` // it leads a session with a terminal of its own
	// Descriptor is memfd or file: by execveat(2) with AT_EMPTY_PATH, of an anonymous copy in memory or of the program's
	// own file. None: by execve(2).
	Descriptor string `yaml:"descriptor" json:"descriptor,omitempty"`
}

var becomeDescriptors = []string{"memfd", "file"}

// Kind implements [Action].
func (Become) Kind() string { return "become" }

// last is an action after which nobody is left to tell of it: the result is written before, and only a failure after.
type last interface{ last() }

func (Become) last() {}

// Do implements [Action]. It returns only if it failed.
func (a Become) Do(context.Context) (Detail, error) {
	d := Detail{Path: a.Path, FD: -1, PID: os.Getpid()}
	if a.Terminal {
		if err := takeTerminal(); err != nil {
			return d, fmt.Errorf("take a terminal: %w", err)
		}
	}
	argv := append([]string{a.Path}, a.Args...)
	if a.Descriptor != "" {
		return d, fmt.Errorf("execveat %s (%s): %w", a.Path, a.Descriptor, a.execveat(argv))
	}
	err := unix.Exec(a.Path, argv, os.Environ())
	return d, fmt.Errorf("exec %s: %w", a.Path, err)
}

// execveat runs what a descriptor stands for, whose name is nobody's business. It returns only if it failed.
func (a Become) execveat(argv []string) error {
	file, err := os.Open(a.Path)
	if err != nil {
		return err
	}
	if a.Descriptor == "memfd" {
		if file, err = memfdOf(file); err != nil {
			return err
		}
	}
	empty, err := unix.BytePtrFromString("")
	if err != nil {
		return err
	}
	args, err := syscall.SlicePtrFromStrings(argv)
	if err != nil {
		return err
	}
	env, err := syscall.SlicePtrFromStrings(os.Environ())
	if err != nil {
		return err
	}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, file.Fd(), uintptr(unsafe.Pointer(empty)), uintptr(unsafe.Pointer(&args[0])),
		uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

// takeTerminal gives this process a new terminal as the controlling one and as its standard input.
func takeTerminal() error {
	// The other end stays open in the program: were it closed, the kernel would hang the terminal up.
	end, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open /dev/ptmx: %w", err)
	}
	if err := unix.IoctlSetPointerInt(end, unix.TIOCSPTLCK, 0); err != nil {
		return fmt.Errorf("unlock it: %w", err)
	}
	n, err := unix.IoctlGetInt(end, unix.TIOCGPTN)
	if err != nil {
		return fmt.Errorf("find its number: %w", err)
	}
	// A process that leads a session already is told so by EPERM. In a container the engine has made it one.
	if _, err := unix.Setsid(); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("setsid: %w", err)
	}
	tty, err := unix.Open("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("open terminal %d: %w", n, err)
	}
	if err := unix.IoctlSetInt(tty, unix.TIOCSCTTY, 0); err != nil {
		return fmt.Errorf("make it the controlling one: %w", err)
	}
	return unix.Dup3(tty, 0, 0)
}

func (a Become) check() error {
	if a.Descriptor == "" {
		return absolute(a.Path)
	}
	return errors.Join(absolute(a.Path), oneOf("descriptor", a.Descriptor, becomeDescriptors))
}

// needs: execveat is of Linux 3.19.
func (a Become) needs() []string {
	switch a.Descriptor {
	case "memfd":
		return []string{"execveat", "memfd_create"}
	case "file":
		return []string{"execveat"}
	}
	return nil
}

func (a Become) fill(sub substitution) (Action, error) { return filled(a, sub) }
