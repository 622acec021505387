// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	ginkgosuite "github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

func TestDisks(t *testing.T) {
	ginkgosuite.Run(t, "builders/root")
}

var _ = Describe("A guest's disk of real packages", Label("net"), func() {
	It("holds sysdig and runc with every library where ld.so looks without a cache", func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		a, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		src, err := debian.New(debian.Options{
			Archive: a, ValidUntil: func(string) debian.Policy { return debian.Warn },
			Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
		})
		Expect(err).NotTo(HaveOccurred())
		pkgs, err := src.Closure(ctx, []string{"sid"}, "sysdig", "runc", "dash", "coreutils")
		Expect(err).NotTo(HaveOccurred())
		paths, err := src.FetchAll(ctx, pkgs)
		Expect(err).NotTo(HaveOccurred())

		c := &Cache{Dir: GinkgoT().TempDir(), Fetcher: src}
		began := time.Now()
		img, err := c.Disk(ctx, DiskSpec{Packages: pkgs})
		Expect(err).NotTo(HaveOccurred())
		AddReportEntry("disk", fmt.Sprintf("%d packages, %d MB, made in %s", len(pkgs), img.Size>>20, time.Since(began).Round(100*time.Millisecond)), ReportEntryVisibilityAlways)

		names, needs := map[string]bool{}, map[string][]string{}
		err = entries(ctx, paths, func(name string) bool { return isBallast(name, nil) }, func(h *tar.Header, r io.Reader) error {
			names[h.Name] = true
			if h.Typeflag != tar.TypeReg || !strings.HasPrefix(h.Name, "usr/bin/") && !strings.HasPrefix(h.Name, "usr/sbin/") {
				return nil
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			if f, err := elf.NewFile(bytes.NewReader(data)); err == nil {
				if needs[h.Name], err = f.ImportedLibraries(); err != nil {
					return fmt.Errorf("%s: %w", h.Name, err)
				}
			}
			return nil
		})
		Expect(err).NotTo(HaveOccurred())
		Expect(needs["usr/bin/sysdig"]).NotTo(BeEmpty())
		Expect(needs).To(HaveKey("usr/sbin/runc"))
		for program, libs := range needs {
			for _, lib := range libs {
				found := false
				for _, dir := range []string{"usr/lib/x86_64-linux-gnu", "usr/lib", "usr/lib64"} {
					found = found || names[path.Join(dir, lib)]
				}
				Expect(found).To(BeTrue(), "%s needs %s", program, lib)
			}
		}

		if _, err := exec.LookPath("e2fsck"); err != nil {
			Skip("the file system itself is not checked: " + err.Error())
		}
		out, err := exec.CommandContext(ctx, "e2fsck", "-fn", img.Path).CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
	})
})
