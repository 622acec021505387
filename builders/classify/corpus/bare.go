// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/builders/sandbox"
)

// bare is a runner that does what sandbox.Local would not: it leaves /proc out, or lets a memory cgroup (version 1) kill
// a process. It keeps the build off the network, and nothing else: it is for the recipes alone.
type bare struct {
	noProc bool
	memory int // MiB of the cgroup; 0 for none
}

// enter is run by the host's shell in name spaces of its own; $1 is the new root.
const enter = `set -e
mount --make-rprivate / 2>/dev/null || ! grep -q ' shared:' /proc/self/mountinfo # in a chroot, / may be no mount point
[ -z "$CGROUP" ] || echo $$ > "$CGROUP/cgroup.procs"
mount -t overlay overlay -o "ro,lowerdir=$LOWER" "$1"
mount --bind "$SCRATCH" "$1/build"
mount -t tmpfs tmpfs "$1/tmp"
mount --bind /dev "$1/dev"
[ -n "$NOPROC" ] || mount -t proc proc "$1/proc"
root=$1; shift
exec env -i $KEEP chroot "$root" "$@"
`

func (b bare) Run(ctx context.Context, s sandbox.Spec) (*sandbox.Result, error) {
	at, err := os.MkdirTemp("", "corpus-root-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(at)
	env := []string{"PATH=" + os.Getenv("PATH"), "LOWER=" + strings.Join(append([]string{s.Root}, s.Overlay...), ":"),
		"SCRATCH=" + s.Scratch, "KEEP=" + strings.Join(sandbox.Environ(), " ")}
	if b.noProc {
		env = append(env, "NOPROC=1")
	}
	if b.memory > 0 {
		for _, layer := range append([]string{s.Root}, s.Overlay...) {
			if err := readAhead(layer); err != nil {
				return nil, err
			}
		}
		cgroup := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("mews-corpus-%d", os.Getpid()))
		if err := os.Mkdir(cgroup, 0o755); err != nil {
			return nil, err
		}
		defer os.Remove(cgroup)
		if err := os.WriteFile(filepath.Join(cgroup, "memory.limit_in_bytes"), fmt.Appendf(nil, "%d", b.memory<<20), 0); err != nil {
			return nil, err
		}
		env = append(env, "CGROUP="+cgroup)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", enter, "sh", at}, s.Argv...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, s.Log, s.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID}
	began := time.Now()
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	r := &sandbox.Result{ExitCode: cmd.ProcessState.ExitCode(), Elapsed: time.Since(began)}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.Signal = ws.Signal()
	}
	return r, nil
}

// readAhead brings a layer's compilers and libraries into memory, and so on the account of this process's cgroup. Those that were
// read in the small one first would be thrown out of it and read again without end, in place of the kill that is wanted (seen:
// cc1 for ten minutes).
func readAhead(layer string) error {
	for _, dir := range []string{"usr/bin", "usr/lib/gcc", "usr/lib/x86_64-linux-gnu"} {
		err := filepath.WalkDir(filepath.Join(layer, dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !e.Type().IsRegular() {
				return err
			}
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.Copy(io.Discard, f)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
