// SPDX-License-Identifier: Apache-2.0

package kmod_test

import (
	"bytes"
	"os"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/sandbox"
)

var _ = Describe("What is spared in trial builds", Label("build", "net"), func() {
	// 6.12 is the first line whose headers hold what a module's BTF is made from.
	It("leaves the module what a bare make makes of it", func(ctx SpecContext) {
		f := farm.New()
		r := f.Request(ctx, []string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64", "trixie", "sid")
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Has).To(HaveLen(6))

		scratch := GinkgoT().TempDir()
		tree := filepath.Join(scratch, "usr/src", r.Source.Base())
		Expect(os.MkdirAll(tree, 0o755)).To(Succeed())
		Expect(r.Source.Unpack(ctx, tree, nil)).To(Succeed())
		Expect(os.RemoveAll(filepath.Join(tree, "bpf"))).To(Succeed())
		var log bytes.Buffer
		at := filepath.Join(sandbox.ScratchAt, "usr/src", r.Source.Base())
		for _, argv := range [][]string{
			{"/usr/bin/make", "-j2", "-C", r.Kernel.HeaderDir, "M=" + at, "KERNELDIR=" + r.Kernel.HeaderDir},
			{"/usr/bin/strip", "--strip-debug", at + "/scap.ko"},
		} {
			res, err := sandbox.Run(ctx, sandbox.Spec{Root: r.Root.Dir, Overlay: []string{r.Kernel.Headers}, Scratch: scratch, Argv: argv, Log: &log})
			Expect(err).NotTo(HaveOccurred())
			Expect(res.ExitCode).To(BeZero(), "%s", &log)
		}
		bare, err := os.ReadFile(filepath.Join(tree, "scap.ko"))
		Expect(err).NotTo(HaveOccurred())
		Expect(os.ReadFile(a.Path)).To(Equal(bare))
		Expect(bytes.Count(log.Bytes(), []byte("[configure-kmod] Setting HAS_"))).To(Equal(count(a.Has)))
	})
})

// count is how many of the trial builds went well.
func count(has map[string]bool) (n int) {
	for _, ok := range has {
		if ok {
			n++
		}
	}
	return n
}
