// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-units"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/results/cause"
)

var _ sandbox.Runner = (*Runner)(nil)

// entry runs the command with both outputs in one pipe, as on a terminal or in sandbox.Local: two would reach the log in
// an order of their own, and which step an error belongs to is told by its place. It takes away what Docker and dash add
// to the environment, and says when there is no command, which is not one that failed.
const (
	entry     = `[ -x "$1" ] || { echo "$0: no program $1"; exit 125; }; unset HOSTNAME PWD OLDPWD; exec "$@" 2>&1`
	entryName = "mews-entry"
)

// nobody is the user of containers where mews is root; elsewhere it is mews' own.
const nobody = 65534

// Run implements [sandbox.Runner]. The root must have a /usr/bin/sh, and the spec a RootKey. Limits.Memory bounds all
// processes together. Where mews is root, the files in Scratch become nobody's.
// The error is BUILDER_LOST when the daemon went away: what it ran has no verdict then.
func (r *Runner) Run(ctx context.Context, s sandbox.Spec) (*sandbox.Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	ref, err := r.ensure(ctx, s.Root, s.RootKey)
	if err != nil {
		return nil, err
	}
	mounts, err := lay(s.Root, s.Overlay)
	if err != nil {
		return nil, unusable("lay the headers over the build root: %w", err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 {
		uid, gid = nobody, nobody
		if err := give(s.Scratch, uid, gid); err != nil {
			return nil, unusable("give the scratch directory to user %d: %w", uid, err)
		}
	}
	mounts = append(mounts, mount.Mount{Type: mount.TypeBind, Source: s.Scratch, Target: sandbox.ScratchAt,
		BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}})
	config, host := r.container(s, ref, strconv.Itoa(uid)+":"+strconv.Itoa(gid), mounts)
	made, err := r.cli.ContainerCreate(ctx, config, host, nil, nil, "")
	if errdefs.IsNotFound(err) { // somebody pruned the image since
		if _, err = r.ensure(ctx, s.Root, s.RootKey); err == nil {
			made, err = r.cli.ContainerCreate(ctx, config, host, nil, nil, "")
		}
	}
	if err != nil {
		return nil, r.failed(ctx, "make a container", err)
	}
	res, err := r.run(ctx, made.ID, s)
	if rm := r.remove(ctx, made.ID); rm != nil && err == nil {
		err = rm
	}
	if err != nil {
		return nil, err
	}
	return res, nil
}

func (r *Runner) container(s sandbox.Spec, ref, user string, mounts []mount.Mount) (*container.Config, *container.HostConfig) {
	dir := s.Dir
	if dir == "" {
		dir = sandbox.ScratchAt
	}
	lim := s.Limits.OrDefault()
	memory, pids := int64(lim.Memory), int64(lim.Processes)
	config := &container.Config{
		Image: ref, User: user, Hostname: "mews", WorkingDir: dir, Env: append(sandbox.Environ(), s.Env...),
		Entrypoint:   append([]string{"/usr/bin/sh", "-c", entry, entryName}, s.Argv...),
		AttachStdout: true, AttachStderr: true, NetworkDisabled: true,
		Labels: map[string]string{LabelOwner: owner()},
	}
	return config, &container.HostConfig{
		NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		Mounts:    mounts,
		Tmpfs:     map[string]string{"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=1g"},
		LogConfig: container.LogConfig{Type: "none"}, // the daemon would keep a second copy of the log, without bound
		Resources: container.Resources{
			Memory: memory, MemorySwap: memory, PidsLimit: &pids,
			Ulimits: []*units.Ulimit{{Name: "fsize", Soft: int64(lim.File), Hard: int64(lim.File)}, {Name: "core"}},
		},
	}
}

// run starts the container and waits for its end.
func (r *Runner) run(ctx context.Context, id string, s sandbox.Spec) (*sandbox.Result, error) {
	pipe, err := r.cli.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, r.failed(ctx, "attach to the container", err)
	}
	defer pipe.Close()
	log := &logWriter{to: s.Log}
	copied := make(chan error, 1)
	go func() { copied <- log.copy(pipe) }()

	// The wait must outlive ctx: the end of a killed container is waited for too.
	whole, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended, failed := r.cli.ContainerWait(whole, id, container.WaitConditionNextExit)
	began := time.Now()
	if err := r.cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return nil, r.failed(ctx, "start the container", err)
	}
	wall, done := context.WithTimeout(ctx, s.Limits.OrDefault().Wall)
	defer done()
	res := &sandbox.Result{}
	var status container.WaitResponse
	select {
	case status = <-ended:
	case err := <-failed:
		return nil, r.interrupted(ctx, err)
	case <-wall.Done():
		res.TimedOut = true
		if err := r.kill(ctx, id); err != nil {
			return nil, err
		}
		select {
		case status = <-ended:
		case err := <-failed:
			return nil, r.interrupted(ctx, err)
		case <-time.After(patience):
			return nil, r.lost("wait for the end of a killed container", errors.New("it does not end"))
		}
	}
	res.Elapsed = time.Since(began)
	if ctx.Err() != nil {
		return nil, cause.Errorf(cause.Cancelled, cause.FaultInfra, "docker: %s: %w", filepath.Base(s.Argv[0]), context.Cause(ctx))
	}
	if status.Error != nil && status.Error.Message != "" {
		return nil, unusable("the container failed: %s", status.Error.Message)
	}
	// Whoever holds the pipe died with the container; the daemon may still be passing on what was written.
	select {
	case err := <-copied:
		if err != nil {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "docker: log of %s: %w", filepath.Base(s.Argv[0]), err)
		}
	case <-time.After(patience):
		return nil, r.lost("read the log of the container", errors.New("it does not end although the container did"))
	}
	if missing := entryName + ": no program "; status.StatusCode == 125 && strings.HasPrefix(log.head, missing) {
		return nil, cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "docker: %s: not in the build root", s.Argv[0])
	}
	return res, r.ending(ctx, id, status.StatusCode, res)
}

