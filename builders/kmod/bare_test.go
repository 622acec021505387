// SPDX-License-Identifier: Apache-2.0

package kmod_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/sandbox"
)

var _ = Describe("What is spared in trial builds", Label("build", "net"), func() {
	// Each line has other trials that go well. 6.12 is the first whose headers hold what a module's BTF is made from.
	for _, k := range []struct{ suite, base, pattern string }{
		{"bullseye-security", "bullseye", "5.10.*-cloud-amd64"},
		{"bookworm-security", "bookworm", "6.1.*-cloud-amd64"},
		{"trixie-security", "trixie", "6.12.*-cloud-amd64"},
		{"trixie-backports", "trixie", "7.*-cloud-amd64"},
	} {
		It("leaves the module for "+k.pattern+" and its answers what a bare make makes of them", func(ctx SpecContext) {
			f := farm.New()
			r := f.Request(ctx, []string{k.suite, k.base}, k.pattern, k.base, "sid")
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
			Expect(a.Has).To(Equal(answers(log.Bytes())))
			bare, err := os.ReadFile(filepath.Join(tree, "scap.ko"))
			Expect(err).NotTo(HaveOccurred())
			Expect(os.ReadFile(a.Path)).To(Equal(bare))
		})
	}
})

// answers are what a make's own configure step found.
func answers(log []byte) map[string]bool {
	out := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\[configure-kmod\] (Setting|Build output for) HAS_(\w+)`).FindAllSubmatch(log, -1) {
		out[string(m[2])] = string(m[1]) == "Setting"
	}
	return out
}
