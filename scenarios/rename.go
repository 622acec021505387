// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"
)

// Rename gives a file or a directory another name, as whoever downloads does when all is there. Nobody has the new name yet:
// renameat2 is called with RENAME_NOREPLACE, as mv(1) does.
type Rename struct {
	Syscall string `yaml:"syscall,required" json:"syscall"` // rename, renameat or renameat2
	From    string `yaml:"from,required" json:"from"`
	To      string `yaml:"to,required" json:"to"`
}

var renameCalls = []string{"rename", "renameat", "renameat2"}

// Kind implements [Action].
func (Rename) Kind() string { return "rename" }

// Do implements [Action].
func (a Rename) Do(context.Context) (Detail, error) {
	var err error
	switch a.Syscall {
	case "rename":
		err = sysRename(a.From, a.To)
	case "renameat":
		err = unix.Renameat(unix.AT_FDCWD, a.From, unix.AT_FDCWD, a.To)
	default:
		err = unix.Renameat2(unix.AT_FDCWD, a.From, unix.AT_FDCWD, a.To, unix.RENAME_NOREPLACE)
	}
	if err != nil {
		err = fmt.Errorf("%s %s %s: %w", a.Syscall, a.From, a.To, err)
	}
	return Detail{Path: a.To, FD: -1}, err
}

func (a Rename) check() error {
	if err := oneOf("syscall", a.Syscall, renameCalls); err != nil {
		return err
	}
	return absolutes(a.From, a.To)
}

func (Rename) needs() []string { return nil }

func (a Rename) fill(sub substitution) (Action, error) { return filled(a, sub) }
