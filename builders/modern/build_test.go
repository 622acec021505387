// SPDX-License-Identifier: Apache-2.0

package modern_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/modern"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/results/cause"
)

// upstream is falcosecurity/libs 0.20.0 as upstream released it: what Debian's source package was made from, by its dsc.
const (
	upstream       = "/pool/main/f/falcosecurity-libs/falcosecurity-libs_0.20.0.orig.tar.gz"
	upstreamDigest = "4ae6ddb42a1012bacd88c63abdaa7bd27ca0143c4721338a22c45597e63bc99d"
)

var _ = Describe("Building Falco's CO-RE probe", Label("build", "net"), Ordered, func() {
	var f *farm.Farm
	var tools *root.Root
	var tarball string
	clang := product.Compiler{Command: "clang-19", Family: "clang", Major: 19}
	BeforeAll(func(ctx SpecContext) {
		f = farm.New()
		tools = f.Whole(ctx, "trixie", modern.Tools("clang-19")...)
		tarball = f.File(ctx, upstream, upstreamDigest)
	})

	open := func(ctx SpecContext, path string) *source.Source {
		s, err := source.Open(ctx, f.Archive, path, source.Options{Version: "8.0.0+driver"})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		return s
	}
	request := func(s *source.Source) modern.Request {
		r := modern.Request{Source: s, Root: tools, Compiler: clang, Out: GinkgoT().TempDir()}
		r.Limits.Wall = time.Hour // 170 compilations, beside whatever else runs
		return r
	}
	// small is the checkout with only the programs that all others hang on: a compilation each costs too much for every spec.
	small := func(ctx SpecContext, change func(dir string)) *source.Source {
		dir := GinkgoT().TempDir()
		Expect(open(ctx, tarball).Unpack(ctx, dir, func(name string) bool {
			ok, err := filepath.Match("driver/modern_bpf/programs/tail_called/*/*/*", name)
			return err == nil && !ok
		})).To(Succeed())
		change(dir)
		return open(ctx, dir)
	}
	program := func(text string) func(string) {
		return func(dir string) {
			Expect(os.WriteFile(filepath.Join(dir, "driver/modern_bpf/programs/attached/more.bpf.c"), []byte(text), 0o644)).To(Succeed())
		}
	}

	It("libs 0.20.0 with clang-19", func(ctx SpecContext) {
		r := request(open(ctx, tarball))
		r.Archive = farm.Empty()
		a, err := modern.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		AddReportEntry("build", fmt.Sprintf("%d bytes in %.1f s, %s, API %s, schema %s, log of %s", a.Size, a.Seconds, a.Compiler.Text, a.APIVersion, a.SchemaVersion, a.LogPath), ReportEntryVisibilityAlways)
		Expect(a.Check()).To(Succeed())
		Expect(a.Variant).To(Equal(product.Modern))
		Expect(a.File).To(Equal("bpf_probe.o"))
		Expect(a.Machine).To(Equal("EM_BPF"))
		Expect(a.License).To(Equal("Dual MIT/GPL"))
		Expect(a.APIVersion).To(Equal("8.0.3"))
		Expect(a.SchemaVersion).To(Equal(r.Source.Schema))
		Expect(a.Kernel.Release).To(BeEmpty())
		Expect(a.Kernel.Arch).To(Equal("x86_64"))
		Expect(a.Compiler.Text).To(ContainSubstring("clang version 19."))
		skeleton, err := os.ReadFile(filepath.Join(r.Out, modern.SkeletonName))
		Expect(err).NotTo(HaveOccurred())
		Expect(skeleton).To(ContainSubstring("struct bpf_probe {"))
		Expect(skeleton).To(ContainSubstring("open_by_handle_at_x"))
		left, err := os.ReadDir(r.Out)
		Expect(err).NotTo(HaveOccurred())
		Expect(left).To(HaveLen(3))

		By("finding it built when asked again")
		r.Out = GinkgoT().TempDir()
		r.Limits.Wall = time.Nanosecond
		again, err := modern.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(again.Cached).To(BeTrue())
		Expect(again.SHA256).To(Equal(a.SHA256))
		Expect(os.ReadFile(filepath.Join(r.Out, modern.SkeletonName))).To(Equal(skeleton))
	})

	It("makes the same bytes in another scratch directory", func(ctx SpecContext) {
		r := request(small(ctx, func(string) {}))
		one, err := modern.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		first, err := os.ReadFile(filepath.Join(r.Out, modern.SkeletonName))
		Expect(err).NotTo(HaveOccurred())
		r.Out, r.Jobs = GinkgoT().TempDir(), 1
		two, err := modern.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(two.Cached).To(BeFalse())
		Expect(two.SHA256).To(Equal(one.SHA256))
		second, err := os.ReadFile(filepath.Join(r.Out, modern.SkeletonName))
		Expect(err).NotTo(HaveOccurred())
		Expect(bytes.Equal(first, second)).To(BeTrue())
	})

	It("code that is wrong is the driver's fault, and remembered", func(ctx SpecContext) {
		r := request(small(ctx, program("#include <helpers/interfaces/fixed_size_event.h>\nint more(struct task_struct *t) { return t->nobody; }\n")))
		r.Archive = farm.Empty()
		_, err := modern.Build(ctx, r)
		first := cause.Of(err)
		Expect(first.State).To(Equal(cause.Fail), "%+v", err)
		Expect(first.Cause).To(Equal(cause.CompileError))
		Expect(first.Fault).To(Equal(cause.FaultDriver))
		Expect(first.Evidence).To(ContainElement(And(HaveField("File", "driver/modern_bpf/programs/attached/more.bpf.c"), HaveField("Line", 2),
			HaveField("Text", ContainSubstring("no member named 'nobody'")))))
		r.Limits.Wall = time.Nanosecond
		_, err = modern.Build(ctx, r)
		Expect(cause.Of(err)).To(Equal(first))
	})

	It("objects that do not link prove nothing, and say what bpftool said", func(ctx SpecContext) {
		_, err := modern.Build(ctx, request(small(ctx, program("#include <helpers/base/common.h>\nchar LICENSE[] SEC(\"license\") = \"GPL\";\n"))))
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error), "%+v", err)
		Expect(finding.Cause).To(Equal(cause.ToolchainBroken))
		Expect(finding.Fault).To(Equal(cause.FaultToolchain))
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("non-identical contents of section 'license'"))
	})

	It("a checkout without the target says so", func(ctx SpecContext) {
		_, err := modern.Build(ctx, request(small(ctx, func(dir string) {
			Expect(os.WriteFile(filepath.Join(dir, "driver/modern_bpf/CMakeLists.txt"), []byte("message(STATUS \"moved\")\n"), 0o644)).To(Succeed())
		})))
		finding := cause.Of(err)
		Expect(finding.Cause).To(Equal(cause.SourceUnusable), "%+v", err)
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("declares no target ProbeSkeleton"))
	})

	It("stops when its time is over", func(ctx SpecContext) {
		r := request(open(ctx, tarball))
		r.Limits.Wall = 5 * time.Second
		_, err := modern.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.BuildTimeout), "%+v", err)
		Expect(cause.Of(err).Fault).To(Equal(cause.FaultInfra))
	})

	It("says what is missing before anything starts", func(ctx SpecContext) {
		libs := open(ctx, tarball)
		r := request(libs)
		r.Root = f.Root(ctx, "bookworm", root.Tools("gcc-12")...)
		_, err := modern.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainBroken))
		Expect(fmt.Sprint(cause.Of(err).Evidence)).To(And(ContainSubstring("clang-19"), ContainSubstring("bpftool"), ContainSubstring("bpf_helpers.h"), ContainSubstring("cmake")))
		Expect(os.ReadDir(r.Out)).To(BeEmpty())

		r = request(f.Driver(ctx, "sid"))
		_, err = modern.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.VariantGone))
		Expect(cause.Of(err).State).To(Equal(cause.Unsupported))
	})
})
