// SPDX-License-Identifier: Apache-2.0

// Package docker knows how to run the commands of a build in containers of a Docker daemon.
//
// A build root becomes an image once, named by the root's key; no registry is asked. A container has no network, a
// read-only root, no capabilities, a user that is not root, and bounds on memory, processes and time. What it is told
// and sees is the same as in [sandbox.Local], so that both make the same bytes.
package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/client"

	"github.com/mews-farm/mews/results/cause"
)

// Labels of what is ours on a daemon that others use too. Images carry the first two, containers the last.
const (
	LabelRoot   = "farm.mews.root"   // the key of the build root
	LabelRecipe = "farm.mews.recipe" // how the image was made of it
	LabelOwner  = "farm.mews.owner"  // the process that started the container: see owner
)

// Repository is the name of our images; their tag is the key of the root.
const Repository = "mews/root"

// Options of a [Runner]. The zero value means the usual.
type Options struct {
	Host string // unix:///var/run/docker.sock; "": $DOCKER_HOST, else Docker's default
}

// Runner is a sandbox.Runner of one Docker daemon. It is safe for concurrent use.
type Runner struct {
	cli  *client.Client
	info Info

	mu    sync.Mutex
	roots map[string]*sync.Mutex // by key: who makes the image now
}

// Info is what the daemon says of itself.
type Info struct {
	Host    string // where it is asked
	Version string
	Storage string // its storage driver: overlay2, fuse-overlayfs, ...
}

// patience is how long a daemon may take for an answer that needs no work.
const patience = 10 * time.Second

// New connects to the daemon and removes the containers of runs that were killed. The error is a *cause.Err:
// BUILDER_LOST when no daemon answers, TOOLCHAIN_BROKEN when one does that cannot be used.
func New(ctx context.Context, o Options) (*Runner, error) {
	opts := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if o.Host != "" {
		opts = append(opts, client.WithHost(o.Host))
	}
	cli, err := client.NewClientWithOpts(opts...)
	if err != nil {
		return nil, unusable("%w", err)
	}
	r := &Runner{cli: cli, roots: map[string]*sync.Mutex{}}
	if err := r.greet(ctx); err != nil {
		return nil, errors.Join(err, cli.Close())
	}
	return r, nil
}

// greet asks the daemon who it is.
func (r *Runner) greet(ctx context.Context) error {
	short, stop := context.WithTimeout(ctx, patience)
	defer stop()
	info, err := r.cli.Info(short)
	if err != nil {
		return r.failed(ctx, "ask the daemon for what it is", err)
	}
	r.info = Info{Host: r.cli.DaemonHost(), Version: info.ServerVersion, Storage: info.Driver}
	if info.OSType != "linux" {
		return unusable("the Docker daemon runs %s containers", info.OSType)
	}
	// There the user of a container is another one on this host, and could not write to the scratch directory.
	for _, s := range info.SecurityOptions {
		if strings.Contains(s, "name=rootless") || strings.Contains(s, "name=userns") {
			return unusable("the Docker daemon maps users to others (%s)", s)
		}
	}
	// The daemon binds directories by their paths, as it has them.
	if err := r.sameFiles(); err != nil {
		return err
	}
	return r.reap(short)
}

func unusable(format string, args ...any) error {
	return cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "docker: "+format, args...).Advise("build with --builder local")
}

// Info is what the daemon said of itself.
func (r *Runner) Info() Info { return r.info }

// Close ends the connection to the daemon. Images stay.
func (r *Runner) Close() error { return r.cli.Close() }

// failed gives an error of the daemon its cause. ctx is the caller's.
func (r *Runner) failed(ctx context.Context, what string, err error) error {
	var known *cause.Err
	switch {
	case errors.As(err, &known):
		return err
	case ctx.Err() != nil:
		return cause.Errorf(cause.Cancelled, cause.FaultInfra, "docker: %s: %w", what, context.Cause(ctx))
	case errors.Is(err, syscall.ENOSPC), strings.Contains(err.Error(), "no space left on device"):
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "docker: %s: %w", what, err).
			Advise("free some space where Docker keeps its images: mews prune, docker system prune")
	case answered(err):
		return cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "docker: %s: %w", what, err).Advise("build with --builder local")
	}
	return r.lost(what, err)
}

