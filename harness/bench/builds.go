// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/kbuild"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
)

// Both ends of a ratio build this driver.
const (
	driverName    = "falco-kmod"
	driverSuite   = "sid"
	driverPackage = "falcosecurity-scap-dkms"
)

// coldBuild compares the processor time of building a module with that of one make by hand, in the same root, against the
// same headers.
func coldBuild(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "debian-6.12")
	if err != nil {
		return nil, err
	}
	r, err := buildOf(ctx, shop, plan.Cells[0].Resolved)
	if err != nil {
		return nil, err
	}
	var ours, bare []float64
	for range rounds {
		t, err := bareMake(ctx, r)
		if err != nil {
			return nil, err
		}
		bare = append(bare, t)
		if t, err = ownBuild(ctx, r); err != nil {
			return nil, err
		}
		ours = append(ours, t)
	}
	return []figure{{
		Name:  "cold build of " + driverName + " for " + r.Kernel.Kernel.Release + ", processor time",
		Value: median(ours) / median(bare), Unit: "x", Goal: 1.05, Reference: "a bare make in the same root, s", ReferenceValue: median(bare),
	}}, nil
}

// buildOf is what a build of the driver for a kernel takes.
func buildOf(ctx context.Context, shop *parts.Workshop, k *kernels.Resolved) (*kbuild.Request, error) {
	files, err := shop.Trees.HeaderFiles(ctx, k)
	if err != nil {
		return nil, err
	}
	own, err := files.Config.Compiler()
	if err != nil {
		return nil, err
	}
	set, err := images.Builtin()
	if err != nil {
		return nil, err
	}
	choice, err := set.Choose(own, images.Want{Distro: k.Kernel.Distro, Suite: k.Suite, Arch: k.Kernel.Arch, NoRegistry: true})
	if err != nil {
		return nil, err
	}
	made, err := (&images.Maker{Packages: shop.Debian, Roots: shop.Roots}).Root(ctx, choice)
	if err != nil {
		return nil, err
	}
	pkg, err := shop.Debian.Find(ctx, []string{driverSuite}, driverPackage)
	if err != nil {
		return nil, err
	}
	deb, err := shop.Debian.Fetch(ctx, pkg)
	if err != nil {
		return nil, err
	}
	src, err := source.Open(ctx, shop.Archive, deb, source.Options{})
	if err != nil {
		return nil, err
	}
	return &kbuild.Request{Kernel: files, Resolved: k, Source: src, Root: made.Root}, nil
}

// both is the processor time of this process and of those that it waited for.
func both(f func() error) (float64, error) {
	var self float64
	children, err := cpu(syscall.RUSAGE_CHILDREN, func() (err error) {
		self, err = cpu(syscall.RUSAGE_SELF, f)
		return err
	})
	return self + children, err
}

// ownBuild builds as the farm does, and remembers nothing.
func ownBuild(ctx context.Context, r *kbuild.Request) (float64, error) {
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	req := *r
	req.Out = dir
	return both(func() error {
		_, err := kmod.Build(ctx, req)
		return err
	})
}

// bareMake is what somebody would type.
func bareMake(ctx context.Context, r *kbuild.Request) (float64, error) {
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	in := filepath.Join("usr/src", r.Source.Base())
	if err := os.MkdirAll(filepath.Join(dir, in), 0o755); err != nil {
		return 0, err
	}
	if err := r.Source.Unpack(ctx, filepath.Join(dir, in), nil); err != nil {
		return 0, err
	}
	// Its kernel module is asked for, not the probe in the same tree.
	if err := os.RemoveAll(filepath.Join(dir, in, "bpf")); err != nil {
		return 0, err
	}
	headers := r.Kernel.HeaderDir
	var log bytes.Buffer
	spec := sandbox.Spec{Root: r.Root.Dir, RootKey: r.Root.Key, Overlay: []string{r.Kernel.Headers}, Scratch: dir, Log: &log,
		Argv: []string{"/usr/bin/make", "-j2", "-C", headers, "M=" + filepath.Join(sandbox.ScratchAt, in), "KERNELDIR=" + headers}}
	return both(func() error {
		res, err := sandbox.Run(ctx, spec)
		if err == nil && res.ExitCode != 0 {
			err = fmt.Errorf("bare make: %s\n%s", res, &log)
		}
		return err
	})
}

// What of the archive is no download: what builds came to, and what was read out of indexes and packages.
var (
	outcomes = []string{"archive/refs/build", "archive/refs/grid", "archive/tmp"}
	read     = []string{"archive/refs/answers", "archive/refs/compiler", "archive/refs/source"}
)

// unknowing makes a cache directory for a mews that has all packages, and none of what it would make of them: no trees, no
// build roots, and not what is named. The archive is hard links to the user's.
func unknowing(unknown ...string) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir, err = os.MkdirTemp(cache, "mews-bench-") // links do not cross file systems
	if err != nil {
		return "", err
	}
	from, to := filepath.Join(cache, "mews"), filepath.Join(dir, "mews")
	err = filepath.WalkDir(filepath.Join(from, "archive"), func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		switch {
		case d.IsDir() && slices.Contains(unknown, name):
			return filepath.SkipDir
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		return os.Link(p, filepath.Join(to, name))
	})
	if err != nil {
		os.RemoveAll(dir)
		return "", err
	}
	return dir, copyCatalogue(from, to)
}

// copyCatalogue copies the catalogue, which is a data base of three files.
func copyCatalogue(from, to string) error {
	files, err := filepath.Glob(filepath.Join(from, "catalog.db*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(f)), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
