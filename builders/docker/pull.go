// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/pkg/stdcopy"

	"github.com/mews-farm/mews/results/cause"
)

// installTime bounds the command that completes a pulled image.
const installTime = 15 * time.Minute

// Export pulls the image that ref names by its digest, unless the daemon has it, runs install in it, if there is such a
// command, with the daemon's default network, and returns its file tree as a tar archive.
// The error is MIRROR_UNREACHABLE when the registry cannot be reached, PACKAGE_MISSING when it does not have the image,
// PACKAGE_CORRUPT when what it serves has another digest, and TOOLCHAIN_BROKEN when install fails.
func (r *Runner) Export(ctx context.Context, ref string, install []string) (io.ReadCloser, error) {
	if err := r.pull(ctx, ref); err != nil {
		return nil, err
	}
	if len(install) == 0 {
		install = []string{"/bin/sh"} // never run: a container must have a command
	}
	made, err := r.cli.ContainerCreate(ctx, &container.Config{
		Image: ref, Entrypoint: install, AttachStdout: true, AttachStderr: true, Labels: map[string]string{LabelOwner: owner()},
	}, &container.HostConfig{LogConfig: container.LogConfig{Type: "none"}}, nil, nil, "")
	if err != nil {
		return nil, r.failed(ctx, "make a container of "+ref, err)
	}
	out, err := r.complete(ctx, made.ID, ref, install)
	if err != nil {
		return nil, errors.Join(err, r.remove(ctx, made.ID))
	}
	return &exported{ReadCloser: out, done: func() error { return r.remove(ctx, made.ID) }}, nil
}

// exported takes the container away when its tree was read.
type exported struct {
	io.ReadCloser
	done func() error
}

func (e *exported) Close() error { return errors.Join(e.ReadCloser.Close(), e.done()) }

func (r *Runner) complete(ctx context.Context, id, ref string, install []string) (io.ReadCloser, error) {
	if install[0] != "/bin/sh" || len(install) > 1 {
		if err := r.install(ctx, id, ref, install); err != nil {
			return nil, err
		}
	}
	out, err := r.cli.ContainerExport(ctx, id)
	if err != nil {
		return nil, r.failed(ctx, "export "+ref, err)
	}
	return out, nil
}

func (r *Runner) install(ctx context.Context, id, ref string, argv []string) error {
	ctx, stop := context.WithTimeout(ctx, installTime)
	defer stop()
	pipe, err := r.cli.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return r.failed(ctx, "attach to the container", err)
	}
	defer pipe.Close()
	log := &tail{}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = stdcopy.StdCopy(log, log, pipe.Reader) // that the connection broke, the wait says
	}()
	ended, failed := r.cli.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := r.cli.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return r.failed(ctx, "start the container", err)
	}
	select {
	case err := <-failed:
		return r.failed(ctx, "complete "+ref, err)
	case status := <-ended:
		if status.StatusCode == 0 {
			return nil
		}
		select {
		case <-copied:
		case <-time.After(patience):
			pipe.Close()
			<-copied
		}
		return cause.Errorf(cause.ToolchainBroken, cause.FaultInfra, "builder image %s: %q ended with status %d", ref, strings.Join(argv, " "), status.StatusCode).
			With(cause.Text(log.lines()...)...).Advise("it needs the network of the image's distribution")
	}
}

// tail keeps the end of what is written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	const most = 2 << 10
	t.kept = append(t.kept, p...)
	if len(t.kept) > most {
		t.kept = t.kept[len(t.kept)-most:]
	}
	return len(p), nil
}

func (t *tail) lines() []string {
	return strings.Split(strings.TrimSpace(strings.ToValidUTF8(string(t.kept), "?")), "\n")
}

func (r *Runner) pull(ctx context.Context, ref string) error {
	_, err := r.cli.ImageInspect(ctx, ref)
	if err == nil {
		return nil
	}
	if !errdefs.IsNotFound(err) {
		return r.failed(ctx, "look for the image "+ref, err)
	}
	said, err := r.cli.ImagePull(ctx, ref, image.PullOptions{})
	if err == nil {
		defer said.Close()
		err = messages(said)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil, errors.Is(err, errConversation):
		return r.failed(ctx, "pull "+ref, err)
	case strings.Contains(err.Error(), "no space left on device"):
		return r.failed(ctx, "pull "+ref, err)
	}
	return refused(ref, err)
}

// refused is what the daemon says of a registry, which it says in words alone: status 404 and 500, or a message in the stream.
func refused(ref string, err error) error {
	e := cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "builder image %s cannot be pulled: %w", ref, err).
		Advise("see whether the registry can be reached from the Docker daemon, or pick a compiler of an image that is made of packages: mews build --compilers all lists them")
	switch text := err.Error(); {
	case strings.Contains(text, "verification failed"), strings.Contains(text, "does not match"), strings.Contains(text, "invalid checksum digest"), strings.Contains(text, "filesystem layer verification"):
		e.Cause = cause.PackageCorrupt
		e.Advise("the registry serves something else under this digest: do not use it")
	case strings.Contains(text, "manifest unknown"), strings.Contains(text, "not found: "), strings.Contains(text, "does not exist"):
		e.Cause = cause.PackageMissing
		e.Advise("the registry no longer has this digest: name a newer one in the image's definition")
	}
	return e
}
