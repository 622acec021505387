// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/kernels"
)

// The peer is Debian's virtme-ng with what it starts, in a root of its own; nothing is installed on this machine. It is of
// the suite whose kernel it boots: that one's packages have their modules where the suite's tools look for them.
var (
	virtmeSuites = []string{"trixie-security", "trixie"}
	virtmeTools  = []string{"virtme-ng", strings.TrimSuffix(qemu.Program, "_64"), "kmod", "bash", "coreutils", "util-linux", "mount", "busybox-static", "udev", "iproute2", "cpio", "zstd", "base-files",
		// What its init, a shell script, takes for granted: without them it opens a shell that nobody asked for.
		"grep", "sed", "hostname", "findutils", "mawk", "procps", "passwd", "login", "bsdutils"}
)

// virtmeKernel is not a cloud kernel: those have no 9p, without which virtme-ng has no root.
const virtmeKernel = "6.12.*+deb13-amd64"

// besideVirtme compares a cold boot to the answer of uname -r with virtme-ng's, on the same kernel and without KVM both.
func besideVirtme(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "debian-6.12") // for the disks of our guest
	if err != nil {
		return nil, err
	}
	files, err := fetchKernel(ctx, virtmeKernel)
	if err != nil {
		return nil, err
	}
	initrd, err := shop.Initramfs(ctx, files)
	if err != nil {
		return nil, err
	}
	v, err := newVirtme(ctx, files)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(v.dir)
	disks, err := shop.Disks(ctx, plan.Cells[0])
	if err != nil {
		return nil, err
	}
	spec := machine.Spec{Name: "bench", Kernel: files.Image, Initrd: initrd, Disks: disks, Dir: v.dir}
	var ours, theirs []float64
	for range rounds {
		t, err := v.uname(ctx)
		if err != nil {
			return nil, err
		}
		theirs = append(theirs, t)
		if t, err = ownUname(ctx, spec, files.Kernel.Release); err != nil {
			return nil, err
		}
		ours = append(ours, t)
	}
	return []figure{{
		"cold boot to the answer of uname -r without KVM, " + files.Kernel.Release, median(ours) / median(theirs), "x", 1. / 8,
		"virtme-ng " + v.version + " running uname -r on it, s", median(theirs),
	}}, nil
}

// fetchKernel finds and unpacks the newest kernel of that pattern.
func fetchKernel(ctx context.Context, pattern string) (*kernels.Files, error) {
	shop, _, err := workshop(false)
	if err != nil {
		return nil, err
	}
	found, err := shop.Debian.Resolve(ctx, virtmeSuites, pattern, 1)
	if err != nil {
		return nil, err
	}
	return shop.Kernel(ctx, found[0])
}

// inImage runs a program of the container image as a process of the guest: its userland holds what consumers need, and no more.
func inImage(program string, args ...string) []string {
	const image = "/run/mews/image"
	return append([]string{image + "/usr/lib64/ld-linux-x86-64.so.2", "--library-path", image + "/usr/lib/x86_64-linux-gnu", image + program}, args...)
}

// ownUname boots, and runs uname -r of the container image.
func ownUname(ctx context.Context, spec machine.Spec, release string) (float64, error) {
	began := time.Now()
	m, err := qemu.Starter{}.Start(ctx, spec)
	if err != nil {
		return 0, err
	}
	defer m.Stop(ctx)
	c, err := agent.Dial(ctx, m.Agent())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	r, err := c.RunCommand(ctx, inImage("/usr/bin/uname", "-r"))
	took := time.Since(began).Seconds()
	if err == nil && !slices.Equal(r.Output, []string{release}) {
		err = fmt.Errorf("in our guest uname -r says %q", r.Output)
	}
	return took, err
}

// virtme is an unpacked virtme-ng beside a kernel.
type virtme struct {
	root    *root.Root
	kernel  *kernels.Files
	dir     string // of this bench
	under   []string
	version string
}

func newVirtme(ctx context.Context, files *kernels.Files) (*virtme, error) {
	shop, _, err := workshop(false)
	if err != nil {
		return nil, err
	}
	p, err := shop.Debian.Find(ctx, virtmeSuites, virtmeTools[0])
	if err != nil {
		return nil, err
	}
	pkgs, err := shop.Debian.Closure(ctx, virtmeSuites, virtmeTools...)
	if err != nil {
		return nil, err
	}
	v := &virtme{kernel: files, version: p.Version}
	if v.root, err = shop.Roots.Whole(ctx, pkgs); err != nil {
		return nil, err
	}
	if v.dir, err = os.MkdirTemp("", "mews-bench-"); err != nil {
		return nil, err
	}
	if err := v.configure(ctx); err != nil {
		os.RemoveAll(v.dir)
		return nil, err
	}
	return v, nil
}

// configure makes what maintainer scripts would have made: sh, the modules' dependencies, and the certificates without which
// Python's requests, that virtme-ng imports, does not load.
func (v *virtme) configure(ctx context.Context) error {
	tree := filepath.Dir(filepath.Dir(v.kernel.Image))
	more := filepath.Join(v.dir, "more")
	v.under = []string{tree, more}
	modules := filepath.Join("usr/lib/modules", v.kernel.Kernel.Release)
	for _, d := range []string{"etc/ssl/certs", modules, "usr/bin"} {
		if err := os.MkdirAll(filepath.Join(more, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.Symlink("bash", filepath.Join(more, "usr/bin/sh")); err != nil {
		return err
	}
	made, err := v.run(ctx, "depmod -o . "+v.kernel.Kernel.Release+" && cat /usr/share/ca-certificates/mozilla/*.crt > certificates", time.Minute)
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	deps, err := filepath.Glob(filepath.Join(made, "lib/modules", v.kernel.Kernel.Release, "modules.*"))
	if err != nil {
		return err
	}
	for _, f := range deps {
		if err := os.Rename(f, filepath.Join(more, modules, filepath.Base(f))); err != nil {
			return err
		}
	}
	return os.Rename(filepath.Join(made, "certificates"), filepath.Join(more, "etc/ssl/certs/ca-certificates.crt"))
}

// uname is how long virtme-ng takes to run uname -r, which must say what it should.
func (v *virtme) uname(ctx context.Context) (float64, error) {
	began := time.Now()
	dir, err := v.run(ctx, "vng --disable-kvm -r /boot/"+filepath.Base(v.kernel.Image)+" -- uname -r > said", 5*time.Minute)
	took := time.Since(began).Seconds()
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if err == nil && strings.TrimSpace(string(said)) != v.kernel.Kernel.Release {
		err = fmt.Errorf("under virtme-ng uname -r says %q", said)
	}
	return took, err
}

// run runs a shell's command in virtme's root, and returns the directory in which it ran.
func (v *virtme) run(ctx context.Context, command string, limit time.Duration) (dir string, err error) {
	if dir, err = os.MkdirTemp(v.dir, "run-"); err != nil {
		return "", err
	}
	var log bytes.Buffer
	spec := sandbox.Spec{Root: v.root.Dir, RootKey: v.root.Key, Overlay: v.under, Scratch: dir, Log: &log, Argv: []string{"/bin/bash", "-ec", command}}
	spec.Limits.Wall, spec.Limits.Memory = limit, 8<<30 // of address space: an emulator's, with its guest
	res, err := sandbox.Run(ctx, spec)
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("%s: %s\n%s", command, res, &log)
	}
	return dir, err
}