// ending fills in how the command ended. Docker says 128 and the number for a signal.
func (r *Runner) ending(ctx context.Context, id string, status int64, res *sandbox.Result) error {
	res.ExitCode = int(status)
	if status > 128 && status < 128+65 {
		res.ExitCode, res.Signal = -1, syscall.Signal(status-128)
	}
	if res.ExitCode == 0 {
		res.TimedOut = false
	}
	c, err := r.cli.ContainerInspect(ctx, id)
	if err != nil {
		return r.failed(ctx, "look at the container's end", err)
	}
	if c.ContainerJSONBase == nil || c.State == nil {
		return unusable("the daemon does not say how the container ended")
	}
	res.OutOfMemory = c.State.OOMKilled
	return nil
}

func (r *Runner) interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return r.failed(ctx, "wait for the container", err)
	}
	return r.lost("the daemon went away while the container ran", err)
}

// kill ends the container; that it has just ended by itself is no error.
func (r *Runner) kill(ctx context.Context, id string) error {
	short, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	err := r.cli.ContainerKill(short, id, "KILL")
	if err == nil || strings.Contains(err.Error(), "is not running") {
		return nil
	}
	return r.failed(short, "stop the container", err)
}

// logWriter goes on reading after an error of the log's own writer, so that the command is not blocked by a full pipe.
type logWriter struct {
	to   io.Writer // may be nil
	head string    // the first bytes
	err  error
}

func (w *logWriter) Write(p []byte) (int, error) {
	if room := 64 - len(w.head); room > 0 {
		w.head += string(p[:min(room, len(p))])
	}
	if w.to != nil && w.err == nil {
		_, w.err = w.to.Write(p)
	}
	return len(p), nil
}

// copy passes on what the container prints and returns the error of the log's writer. That the connection broke is
// nothing of its own: the wait says so too, or the log was whole.
func (w *logWriter) copy(pipe types.HijackedResponse) error {
	_, _ = stdcopy.StdCopy(w, w, pipe.Reader)
	return w.err
}

// give makes a tree somebody's. Links are not followed.
func give(dir string, uid, gid int) error {
	in, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	return fs.WalkDir(in.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return in.Lchown(name, uid, gid)
	})
}
