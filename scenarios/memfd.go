// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// MemfdExec copies a program to an anonymous file of memfd_create(2), then runs a program by the descriptor of an open
// file, /proc/self/fd/3: that of the anonymous file, or that of the program's own. The two differ in nothing else.
type MemfdExec struct {
	Src  string   `yaml:"src,required" json:"src"`
	Run  string   `yaml:"run,required" json:"run"` // memfd or src: whose descriptor is run
	Args []string `yaml:"args" json:"args,omitempty"`
}

// memfdRuns is what MemfdExec can run.
var memfdRuns = []string{"memfd", "src"}

// Kind implements [Action].
func (MemfdExec) Kind() string { return "memfd-exec" }

// Do implements [Action].
func (a MemfdExec) Do(ctx context.Context) (Detail, error) {
	d := Detail{Path: a.Src, FD: -1}
	src, err := os.Open(a.Src)
	if err != nil {
		return d, err
	}
	defer src.Close()
	memfd, err := memfdOf(src)
	if err != nil {
		return d, err
	}
	defer memfd.Close()
	run := memfd
	if a.Run == "src" {
		run = src
	}
	// The child's first descriptor beside the standard ones is the file, whatever number it has here.
	d.FD = 3
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", a.Args...)
	cmd.ExtraFiles = []*os.File{run}
	err = cmd.Run()
	if cmd.Process != nil {
		d.PID = cmd.Process.Pid
	}
	if err != nil {
		return d, fmt.Errorf("exec %s (%s): %w", cmd.Path, run.Name(), err)
	}
	return d, nil
}

// memfdOf is an anonymous file with the bytes of src.
func memfdOf(src *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate("mews", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	memfd := os.NewFile(uintptr(fd), "memfd:mews")
	// Without WriteTo and ReadFrom: these are pages of its own, and not the source's spliced in.
	n, err := io.Copy(struct{ io.Writer }{memfd}, struct{ io.Reader }{io.LimitReader(src, maxCopy+1)})
	switch {
	case err != nil:
		err = fmt.Errorf("copy %s to an anonymous file: %w", src.Name(), err)
	case n > maxCopy:
		err = fmt.Errorf("copy %s to an anonymous file: it is larger than %d MiB", src.Name(), maxCopy>>20)
	}
	if err != nil {
		return nil, errors.Join(err, memfd.Close())
	}
	return memfd, nil
}

func (a MemfdExec) check() error {
	return errors.Join(oneOf("descriptor to run", a.Run, memfdRuns), absolute(a.Src))
}

// needs: memfd_create is of Linux 3.17, younger than the oldest kernels that drivers are built for (3.10 of el7).
func (MemfdExec) needs() []string { return []string{"memfd_create"} }

func (a MemfdExec) fill(sub substitution) (Action, error) { return filled(a, sub) }
