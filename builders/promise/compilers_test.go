// SPDX-License-Identifier: Apache-2.0

package promise_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/images"
	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("The promises of Debian's 5.10", Label("build", "net"), Ordered, func() {
	var (
		builders *images.Set
		maker    *images.Maker
		files    *kernels.Files // of 5.10
		resolve  func(ctx context.Context, pattern string, suites ...string) *kernels.Files
	)
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		kept, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		source, err := debian.New(debian.Options{
			Archive:    kept,
			ValidUntil: func(string) debian.Policy { return debian.Warn },
			Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
		})
		Expect(err).NotTo(HaveOccurred())
		rootDir, err := root.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		builders, err = images.Builtin()
		Expect(err).NotTo(HaveOccurred())
		maker = &images.Maker{Packages: source, Roots: &root.Cache{Dir: rootDir, Fetcher: source}}
		resolve = func(ctx context.Context, pattern string, suites ...string) *kernels.Files {
			GinkgoHelper()
			found, err := source.Resolve(ctx, suites, pattern, 1)
			Expect(err).NotTo(HaveOccurred())
			f, err := (&kernels.Trees{Dir: GinkgoT().TempDir(), Fetcher: source}).Files(ctx, found[0])
			Expect(err).NotTo(HaveOccurred())
			return f
		}
		files = resolve(ctx, "5.10.*-cloud-amd64", "bullseye-security", "bullseye")
	})

	tryOn := func(ctx context.Context, files *kernels.Files, suite, compiler string, limits sandbox.Limits) (*promise.Result, error) {
		GinkgoHelper()
		c, err := builders.Named(compiler, images.Want{Suite: suite})
		Expect(err).NotTo(HaveOccurred())
		r, err := maker.Root(ctx, c)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		began := time.Now()
		res, err := promise.Check(ctx, promise.Request{Kernel: files, Root: r.Dir, Compiler: c.Compiler.Command, Scratch: GinkgoT().TempDir(), Limits: limits})
		AddReportEntry("trials", fmt.Sprintf("%s: %s", c, time.Since(began).Round(time.Millisecond)), ReportEntryVisibilityAlways)
		return res, err
	}

	try := func(ctx context.Context, suite, compiler string, limits sandbox.Limits) (*promise.Result, error) {
		GinkgoHelper()
		return tryOn(ctx, files, suite, compiler, limits)
	}

	It("are kept by bullseye's gcc-10, with which it was configured", func(ctx SpecContext) {
		res, err := try(ctx, "bullseye", "gcc-10", sandbox.Limits{})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.Kept).To(ContainElements("CC_HAS_ASM_GOTO", "CC_HAS_ASM_INLINE", "CC_HAS_INT128", "CC_HAS_RETURN_THUNK", "CC_HAS_SANE_STACKPROTECTOR", "AS_TPAUSE"))
		Expect(res.Kept).To(ContainElements("LD_ORPHAN_WARN", "CC_HAS_KASAN_GENERIC", "CC_HAS_SANCOV_TRACE_PC"))
		Expect(res.Broken).To(BeEmpty())
		Expect(res.Idle).To(BeEmpty())
		Expect(res.Untried).To(ConsistOf("CC_HAS_WORKING_NOSANITIZE_ADDRESS"))
	})

	It("are broken by bullseye's clang-9, which has no asm inline", func(ctx SpecContext) {
		res, err := try(ctx, "bullseye", "clang-9", sandbox.Limits{})
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error))
		Expect(finding.Cause).To(Equal(cause.ToolchainMismatch), "%+v", err)
		Expect(finding.Fault).To(Equal(cause.FaultToolchain))
		Expect(err.Error()).To(MatchRegexp(`\basm inline\b.*: promised by .*, not kept by clang-9`))
		Expect(err.Error()).NotTo(ContainSubstring("128-bit"), "clang-9 has what it has")
		Expect(finding.Evidence).To(ContainElements(
			HaveField("Text", "CONFIG_CC_HAS_ASM_INLINE=y"),
			HaveField("Text", MatchRegexp(`^CC_HAS_ASM_INLINE\.c:1:\d+: error: expected '\(' after 'asm'$`))))
		Expect(res.Broken).To(ContainElement("CC_HAS_ASM_INLINE"), "who builds all the same records it")
		Expect(res.Kept).To(ContainElement("CC_HAS_INT128"))
	})

	It("and of a kernel of sid are kept by the newest gcc, arrays and pointers with a count too", func(ctx SpecContext) {
		newest := resolve(ctx, "7.*-cloud-amd64", "sid")
		own, err := newest.Config.Compiler()
		Expect(err).NotTo(HaveOccurred())
		res, err := tryOn(ctx, newest, "sid", own.Command, sandbox.Limits{})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.Kept).To(ContainElements("CC_HAS_COUNTED_BY", "CC_HAS_COUNTED_BY_PTR", "CC_HAS_MULTIDIMENSIONAL_NONSTRING", "CC_HAS_NO_PROFILE_FN_ATTR", "LD_ORPHAN_WARN"))
		Expect(res.Idle).To(BeEmpty(), "it is the compiler that made the promises")
		Expect(res.Untried).To(ConsistOf("LD_CAN_USE_KEEP_IN_OVERLAY", "CC_HAS_NAMED_AS_FIXED_SANITIZERS", "CC_HAS_SANE_FUNCTION_ALIGNMENT",
			"CC_HAS_AUTO_VAR_INIT_ZERO", "CC_HAS_WORKING_NOSANITIZE_ADDRESS"))
		By("and not by an older one")
		_, err = tryOn(ctx, newest, "bookworm", "gcc-12", sandbox.Limits{})
		Expect(err).To(MatchError(ContainSubstring("arrays with a count")))
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainMismatch))
	})

	It("are not judged with a compiler that cannot run", func(ctx SpecContext) {
		_, err := try(ctx, "bullseye", "gcc-10", sandbox.Limits{Memory: 24 << 20})
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainBroken), "%+v", err)
		_, err = try(ctx, "bullseye", "gcc-10", sandbox.Limits{Wall: time.Millisecond})
		Expect(cause.Of(err).Cause).To(Equal(cause.BuildTimeout), "%+v", err)
	})

	It("are nothing where the headers hold no .config", func(ctx SpecContext) {
		bare := *files
		bare.Headers = GinkgoT().TempDir()
		Expect(os.MkdirAll(filepath.Join(bare.Headers, bare.HeaderDir), 0o755)).To(Succeed())
		for _, f := range []*kernels.Files{&bare, {}} {
			res, err := promise.Check(ctx, promise.Request{Kernel: f, Root: "/none", Compiler: "gcc-10", Scratch: GinkgoT().TempDir()})
			Expect(err).NotTo(HaveOccurred())
			Expect(res).To(Equal(&promise.Result{}))
		}
	})
})
