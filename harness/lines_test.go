// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/debian"
)

// debianLines are the lines of kernels that the suites of a mirror hold (2026-11).
var debianLines = []string{"5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3"}

var _ = Describe("one kernel of every line of Debian's", Label("boot", "net"), Ordered, ContinueOnFailure, func() {
	var (
		shop   *parts.Workshop
		distro *debian.Distro
		newest map[string]kernels.Entry // by line
	)
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		store, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		distro, err = debian.NewDistro(debian.DistroOptions{Arches: []string{"amd64"}, Options: debian.Options{
			Archive: store, Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
			ValidUntil: func(string) debian.Policy { return debian.Warn },
		}})
		Expect(err).NotTo(HaveOccurred())
		all, err := distro.Enumerate(ctx)
		Expect(err).NotTo(HaveOccurred())
		newest = newestOfLines(all, "cloud-amd64")

		bin := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", bin, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		trees, err := kernels.DefaultTreesDir()
		Expect(err).NotTo(HaveOccurred())
		shop = &parts.Workshop{Agent: bin, Dir: GinkgoT().TempDir(), Trees: &kernels.Trees{Dir: trees, Fetcher: distro}}
	}, NodeTimeout(5*time.Minute))

	// boot brings a kernel up to the agent's hello, and says what uname -r it has and how long that took.
	boot := func(ctx context.Context, e kernels.Entry, dir string) (release string, took time.Duration, err error) {
		spec := machine.Spec{Name: "line-" + e.Release, Dir: dir, MemoryMiB: 512}
		if spec.Kernel, spec.Initrd, err = bootFiles(ctx, shop, e); err != nil {
			return "", 0, err
		}
		start := time.Now()
		m, err := qemu.Starter{}.Start(ctx, spec)
		if err != nil {
			return "", 0, err
		}
		defer m.Stop(context.WithoutCancel(ctx))
		c, err := agent.Dial(ctx, m.Agent())
		if err != nil {
			return "", 0, err
		}
		return c.Hello().Release, time.Since(start), nil
	}

	It("boots to the agent", func(ctx SpecContext) {
		Expect(newest).To(HaveLen(len(debianLines)), "%v", newest)
		var g errgroup.Group
		g.SetLimit(2)
		tmp := GinkgoT().TempDir()
		booted := make([]string, len(debianLines))
		for i, line := range debianLines {
			e := newest[line]
			g.Go(func() error {
				defer GinkgoRecover()
				dir := filepath.Join(tmp, line)
				Expect(os.Mkdir(dir, 0o755)).To(Succeed())
				release, took, err := boot(ctx, e, dir)
				Expect(err).NotTo(HaveOccurred(), "%s of %s", e.Release, e.Repo)
				Expect(release).To(Equal(e.Release))
				note := ""
				if e.Unbootable != "" {
					note = " (from vmlinuz alone: " + e.Unbootable + ")"
				}
				booted[i] = fmt.Sprintf("%-5s %-32s %5.1f s%s", line, release, took.Seconds(), note)
				return nil
			})
		}
		Expect(g.Wait()).To(Succeed())
		AddReportEntry("booted to the agent", strings.Join(booted, "\n"), ReportEntryVisibilityAlways)
	}, NodeTimeout(10*time.Minute))
})

// newestOfLines is the newest kernel of each line, of those whose every part is there where a line has one.
func newestOfLines(all []kernels.Entry, flavour string) map[string]kernels.Entry {
	number := regexp.MustCompile(`^\d+\.\d+`)
	out := map[string]kernels.Entry{}
	for _, e := range all {
		line := number.FindString(e.PackageVersion)
		if e.Flavour != flavour || !slices.Contains(debianLines, line) {
			continue
		}
		old, ok := out[line]
		if !ok || old.Unbootable != "" && e.Unbootable == "" ||
			(old.Unbootable == "") == (e.Unbootable == "") && catalog.Compare(old.PackageVersion, e.PackageVersion) < 0 {
			out[line] = e
		}
	}
	return out
}

// bootFiles are the kernel and the initramfs of e. One whose modules are gone has virtio-console built in, and comes
// up without any.
func bootFiles(ctx context.Context, shop *parts.Workshop, e kernels.Entry) (kernel, initrd string, err error) {
	if e.Unbootable == "" {
		f, err := shop.Kernel(ctx, &kernels.Resolved{Kernel: e.Kernel, Image: e.Image})
		if err != nil {
			return "", "", err
		}
		initrd, err = shop.Initramfs(ctx, f)
		return f.Image, initrd, err
	}
	dir, err := shop.Trees.Tree(ctx, "half-"+e.Release, e.Image, func(name string) bool { return strings.HasPrefix(name, "boot/") })
	if err != nil {
		return "", "", err
	}
	initrd, err = initramfs.Cached(filepath.Join(shop.Dir, "initramfs"), shop.Agent, nil)
	return filepath.Join(dir, "boot", "vmlinuz-"+e.Release), initrd, err
}
