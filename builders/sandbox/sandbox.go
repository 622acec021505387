// SPDX-License-Identifier: Apache-2.0

// Package sandbox knows how to run one command inside a build root, cut off from the machine and its network.
//
// The command sees the root read-only, one writable directory at a fixed place, a private /proc, /tmp and /dev, and
// nothing else: it runs in mount, pid, network, ipc and uts name spaces of its own (and in a user name space where mews
// is not root), without capabilities, and dies with mews.
package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// Limits bound a run. The zero value of a field means its default.
type Limits struct {
	Wall time.Duration // default 10 minutes
	// Memory in bytes. With Local it is the address space of each process, not of their sum: a cgroup would bound the
	// sum, as Docker does, but many hosts give none to write to. Default 4 GiB; cc1 needs about 400 MiB for Falco's module.
	Memory uint64
	// File is the size in bytes of the largest file that may be written. Default 1 GiB.
	File uint64
	// Processes is how many there may be at once. Default 1024. Local does not bound it: without a cgroup nothing does for root.
	Processes uint64
}

// OrDefault fills in the defaults.
func (l Limits) OrDefault() Limits {
	if l.Wall == 0 {
		l.Wall = 10 * time.Minute
	}
	if l.Memory == 0 {
		l.Memory = 4 << 30
	}
	if l.File == 0 {
		l.File = 1 << 30
	}
	if l.Processes == 0 {
		l.Processes = 1024
	}
	return l
}

// ScratchAt is where the command sees [Spec.Scratch]. It never changes, so that the paths a compiler writes into its
// output do not either.
const ScratchAt = "/build"

// Spec is one command to run.
type Spec struct {
	Root    string   // the build root; must hold the directories build, dev, proc and tmp
	RootKey string   // the digest of what Root holds: a runner that keeps images knows them by it
	Overlay []string // trees laid under Root, read-only: what Root has itself wins
	Scratch string   // the one writable directory, seen at ScratchAt
	Dir     string   // where the command starts; default ScratchAt
	Argv    []string // Argv[0] is an absolute path inside the root
	Env     []string // added to Environ
	Limits  Limits
	Log     io.Writer // gets what the command prints, standard error too
}

// Environ is the environment of every command, the same on every machine, so that a build can be repeated to the byte.
func Environ() []string {
	return []string{
		"HOME=/tmp",
		"LANG=C",
		"LC_ALL=C",
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"TZ=UTC",
		"SOURCE_DATE_EPOCH=0",
		"KBUILD_BUILD_USER=mews",
		"KBUILD_BUILD_HOST=mews",
		"KBUILD_BUILD_TIMESTAMP=1970-01-01",
	}
}

// Result is how the command ended. A command that ran and failed is a Result, not an error.
type Result struct {
	ExitCode int            // -1 when a signal ended it
	Signal   syscall.Signal // 0 when none did
	TimedOut bool           // Limits.Wall was over
	// OutOfMemory says that Limits.Memory killed a process, not always the command's own. Local never says so: there
	// the compiler is refused memory, and says so itself.
	OutOfMemory bool
	Elapsed     time.Duration
}

// Runner runs commands, each cut off as the package comment says.
type Runner interface {
	// Run runs one command. A command that ran and failed is a Result; the error is a *cause.Err of a runner that
	// could not run it, or CANCELLED when ctx ended first.
	Run(ctx context.Context, s Spec) (*Result, error)
}

// Local is the Runner that needs nothing but the kernel's name spaces.
type Local struct{}

// Run implements [Runner]; it is [Run].
func (Local) Run(ctx context.Context, s Spec) (*Result, error) { return Run(ctx, s) }

// marker is argv[0] of the process that sets the sandbox up; nobody types it.
const marker = "mews-sandbox-init"

// setupFailed is the exit status of that process when the command could not be started. What went wrong is on its pipe.
const setupFailed = 125

// Run runs one command. The error is a *cause.Err: TOOLCHAIN_BROKEN when the sandbox could not be made, CANCELLED
// when ctx ended first. [Init] must have been called first thing in main.
func Run(ctx context.Context, s Spec) (*Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	type outcome struct {
		r   *Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		// Pdeathsig fires when the thread that forked ends, not the process: this one must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		r, err := run(ctx, s)
		done <- outcome{r, err}
	}()
	o := <-done
	return o.r, o.err
}

