// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Become makes the acting process itself another program: in a container that is then what was started in it, and its
// parent is the container's engine. It must be the last step. The program must end with status 0.
type Become struct {
	Path     string   `yaml:"path,required" json:"path"`
	Args     []string `yaml:"args" json:"args,omitempty"`
	Terminal bool     `yaml:"terminal" json:"terminal,omitempty"` // it leads a session with a terminal of its own
}

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
	err := unix.Exec(a.Path, append([]string{a.Path}, a.Args...), os.Environ())
	return d, fmt.Errorf("exec %s: %w", a.Path, err)
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

func (a Become) check() error { return absolute(a.Path) }

func (Become) needs() []string { return nil }

func (a Become) fill(sub substitution) (Action, error) { return filled(a, sub) }
