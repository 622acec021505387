// SPDX-License-Identifier: Apache-2.0

package ebpf_test

import (
	"fmt"
	"os"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/ebpf"
	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// tools are the packages of a root for the legacy probe: no gcc is among them.
func tools(clang int) []string {
	return append(root.Tools(fmt.Sprintf("clang-%d", clang)), fmt.Sprintf("llvm-%d", clang))
}

var _ = Describe("Building Falco's legacy probe", Label("build", "net"), Ordered, func() {
	var f *farm.Farm
	BeforeAll(func() { f = farm.New() })

	request := func(ctx SpecContext, base, pattern string, clang int, driver string) ebpf.Request {
		files, resolved := f.Kernel(ctx, []string{base + "-security", base}, pattern)
		return ebpf.Request{Kernel: files, Resolved: resolved, Source: f.Driver(ctx, driver), Root: f.Root(ctx, base, tools(clang)...), Out: GinkgoT().TempDir()}
	}

	for _, k := range []struct {
		base, pattern string
		clang         int
		has           map[string]bool
	}{
		{"bullseye", "5.10.*-cloud-amd64", 11, map[string]bool{"0__SANITY": true, "KERNFS_NODE_PARENT": true, "RSS_STAT_ARRAY": false, "TASK_PIDS_FIELD": false}},
		{"bookworm", "6.1.*-cloud-amd64", 14, map[string]bool{"0__SANITY": true, "KERNFS_NODE_PARENT": true, "RSS_STAT_ARRAY": false, "TASK_PIDS_FIELD": false}},
		{"trixie", "6.12.*-cloud-amd64", 19, map[string]bool{"0__SANITY": true, "KERNFS_NODE_PARENT": true, "RSS_STAT_ARRAY": true, "TASK_PIDS_FIELD": false}},
	} {
		It(fmt.Sprintf("0.23.2 for %s with clang-%d", k.pattern, k.clang), func(ctx SpecContext) {
			r := request(ctx, k.base, k.pattern, k.clang, "sid")
			r.Archive = f.Archive
			a, err := ebpf.Build(ctx, r)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			AddReportEntry("build", fmt.Sprintf("%s: %d bytes in %.1f s, %s, API %s, schema %s, %v", a.KernelRelease, a.Size, a.Seconds, a.Compiler.Text, a.APIVersion, a.SchemaVersion, a.Has), ReportEntryVisibilityAlways)
			Expect(a.Check()).To(Succeed())
			Expect(a.Variant).To(Equal(product.EBPF))
			Expect(a.KernelRelease).To(Equal(r.Kernel.Kernel.Release))
			Expect(a.APIVersion).To(Equal("8.0.4"))
			Expect(a.SchemaVersion).To(Equal("4.1.0"))
			Expect(a.License).To(Equal("Dual MIT/GPL"))
			Expect(a.Compiler.Text).To(ContainSubstring(fmt.Sprintf("clang version %d.", k.clang)))
			Expect(a.Has).To(Equal(k.has))

			p, err := inspect.ReadProbe(a.Path)
			Expect(err).NotTo(HaveOccurred())
			Expect(p.Version).To(Equal("0.23.2"))
			Expect(p.Check(r.Kernel.Kernel)).To(Succeed())
			Expect(p.Programs).To(ContainElement("raw_tracepoint/sys_enter"))
			other := r.Kernel.Kernel
			other.Release += "x"
			Expect(cause.Of(p.Check(other)).Cause).To(Equal(cause.VermagicMismatch))
		})
	}

	It("0.23.2 for 7.x, whose headers want what only the kernel's own Makefile gives", func(ctx SpecContext) {
		files, resolved := f.Kernel(ctx, []string{"trixie-backports", "trixie"}, "7.*-cloud-amd64")
		r := ebpf.Request{Kernel: files, Resolved: resolved, Source: f.Driver(ctx, "sid"), Root: f.Root(ctx, "trixie", tools(19)...), Out: GinkgoT().TempDir()}
		a, err := ebpf.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Flags).To(Equal([]string{"-fms-extensions", "-DCC_USING_FENTRY"}))
		Expect(a.Has).To(Equal(map[string]bool{"0__SANITY": true, "KERNFS_NODE_PARENT": false, "RSS_STAT_ARRAY": true, "TASK_PIDS_FIELD": false}))
	})

	It("0.23.2 for arm64 6.1, on this machine", func(ctx SpecContext) {
		files, resolved := f.ARM64(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-arm64")
		r := ebpf.Request{Kernel: files, Resolved: resolved, Source: f.Driver(ctx, "sid"), Root: f.Root(ctx, "bookworm", tools(14)...), Out: GinkgoT().TempDir()}
		a, err := ebpf.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Kernel.Arch).To(Equal("aarch64"))
		Expect(a.Machine).To(Equal("EM_BPF"))
		Expect(a.KernelRelease).To(MatchRegexp(`^6\.1\.0-\d+-cloud-arm64$`))
		Expect(a.Has).To(Equal(map[string]bool{"0__SANITY": true, "KERNFS_NODE_PARENT": true, "RSS_STAT_ARRAY": false, "TASK_PIDS_FIELD": false}))
		p, err := inspect.ReadProbe(a.Path)
		Expect(err).NotTo(HaveOccurred())
		Expect(p.Check(files.Kernel)).To(Succeed())
		log, err := os.ReadFile(a.LogPath)
		Expect(err).NotTo(HaveOccurred())
		Expect(string(log)).To(ContainSubstring("--target=aarch64-linux-gnu"), "clang read the headers as arm64's")
	})

	It("says what is missing before anything starts", func(ctx SpecContext) {
		r := request(ctx, "bookworm", "6.1.*-cloud-amd64", 14, "sid")
		good := r

		r.Root = f.Root(ctx, "bookworm", root.Tools("gcc-12")...)
		_, err := ebpf.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainBroken))
		Expect(err).To(MatchError(ContainSubstring("no clang")))

		r = good
		r.Compiler = product.Compiler{Command: "clang-15", Family: "clang", Major: 15}
		_, err = ebpf.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainMismatch))

		r = good
		files := *good.Kernel
		files.Headers = ""
		r.Kernel, r.Resolved = &files, &kernels.Resolved{HeadersMissing: []string{"linux-headers-gone (= 1)"}}
		_, err = ebpf.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.HeadersMissing))

		r = good
		src := *good.Source
		src.Variants = []product.Variant{product.KMod}
		r.Source = &src
		_, err = ebpf.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.VariantGone))
		Expect(cause.Of(err).State).To(Equal(cause.Unsupported))
		Expect(os.ReadDir(good.Out)).To(BeEmpty(), "neither a log nor scratch")
	})
})
