// SPDX-License-Identifier: Apache-2.0

// Package stock knows which vendor kernels the tests of machine/qemu boot.
package stock

import (
	"context"
	"fmt"
	"os"

	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

// lines are Debian's kernel lines, oldest first: before and after virtio was built in (6.12), and both layouts of
// the packages.
var lines = []struct {
	suites  []string
	pattern string
}{
	{[]string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64"},
	{[]string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64"},
	{[]string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64"},
	{[]string{"trixie-backports", "trixie"}, "7.*-cloud-amd64"},
}

// needed is what the devices of a machine want from the kernel.
var needed = []string{"virtio_pci", "virtio_console", "virtio_blk", "virtio_rng"}

// Kernel is one vendor kernel, ready to boot.
type Kernel struct {
	Release string
	Image   string // path
	Modules []initramfs.Module
}

// Kernels is the newest of each line, oldest line first, from the host's mirror and the user's cache.
func Kernels(ctx context.Context) ([]Kernel, error) {
	source, trees, err := open()
	if err != nil {
		return nil, err
	}
	var out []Kernel
	for _, l := range lines {
		k, err := newest(ctx, source, trees, l.suites, l.pattern)
		if err != nil {
			return nil, fmt.Errorf("kernel %s: %w", l.pattern, err)
		}
		out = append(out, k)
	}
	return out, nil
}

// Oldest is the first of [Kernels], for tests to which one is as good as the other.
func Oldest(ctx context.Context) (Kernel, error) {
	source, trees, err := open()
	if err != nil {
		return Kernel{}, err
	}
	return newest(ctx, source, trees, lines[0].suites, lines[0].pattern)
}

func open() (*debian.Source, *kernels.Trees, error) {
	packages, err := archive.DefaultDir()
	if err != nil {
		return nil, nil, err
	}
	store, err := archive.New(packages)
	if err != nil {
		return nil, nil, err
	}
	source, err := debian.New(debian.Options{
		Archive: store,
		Warn:    func(text string) { fmt.Fprintln(os.Stderr, "warning:", text) },
		// The mirror of a machine that runs tests may be a snapshot; what is tested is not the mirror.
		ValidUntil: func(string) debian.Policy { return debian.Warn },
	})
	if err != nil {
		return nil, nil, err
	}
	unpacked, err := kernels.DefaultTreesDir()
	if err != nil {
		return nil, nil, err
	}
	return source, &kernels.Trees{Dir: unpacked, Fetcher: source}, nil
}

func newest(ctx context.Context, source *debian.Source, trees *kernels.Trees, suites []string, pattern string) (Kernel, error) {
	found, err := source.Resolve(ctx, suites, pattern, 1)
	if err != nil {
		return Kernel{}, err
	}
	if len(found) != 1 {
		return Kernel{}, fmt.Errorf("%d kernels in %v", len(found), suites)
	}
	boot := *found[0]
	boot.Headers = nil // 10 MB and 15,000 files that no boot needs
	files, err := trees.Files(ctx, &boot)
	if err != nil {
		return Kernel{}, err
	}
	modules, err := files.Modules(needed...)
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{Release: boot.Kernel.Release, Image: files.Image}
	for _, m := range modules {
		k.Modules = append(k.Modules, initramfs.Module{Name: m.Name, Data: m.Data})
	}
	return k, nil
}