// Check reports what keeps s from being run by any runner.
func (s *Spec) Check() error {
	broken := func(format string, args ...any) error {
		return cause.Errorf(cause.ToolchainBroken, cause.FaultHarness, "sandbox: "+format, args...)
	}
	if len(s.Argv) == 0 || !filepath.IsAbs(s.Argv[0]) {
		return broken("command %q is not an absolute path", s.Argv)
	}
	for _, p := range append([]string{s.Root, s.Scratch}, s.Overlay...) {
		if fi, err := os.Stat(p); err != nil {
			return broken("%w", err)
		} else if !fi.IsDir() || !filepath.IsAbs(p) {
			return broken("%s is not an absolute path of a directory", p)
		}
	}
	for _, d := range []string{ScratchAt[1:], "dev", "proc", "tmp"} {
		if fi, err := os.Lstat(filepath.Join(s.Root, d)); err != nil || !fi.IsDir() {
			return broken("the build root %s has no directory /%s to mount on", s.Root, d)
		}
	}
	return nil
}

// setup is what the sandbox's first process is told.
type setup struct {
	Root, Scratch, Dir string
	Overlay, Argv, Env []string
	Memory, File       uint64
	Host               int // the process id of the one that runs the sandbox, as its /proc has it
}

func run(ctx context.Context, s Spec) (*Result, error) {
	lim := s.Limits.OrDefault()
	wall, stop := context.WithTimeout(ctx, lim.Wall)
	defer stop()

	dir := s.Dir
	if dir == "" {
		dir = ScratchAt
	}
	spec, err := json.Marshal(setup{
		Host: os.Getpid(), Root: s.Root, Scratch: s.Scratch, Dir: dir, Overlay: s.Overlay, Argv: s.Argv,
		Env: append(Environ(), s.Env...), Memory: lim.Memory, File: lim.File,
	})
	if err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "sandbox: %w", err)
	}
	// The child reports on the pipe what kept the command from starting; a started command closes it unread.
	report, child, err := os.Pipe()
	if err != nil {
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "sandbox: %w", err)
	}
	defer report.Close()

	cmd := exec.CommandContext(wall, "/proc/self/exe")
	cmd.Args = []string{marker}
	cmd.Env = []string{}
	cmd.Stdin = bytes.NewReader(spec)
	cmd.Stdout, cmd.Stderr = s.Log, s.Log
	cmd.ExtraFiles = []*os.File{child}
	cmd.SysProcAttr = attr()
	// The first process of a pid name space takes all others with it, so nothing can hold the log's pipe open for long.
	cmd.WaitDelay = 5 * time.Second

	began := time.Now()
	err = cmd.Start()
	child.Close()
	if err != nil {
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "sandbox: cannot make name spaces: %w", err).
			Advise("run as root, or allow user name spaces: sysctl kernel.unprivileged_userns_clone=1")
	}
	trouble, _ := io.ReadAll(io.LimitReader(report, 64<<10))
	err = cmd.Wait()
	r := &Result{ExitCode: cmd.ProcessState.ExitCode(), Elapsed: time.Since(began)}
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		r.Signal = ws.Signal()
	}
	switch {
	case ctx.Err() != nil:
		return nil, cause.Errorf(cause.Cancelled, cause.FaultInfra, "sandbox: %s: %w", filepath.Base(s.Argv[0]), context.Cause(ctx))
	case r.ExitCode == setupFailed && len(trouble) > 0:
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "sandbox: %s", trouble).
			Advise("mews doctor says what this machine lacks")
	case wall.Err() != nil && r.ExitCode != 0:
		r.TimedOut = true
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !r.TimedOut {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "sandbox: log of %s: %w", filepath.Base(s.Argv[0]), err)
	}
	return r, nil
}

func attr() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true, // no controlling terminal to push input into
	}
	if uid := os.Geteuid(); uid != 0 {
		a.Cloneflags |= unix.CLONE_NEWUSER
		a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return a
}

// String is the form for logs.
func (r *Result) String() string {
	switch {
	case r.TimedOut:
		return fmt.Sprintf("killed after %s", r.Elapsed.Round(time.Second))
	case r.Signal != 0:
		return fmt.Sprintf("ended by signal %s", r.Signal)
	}
	return fmt.Sprintf("exit status %d", r.ExitCode)
}