// lost is the daemon that does not answer: of the driver it says nothing.
func (r *Runner) lost(what string, err error) error {
	return cause.Errorf(cause.BuilderLost, cause.FaultInfra, "docker: %s: %w", what, err).
		With(cause.Evidence{Text: "the daemon is asked at " + r.cli.DaemonHost()}).
		Advise("see whether the daemon runs (docker info), or build with --builder local")
}

// answered reports whether err is the daemon's own, and not the want of it.
func answered(err error) bool {
	return !client.IsErrConnectionFailed(err) && slices.ContainsFunc([]func(error) bool{
		errdefs.IsInvalidArgument, errdefs.IsNotFound, errdefs.IsConflict, errdefs.IsPermissionDenied,
		errdefs.IsNotImplemented, errdefs.IsInternal, errdefs.IsFailedPrecondition, errdefs.IsUnauthorized,
	}, func(is func(error) bool) bool { return is(err) })
}

// owner names this process so that another one can tell whether it is still there: host, process id, and the time it
// was started at, since ids come again.
func owner() string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	pid := os.Getpid()
	return fmt.Sprintf("%s/%d/%s", host, pid, startedAt(pid))
}

// startedAt is the start of a process in ticks since the host's, as proc_pid_stat(5) has it; "" of one that is gone.
func startedAt(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The second field is the command in brackets, which may hold anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const starttime = 22 - 3
	if len(fields) <= starttime {
		return ""
	}
	return fields[starttime]
}

// orphaned reports whether the process that label names was one of this host, and is gone.
func orphaned(label string) bool {
	parts := strings.Split(label, "/")
	if len(parts) != 3 || !strings.HasPrefix(owner(), parts[0]+"/") {
		return false
	}
	pid, err := strconv.Atoi(parts[1])
	return err == nil && startedAt(pid) != parts[2]
}

// reap removes the containers that a killed mews left.
func (r *Runner) reap(ctx context.Context) error {
	all, err := r.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("label", LabelOwner))})
	if err != nil {
		return r.failed(ctx, "list containers", err)
	}
	for _, c := range all {
		if orphaned(c.Labels[LabelOwner]) {
			if err := r.remove(ctx, c.ID); err != nil {
				return err
			}
		}
	}
	return nil
}

// Prune removes those images of ours that no container uses and whose root's key is not to be kept, and returns the keys.
// A build that needs one of them makes it again.
func (r *Runner) Prune(ctx context.Context, keep func(key string) bool) (keys []string, err error) {
	all, err := r.cli.ImageList(ctx, image.ListOptions{Filters: filters.NewArgs(filters.Arg("label", LabelRoot))})
	if err != nil {
		return nil, r.failed(ctx, "list images", err)
	}
	for _, i := range all {
		if keep != nil && keep(i.Labels[LabelRoot]) {
			continue
		}
		_, err := r.cli.ImageRemove(ctx, i.ID, image.RemoveOptions{PruneChildren: true, Force: len(i.RepoTags) > 1})
		switch {
		case errdefs.IsConflict(err), errdefs.IsNotFound(err):
		case err != nil:
			return keys, r.failed(ctx, "remove an image", err)
		default:
			keys = append(keys, i.Labels[LabelRoot])
		}
	}
	return keys, nil
}

// remove takes a container away, running or not; one that is gone already is no error. It is done although ctx may be over.
func (r *Runner) remove(ctx context.Context, id string) error {
	short, stop := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer stop()
	err := r.cli.ContainerRemove(short, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	// "removal of container ... is already in progress" is a conflict.
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		return nil
	}
	return r.failed(short, "remove the container "+id[:12], err)
}
