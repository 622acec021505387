// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/store"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

// mirror is the host's own, with the user's archive.
func mirror() (*debian.Source, *archive.Archive) {
	GinkgoHelper()
	dir, err := archive.DefaultDir()
	Expect(err).NotTo(HaveOccurred())
	a, err := archive.New(dir)
	Expect(err).NotTo(HaveOccurred())
	d, err := debian.New(debian.Options{Archive: a, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
	Expect(err).NotTo(HaveOccurred())
	return d, a
}

var _ = Describe("mews build", Label("build", "net"), func() {
	const matrix = "../../matrix.yaml"

	It("names the promise that a compiler breaks, and the same when it is forced", func() {
		args := []string{"-f", matrix, "--builder", "local", "--kernel", "debian-5.10", "--driver", "falco-kmod", "--compilers", "clang-9"}
		var found []cause.Finding
		for _, more := range [][]string{nil, {"--force-compiler"}} {
			code, by := built(append(args, more...)...)
			Expect(code).To(Equal(3))
			f := by["falco-kmod"].Finding
			Expect([]any{f.State, f.Cause, f.Fault}).To(Equal([]any{cause.Error, cause.ToolchainMismatch, cause.FaultToolchain}), "%+v", f)
			Expect(f.Evidence[0].Text).To(MatchRegexp(`^asm inline\b.* not kept by clang-9`))
			found = append(found, f)
		}
		Expect(found[0].Evidence[0]).To(Equal(found[1].Evidence[0]))
		Expect(found[0].Evidence).NotTo(ContainElement(HaveField("Text", HavePrefix("forced to build"))))
		Expect(found[1].Evidence).To(ContainElement(HaveField("Text", HavePrefix("forced to build all the same: "))))
	})

	It("builds what a release of libs holds, and its CO-RE probe once", func(ctx SpecContext) {
		// falcosecurity/libs 0.20.0 as upstream released it: what Debian's source package was made from, by its dsc.
		d, _ := mirror()
		libs, err := d.Fetch(ctx, kernels.Package{
			Name: "falcosecurity-libs", Digest: "4ae6ddb42a1012bacd88c63abdaa7bd27ca0143c4721338a22c45597e63bc99d",
			URL: strings.TrimRight(d.Mirrors().Main, "/") + "/pool/main/f/falcosecurity-libs/falcosecurity-libs_0.20.0.orig.tar.gz",
		})
		Expect(err).NotTo(HaveOccurred())
		out := filepath.Join(GinkgoT().TempDir(), "store")
		code, by := built("-f", matrix, "--builder", "local", "--kernel", oneKernel, "--source", libs, "--out", out)
		Expect(code).To(Equal(0))
		Expect(by).To(HaveLen(3))
		for name, r := range by {
			Expect(r.State).To(Equal(cause.Pass), "%s: %+v", name, r.Finding)
			Expect(name).To(HaveSuffix("-" + string(r.Variant)))
			if r.Variant == product.Modern {
				Expect(r.Kernel).To(Equal(kernels.Kernel{Arch: "x86_64"}))
				Expect(r.Artifact.Machine).To(Equal("EM_BPF"))
			}
		}
		s, err := store.Open(ctx, out)
		Expect(err).NotTo(HaveOccurred())
		check, err := s.Verify(ctx, "")
		Expect(err).NotTo(HaveOccurred())
		Expect(check.Clean()).To(BeTrue(), "%+v", check)
		Expect(check.Artifacts).To(Equal(3))
		Expect(filepath.Glob(filepath.Join(out, "*", "x86_64", "*.bpf.o"))).To(HaveExactElements(HaveSuffix("/falco_any_btf_1.bpf.o")))
	})

	It("does not build against the headers of another release", func(ctx SpecContext) {
		d, from := mirror()
		found, err := d.Resolve(ctx, []string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64", 1)
		Expect(err).NotTo(HaveOccurred())
		cache := filepath.Join(GinkgoT().TempDir(), "cache")
		to, err := archive.New(filepath.Join(cache, "mews", "archive"))
		Expect(err).NotTo(HaveOccurred())
		for _, p := range found[0].Headers {
			_, err := d.Fetch(ctx, p)
			Expect(err).NotTo(HaveOccurred())
			copyBlob(ctx, from, to, p)
		}
		// A catalogue that has taken the packages of one kernel for those of another.
		c, err := catalog.Open(ctx, filepath.Join(cache, "mews", "catalog.db"))
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Add(ctx, []kernels.Entry{{
			Kernel: kernels.Kernel{Distro: "debian", Release: "6.1.0-56-cloud-amd64", Version: "1", Arch: "x86_64"}, Source: "debian", Repo: "bookworm/amd64",
			PackageVersion: "6.1.192-2", Image: found[0].Headers[:1], Headers: found[0].Headers,
		}}, time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))).To(Succeed())
		Expect(c.Close()).To(Succeed())

		dir := GinkgoT().TempDir()
		GinkgoT().Setenv("XDG_CACHE_HOME", cache)
		code, by := built("-f", matrix, "--builder", "local", "--offline", "--kernel", "debian:6.1.0-56-cloud-amd64",
			"--source", toy(dir, "quick", "1.0", ""), "--out", filepath.Join(dir, "store"))
		Expect(code).To(Equal(3))
		f := by["quick-1.0-kmod"].Finding
		Expect([]any{f.State, f.Cause, f.Fault}).To(Equal([]any{cause.Error, cause.HeadersMissing, cause.FaultKernel}), "%+v", f)
		Expect(f.Evidence).To(ContainElement(HaveField("Text", "the packages hold no Makefile for 6.1.0-56-cloud-amd64")))
		Expect(filepath.Glob(filepath.Join(dir, "store", "1.0", "x86_64", "*.ko"))).To(BeEmpty())
	})
})

// copyBlob brings what one archive holds into another.
func copyBlob(ctx context.Context, from, to *archive.Archive, p kernels.Package) {
	GinkgoHelper()
	path, err := from.Path(p.Digest)
	Expect(err).NotTo(HaveOccurred())
	f, err := os.Open(path)
	Expect(err).NotTo(HaveOccurred())
	defer f.Close()
	_, err = to.Put(ctx, p.Digest, p.Size, f)
	Expect(err).NotTo(HaveOccurred())
}
