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

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// containerAgent is where this binary is in a container: a file of a tmpfs, so that executing it is not
// executing something of the container's upper layer.
const containerAgent = "/.mews/agent"

// container is one OCI container of the image on the container disk: overlayfs as its root, as every container
// engine makes it, its upper layer on a tmpfs.
type container struct {
	id     string // 64 hexadecimal digits, as Docker names containers
	bundle string
}

// actInContainer does a deed as the init of a container of its own, and leaves nothing of it.
func (a *Agent) actInContainer(ctx context.Context, id string, request []byte) (result []byte, err error) {
	if _, statErr := os.Stat(imageDir); statErr != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the deed wants a container, but there is no image: %w", statErr).
			Advise("the machine needs a disk with the serial number %s", "container")
	}
	sum := sha256.Sum256([]byte(id))
	c := &container{id: hex.EncodeToString(sum[:]), bundle: filepath.Join(a.State, "bundle-"+id)}
	defer func() { err = errors.Join(err, c.remove()) }()
	if err := c.prepare(id); err != nil {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "prepare a container: %w", err)
	}
	return a.act(ctx, exec.CommandContext(ctx, "runc", "run", "--bundle", c.bundle, c.id), id, request)
}

// prepare makes the bundle: the mounted root and config.json.
func (c *container) prepare(deed string) error {
	if err := mount("bundle", c.bundle, "tmpfs", unix.MS_NODEV, "mode=0755"); err != nil {
		return err
	}
	upper, work, root := filepath.Join(c.bundle, "upper"), filepath.Join(c.bundle, "work"), filepath.Join(c.bundle, "rootfs")
	if err := mkdirs(upper, work, root); err != nil {
		return err
	}
	if err := mount("overlay", root, "overlay", 0, "lowerdir="+imageDir+",upperdir="+upper+",workdir="+work); err != nil {
		return err
	}
	config, err := json.Marshal(containerSpec(c.id, deed))
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
	if err := os.Remove(filepath.Join(cgroupRoot, dockerParent, c.id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, ours("remove a container's cgroup", err))
	}
	return errors.Join(errs...)
}
