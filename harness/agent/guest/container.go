// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// containerAgent is where this binary is in a container: a file of a tmpfs, so that executing it is not
// executing something of the container's upper layer.
const containerAgent = "/.mews/agent"

// container is one OCI container of the image on the container disk: overlayfs as its root, as every container
// engine makes it, its upper layer on a tmpfs.
type container struct {
	id     string // 64 hexadecimal digits, as engines name containers
	bundle string
	setup  scenarios.Setup
	legacy *legacyCgroups // nil: its cgroup is of version 2
}

// bind is the host's directory of its i-th bind mount.
func (c *container) bind(i int) string { return filepath.Join(c.bundle, "bind"+strconv.Itoa(i)) }

// actorInContainer starts an actor as the init of a container of its own.
func (a *Agent) actorInContainer(ctx context.Context, id string, setup scenarios.Setup) (*actor, error) {
	if _, err := os.Stat(imageDir); err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the deed wants a container, but there is no image: %w", err).
			Advise("the machine needs a disk with the serial number %s", "container")
	}
	sum := sha256.Sum256([]byte(id))
	c := &container{id: hex.EncodeToString(sum[:]), bundle: filepath.Join(a.State, "bundle-"+id), setup: setup}
	if c.setup.Cgroup == scenarios.CgroupV1 {
		err := a.endActors(ctx) // they hold controllers of version 2
		if err != nil {
			return nil, err
		}
		if c.legacy, err = mountLegacyCgroups(ctx); err != nil {
			return nil, errors.Join(err, c.legacy.unmount(context.WithoutCancel(ctx)))
		}
	}
	if err := c.prepare(id); err != nil {
		return nil, errors.Join(cause.Errorf(cause.Internal, cause.FaultHarness, "prepare a container: %w", err), c.strike(ctx))
	}
	p := &actor{id: id, strikes: c.strike, exceeds: func() string { return exceeded(c.cgroup()) }, mayStay: c.legacy == nil}
	// runc ends before its garbage is worth collecting: 0.55 s of an emulated guest instead of 0.75 to 1.4 s. See Init for the other.
	if err := a.startActor(ctx, p, []string{"GOGC=off", "GODEBUG=asyncpreemptoff=1"}, "runc", "run", "--bundle", c.bundle, c.id); err != nil {
		return nil, errors.Join(err, c.strike(ctx))
	}
	return p, nil
}

// strike leaves nothing of the container, though the deed's time be over.
func (c *container) strike(ctx context.Context) error {
	err := c.remove()
	if c.legacy != nil {
		err = errors.Join(err, c.legacy.unmount(context.WithoutCancel(ctx)))
	}
	return err
}

// prepare makes the bundle: the mounted root and config.json.
func (c *container) prepare(deed string) error {
	if err := mount("bundle", c.bundle, "tmpfs", unix.MS_NODEV, "mode=0755,size=128m"); err != nil {
		return err
	}
	upper, work, root := filepath.Join(c.bundle, "upper"), filepath.Join(c.bundle, "work"), filepath.Join(c.bundle, "rootfs")
	if err := mkdirs(upper, work, root); err != nil {
		return err
	}
	if c.setup.UserNamespace {
		// As userns-remap does: the container's root owns its root directory.
		if err := os.Chown(upper, mappedRoot, mappedRoot); err != nil {
			return err
		}
	}
	options := append([]string{"lowerdir=" + imageDir, "upperdir=" + upper, "workdir=" + work}, c.setup.Overlay...)
	if err := mount("overlay", root, "overlay", 0, strings.Join(options, ",")); err != nil {
		return err
	}
	for i := range c.setup.Binds {
		if err := errors.Join(os.Mkdir(c.bind(i), 0o777), os.Chmod(c.bind(i), 0o777|fs.ModeSticky)); err != nil {
			return err
		}
	}
	config, err := json.Marshal(c.spec(deed))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(c.bundle, "config.json"), config, 0o600)
}

// remove deletes the container and its mounts.
func (c *container) remove() error {
	var errs []error
	if _, err := os.Stat(filepath.Join("/run/runc", c.id)); err == nil {
		// runc deletes a container that ended by itself; what is left is one that was killed.
		out, err := exec.Command("runc", "delete", "--force", c.id).CombinedOutput()
		if err != nil {
			errs = append(errs, cause.Errorf(cause.Internal, cause.FaultHarness, "delete a container: %w", err).With(cause.Text(string(out))...))
		}
	}
	for _, dir := range []string{filepath.Join(c.bundle, "rootfs"), c.bundle} {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, ours("unmount "+dir, err))
		}
	}
	if err := os.Remove(c.bundle); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, ours("remove a container's bundle", err))
	}
	if c.legacy != nil {
		return errors.Join(append(errs, c.legacy.remove(cgroupPath(c.setup, c.id)))...)
	}
	return errors.Join(append(errs, removeCgroup(cgroupRoot, cgroupPath(c.setup, c.id)))...)
}

// cgroup is the directory of its cgroup, where its bounds are.
func (c *container) cgroup() string {
	if c.legacy != nil {
		return filepath.Join(cgroupRoot, "pids", cgroupPath(c.setup, c.id))
	}
	return filepath.Join(cgroupRoot, cgroupPath(c.setup, c.id))
}
