// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Link makes another name of a file: a symbolic link or a hard one.
type Link struct {
	Syscall string `yaml:"syscall,required" json:"syscall"` // symlink, symlinkat, link or linkat
	From    string `yaml:"from,required" json:"from"`       // what the new name leads to
	To      string `yaml:"to,required" json:"to"`           // the new name; must not exist
}

var linkCalls = []string{"symlink", "symlinkat", "link", "linkat"}

// Kind implements [Action].
func (Link) Kind() string { return "link" }

// Do implements [Action].
func (a Link) Do(context.Context) (Detail, error) {
	var err error
	switch a.Syscall {
	case "symlink", "link":
		err = sysLink(a.Syscall, a.From, a.To)
	case "symlinkat":
		err = unix.Symlinkat(a.From, unix.AT_FDCWD, a.To)
	default:
		err = unix.Linkat(unix.AT_FDCWD, a.From, unix.AT_FDCWD, a.To, 0)
	}
	if err != nil {
		err = fmt.Errorf("%s %s %s: %w", a.Syscall, a.From, a.To, err)
	}
	return Detail{Path: a.To, FD: -1}, err
}

func (a Link) check() error {
	if err := oneOf("syscall", a.Syscall, linkCalls); err != nil {
		return err
	}
	return absolutes(a.From, a.To)
}

func (Link) needs() []string { return nil }

func (a Link) fill(sub substitution) (Action, error) { return filled(a, sub) }

// Remove removes a file or an empty directory: what a deed on the host left, for the next one must not find it.
type Remove struct {
	Path string `yaml:"path,required" json:"path"`
}

// Kind implements [Action].
func (Remove) Kind() string { return "remove" }

// Do implements [Action].
func (a Remove) Do(context.Context) (Detail, error) {
	return Detail{Path: a.Path, FD: -1}, os.Remove(a.Path)
}

func (a Remove) check() error { return absolute(a.Path) }

func (Remove) needs() []string { return nil }

func (a Remove) fill(sub substitution) (Action, error) { return filled(a, sub) }
