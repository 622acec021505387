// SPDX-License-Identifier: Apache-2.0

// Package parts knows how what a cell consists of is made out of packages: kernel, disks, initramfs, driver.
package parts

import (
	"cmp"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
	// HeadersOnly: kernels are looked for to build for them. Whether their images can be had is of no matter.
	HeadersOnly bool

	fetchers fetchers
	index    *index
}

var _ harness.Parts = (*Workshop)(nil)

// guestModules are what our machine and its disks need of a kernel that has them as modules, and overlayfs, on which
// containers stand.
var guestModules = []string{"virtio_pci", "virtio_console", "virtio_blk", "virtio-rng", "ext4", "overlay"}

// spareModule is for scenarios that load one: it needs no hardware and no other module, and hardly does a thing.
const spareModule = "dummy"

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
	// A kernel without it has one scenario less, and says so when that is done.
	if spare, err := f.Modules(spareModule); err == nil && len(spare) == 1 {
		mods = append(mods, initramfs.Module{Name: spare[0].Name, Data: spare[0].Data, Spare: true})
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
	own, err := ownFiles(c.Consumer.Files)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		serial string
		set    matrix.Packages
		files  []root.File
	}{{agent.UserlandDisk, userland, own}, {agent.ContainerDisk, w.Image, nil}} {
		pkgs, err := w.closure(ctx, d.set)
		if err != nil {
			return nil, err
		}
		img, err := w.Roots.Disk(ctx, root.DiskSpec{Packages: pkgs, Dirs: localDirs, Files: d.files})
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

// ownFiles reads what the user puts into a guest's root.
func ownFiles(files []matrix.File) ([]root.File, error) {
	var out []root.File
	for _, f := range files {
		mode, err := strconv.ParseInt(cmp.Or(f.Mode.V, "0755"), 8, 32)
		if err != nil {
			return nil, f.Mode.Errorf("%v", err)
		}
		file, err := os.Open(f.From.V)
		if err != nil {
			return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read a consumer's file: %w", err)
		}
		content, err := io.ReadAll(io.LimitReader(file, matrix.MaxFile+1))
		file.Close()
		switch {
		case err != nil:
			return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "read a consumer's file: %w", err)
		case len(content) > matrix.MaxFile:
			return nil, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "%s has more than %d bytes by now", f.From.V, matrix.MaxFile)
		}
		out = append(out, root.File{Path: strings.TrimPrefix(f.To.V, "/"), Mode: mode, Content: content})
	}
	return out, nil
}
