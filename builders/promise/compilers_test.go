// SPDX-License-Identifier: Apache-2.0

package promise_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/promise"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("The promises of Debian's 5.10", Label("build", "net"), Ordered, func() {
	var (
		source *debian.Source
		roots  *root.Cache
		files  *kernels.Files
	)
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		kept, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		source, err = debian.New(debian.Options{
			Archive:    kept,
			ValidUntil: func(string) debian.Policy { return debian.Warn },
			Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
		})
		Expect(err).NotTo(HaveOccurred())
		rootDir, err := root.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		roots = &root.Cache{Dir: rootDir, Fetcher: source}
		found, err := source.Resolve(ctx, []string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64", 1)
		Expect(err).NotTo(HaveOccurred())
		files, err = (&kernels.Trees{Dir: GinkgoT().TempDir(), Fetcher: source}).Files(ctx, found[0])
		Expect(err).NotTo(HaveOccurred())
	})

	try := func(ctx context.Context, suite, compiler string, limits sandbox.Limits) (*promise.Result, error) {
		pkgs, err := source.Closure(ctx, []string{suite, suite + "-security"}, root.Tools(compiler)...)
		Expect(err).NotTo(HaveOccurred())
		cache := roots
		if strings.HasPrefix(compiler, "clang") {
			cache = &root.Cache{Dir: GinkgoT().TempDir(), Fetcher: source}
		}
		r, err := cache.Tree(ctx, pkgs)
		Expect(err).NotTo(HaveOccurred())
		if cache != roots {
			addLibmd(ctx, source, pkgs, r.Dir)
		}
		began := time.Now()
		res, err := promise.Check(ctx, promise.Request{Kernel: files, Root: r.Dir, Compiler: compiler, Scratch: GinkgoT().TempDir(), Limits: limits})
		AddReportEntry("trials", fmt.Sprintf("%s: %s", compiler, time.Since(began).Round(time.Millisecond)), ReportEntryVisibilityAlways)
		return res, err
	}

	It("are kept by bullseye's gcc-10, with which it was configured", func(ctx SpecContext) {
		res, err := try(ctx, "bullseye", "gcc-10", sandbox.Limits{})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(res.Kept).To(ContainElements("CC_HAS_ASM_GOTO", "CC_HAS_ASM_INLINE", "CC_HAS_INT128", "CC_HAS_RETURN_THUNK", "CC_HAS_SANE_STACKPROTECTOR", "AS_TPAUSE"))
		Expect(res.Untried).To(ConsistOf("LD_ORPHAN_WARN", "CC_HAS_KASAN_GENERIC", "CC_HAS_WORKING_NOSANITIZE_ADDRESS", "CC_HAS_SANCOV_TRACE_PC"))
	})

	It("are broken by bullseye's clang-9, which has no asm inline", func(ctx SpecContext) {
		_, err := try(ctx, "bullseye", "clang-9", sandbox.Limits{})
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error))
		Expect(finding.Cause).To(Equal(cause.ToolchainMismatch), "%+v", err)
		Expect(finding.Fault).To(Equal(cause.FaultToolchain))
		Expect(err.Error()).To(MatchRegexp(`\basm inline\b.*: promised by .*, not kept by clang-9`))
		Expect(err.Error()).NotTo(ContainSubstring("128-bit"), "clang-9 has what it has")
		Expect(finding.Evidence).To(ContainElements(
			HaveField("Text", "CONFIG_CC_HAS_ASM_INLINE=y"),
			HaveField("Text", MatchRegexp(`^CC_HAS_ASM_INLINE\.c:1:\d+: error: expected '\(' after 'asm'$`))))
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

// addLibmd gives clang what a root of gcc does not need: bullseye's libedit loads libbsd, and that libmd.
func addLibmd(ctx context.Context, source *debian.Source, pkgs []kernels.Package, dir string) {
	at := slices.IndexFunc(pkgs, func(p kernels.Package) bool { return p.Name == "libmd0" })
	Expect(at).To(BeNumerically(">=", 0))
	file, err := source.Fetch(ctx, pkgs[at])
	Expect(err).NotTo(HaveOccurred())
	Expect(deb.Unpack(ctx, file, dir, deb.Limits{Bytes: 1 << 20, Files: 100}, nil)).To(Succeed())
}
