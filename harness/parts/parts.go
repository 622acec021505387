// SPDX-License-Identifier: Apache-2.0

// Package parts knows how what a cell consists of is made out of packages: kernel, disks, initramfs, driver.
package parts

import (
	"context"
	"path/filepath"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

// Workshop makes the parts of cells. It is safe for concurrent use; each part is made once and kept by content.
type Workshop struct {
	Matrix  *matrix.Matrix
	Image   matrix.Packages // what containers are made of
	Debian  *debian.Source
	Sources *Sources
	Archive *archive.Archive
	Trees   *kernels.Trees
	Roots   *root.Cache
	Dir     string // for initramfs
	Agent   string // the agent's binary
	Arch    string // of kernels; "": x86_64

	fetchers fetchers
	index    *index
}

var _ harness.Parts = (*Workshop)(nil)

// guestModules are what our machine and its disks need of a kernel that has them as modules, and overlayfs, on which
// containers stand.
var guestModules = []string{"virtio_pci", "virtio_console", "virtio_blk", "virtio-rng", "ext4", "overlay"}

// localDirs are made by base-files in its maintainer script, and every installed system and image has them.
var localDirs = []string{"usr/local/bin", "usr/local/sbin"}

// Kernel implements harness.Parts.
func (w *Workshop) Kernel(ctx context.Context, r *kernels.Resolved) (*kernels.Files, error) {
	return w.Trees.Files(ctx, r)
}

// Initramfs implements harness.Parts.
func (w *Workshop) Initramfs(_ context.Context, f *kernels.Files) (string, error) {
	needed, err := f.Modules(guestModules...)
	if err != nil {
		return "", err
	}
	mods := make([]initramfs.Module, len(needed))
	for i, m := range needed {
		mods[i] = initramfs.Module{Name: m.Name, Data: m.Data}
	}
	return initramfs.Cached(filepath.Join(w.Dir, "initramfs"), w.Agent, mods)
}

// Disks implements harness.Parts.
func (w *Workshop) Disks(ctx context.Context, c *harness.Cell) ([]machine.Disk, error) {
	userland, ok := w.Matrix.Userlands.Get(c.Consumer.Userland.V)
	if !ok {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "the matrix was checked, and yet has no userland %q", c.Consumer.Userland.V)
	}
	var disks []machine.Disk
	for _, d := range []struct {
		serial string
		set    matrix.Packages
	}{{agent.UserlandDisk, userland}, {agent.ContainerDisk, w.Image}} {
		pkgs, err := w.closure(ctx, d.set)
		if err != nil {
			return nil, err
		}
		img, err := w.Roots.Disk(ctx, root.DiskSpec{Packages: pkgs, Dirs: localDirs})
		if err != nil {
			return nil, err
		}
		disks = append(disks, machine.Disk{Path: img.Path, Serial: d.serial, ReadOnly: true})
	}
	return disks, nil
}

func (w *Workshop) closure(ctx context.Context, set matrix.Packages) ([]kernels.Package, error) {
	return w.index.Closure(ctx, matrix.Values(set.Suites), matrix.Values(set.Packages)...)
}
