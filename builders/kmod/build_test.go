// SPDX-License-Identifier: Apache-2.0

package kmod_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/inspect"
	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("Building Falco's module", Label("build", "net"), Ordered, func() {
	var f *farm.Farm
	BeforeAll(func() { f = farm.New() })

	const crcs = `^\d\d symbols, all CRCs those of the kernel$`

	for _, k := range []struct{ suite, base, pattern, compiler, symbols string }{
		{"bullseye-security", "bullseye", "5.10.*-cloud-amd64", "gcc-10", crcs},
		{"bookworm-security", "bookworm", "6.1.*-cloud-amd64", "gcc-12", crcs},
		{"trixie-security", "trixie", "6.12.*-cloud-amd64", "gcc-14", crcs},
		{"trixie-backports", "trixie", "7.*-cloud-amd64", "gcc-14", `^\d\d symbols, all exported, by a kernel without CRCs`},
	} {
		It("0.23.2 for "+k.pattern, func(ctx SpecContext) {
			r := f.Request(ctx, []string{k.suite, k.base}, k.pattern, k.base, "sid")
			r.Archive = farm.Empty()
			a, err := kmod.Build(ctx, r)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			AddReportEntry("build", fmt.Sprintf("%s: %d bytes in %.1f s, API %s, schema %s", a.Vermagic, a.Size, a.Seconds, a.APIVersion, a.SchemaVersion), ReportEntryVisibilityAlways)
			Expect(a.Compiler.Command).To(Equal(k.compiler))
			Expect(a.Compiler.Text).To(HavePrefix(k.compiler + " (Debian "))
			Expect(a.Check()).To(Succeed())
			Expect(a.KernelRelease).To(Equal(r.Kernel.Kernel.Release))
			Expect(a.Machine).To(Equal("EM_X86_64"))
			Expect(a.Device).To(Equal("scap"))
			Expect(a.Headers).To(Equal(r.Kernel.Packages))
			Expect(a.Substitution).To(BeNil())
			Expect(a.ModuleName).To(Equal("scap"))
			Expect(a.DriverVersion).To(Equal("0.23.2"))
			Expect(a.APIVersion).NotTo(BeEmpty())
			Expect(a.Has).To(HaveKeyWithValue("0__SANITY", true))
			Expect(a.Promises.Kept).To(ContainElement("CC_HAS_ASM_INLINE"))
			Expect(a.Cached).To(BeFalse())

			m, err := inspect.Read(a.Path)
			Expect(err).NotTo(HaveOccurred())
			Expect(m.Check(r.Kernel.Kernel, r.Kernel.Config)).To(Succeed())
			exported, err := inspect.Symbols(r.Kernel)
			Expect(err).NotTo(HaveOccurred())
			note, err := m.CheckSymbols(r.Kernel.Kernel, r.Kernel.Config, exported)
			Expect(err).NotTo(HaveOccurred(), "%+v", err)
			Expect(note).To(MatchRegexp(k.symbols))

			By("finding it built when asked again")
			r.Out = GinkgoT().TempDir()
			again, err := kmod.Build(ctx, r)
			Expect(err).NotTo(HaveOccurred())
			Expect(again.Cached).To(BeTrue())
			Expect(again.SHA256).To(Equal(a.SHA256))
			Expect(again.Has).To(Equal(a.Has))
			Expect(again.Promises).To(Equal(a.Promises))
			Expect(os.ReadFile(again.LogPath)).To(ContainSubstring("MODPOST"))
		})
	}

	It("makes the same bytes in another scratch directory", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "sid")
		one, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred())
		r.Out = filepath.Join(GinkgoT().TempDir(), "elsewhere")
		Expect(os.Mkdir(r.Out, 0o755)).To(Succeed())
		r.Jobs = 1
		two, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred())
		Expect(two.Cached).To(BeFalse())
		Expect(two.SHA256).To(Equal(one.SHA256))

		By("refusing it for another kernel")
		data, err := os.ReadFile(one.Path)
		Expect(err).NotTo(HaveOccurred())
		release := r.Kernel.Kernel.Release
		other := strings.Replace(release, "6.1.0", "6.1.9", 1)
		altered := bytes.Replace(data, []byte("vermagic="+release), []byte("vermagic="+other), 1)
		Expect(altered).NotTo(Equal(data))
		m, err := inspect.Parse("scap.ko", altered)
		Expect(err).NotTo(HaveOccurred())
		finding := cause.Of(m.Check(r.Kernel.Kernel, r.Kernel.Config))
		Expect(finding.State).To(Equal(cause.Fail))
		Expect(finding.Cause).To(Equal(cause.VermagicMismatch))
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("vermagic=" + other))

		By("refusing it when one bit of one CRC is another")
		symbol := append([]byte("d_path"), 0)
		at := bytes.Index(data, append([]byte{0, 0, 0, 0}, symbol...)) // the upper half of the CRC's long stands before the name
		Expect(at).To(BeNumerically(">", 4))
		altered = bytes.Clone(data)
		altered[at-1] ^= 1
		m, err = inspect.Parse("scap.ko", altered)
		Expect(err).NotTo(HaveOccurred())
		Expect(m.Check(r.Kernel.Kernel, r.Kernel.Config)).To(Succeed())
		exported, err := inspect.Symbols(r.Kernel)
		Expect(err).NotTo(HaveOccurred())
		_, err = m.CheckSymbols(r.Kernel.Kernel, r.Kernel.Config, exported)
		finding = cause.Of(err)
		Expect(finding.State).To(Equal(cause.Fail))
		Expect(finding.Cause).To(Equal(cause.SymbolCRCMismatch))
		Expect(finding.Evidence).To(HaveLen(2))
		Expect(finding.Evidence[1].Text).To(MatchRegexp(`^d_path: CRC 0x[0-9a-f]{8} in the module, 0x[0-9a-f]{8} in Module.symvers$`))
	})

	It("0.1.1dev of 2022 fails on 6.12 as the driver's own fault, and the verdict is remembered", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64", "trixie", "bookworm")
		r.Archive = farm.Empty()
		_, err := kmod.Build(ctx, r)
		first := cause.Of(err)
		Expect(first.State).To(Equal(cause.Fail), "%+v", err)
		Expect(first.Cause).To(Equal(cause.CompileError))
		Expect(first.Fault).To(Equal(cause.FaultDriver))
		Expect(first.Evidence).To(ContainElement(SatisfyAll(
			HaveField("File", Equal("main.c")), HaveField("Line", BeNumerically(">", 0)),
			HaveField("Text", MatchRegexp("class_create|fd_is_open")))))
		r.Out = GinkgoT().TempDir()
		r.Limits.Wall = time.Nanosecond // a build would be stopped at once: only a remembered verdict can come
		_, err = kmod.Build(ctx, r)
		Expect(cause.Of(err)).To(Equal(first))
	})

	It("0.1.1dev builds for 6.1", func(ctx SpecContext) {
		a, err := kmod.Build(ctx, f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "bookworm"))
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.DriverVersion).To(HavePrefix("0.1.1dev"))
	})

	It("says what is missing before anything starts", func(ctx SpecContext) {
		good := f.Request(ctx, []string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64", "trixie", "sid")

		r := good
		r.Root = f.Root(ctx, "bookworm", root.Tools("gcc-12")...)
		_, err := kmod.Build(ctx, r)
		Expect(cause.Of(err).Cause).To(Equal(cause.ToolchainMismatch))
		Expect(err).To(MatchError(SatisfyAll(ContainSubstring("gcc-14"), ContainSubstring("gcc-12"))))

		r = good
		files := *good.Kernel
		files.Headers = ""
		r.Kernel = &files
		r.Resolved = &kernels.Resolved{HeadersMissing: []string{"linux-headers-gone (= 1)"}}
		_, err = kmod.Build(ctx, r)
		finding := cause.Of(err)
		Expect(finding.Cause).To(Equal(cause.HeadersMissing))
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("linux-headers-gone (= 1)"))
	})

	It("starts no build with a compiler that breaks a promise of the headers", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "sid")
		files := *r.Kernel
		files.Headers = GinkgoT().TempDir()
		dir := filepath.Join(files.Headers, files.HeaderDir)
		Expect(os.MkdirAll(dir, 0o755)).To(Succeed())
		Expect(os.WriteFile(filepath.Join(dir, ".config"), []byte("# as gcc-14 leaves it\nCONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=y\n"), 0o644)).To(Succeed())
		r.Kernel = &files
		_, err := kmod.Build(ctx, r)
		finding := cause.Of(err)
		Expect(finding.State).To(Equal(cause.Error))
		Expect(finding.Cause).To(Equal(cause.ToolchainMismatch), "%+v", err)
		Expect(err).To(MatchError(HavePrefix("minimum alignment of functions: promised by ")))
		Expect(finding.Evidence).To(ContainElement(SatisfyAll(HaveField("Line", 2), HaveField("Text", "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=y"))))
		Expect(os.ReadDir(r.Out)).To(BeEmpty(), "neither a log nor scratch")
	})

	It("builds all the same when it is forced to, and says what was broken", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "sid")
		config := filepath.Join(r.Kernel.Headers, r.Kernel.HeaderDir, ".config") // of a tree that is this spec's own
		text, err := os.ReadFile(config)
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Remove(config)).To(Succeed())
		Expect(os.WriteFile(config, append(text, "CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=y\n"...), 0o644)).To(Succeed())
		r.Force = true
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Broken).NotTo(BeNil())
		Expect(a.Broken.What).To(HavePrefix("minimum alignment of functions: promised by "))
		Expect(a.Broken.Evidence[0].Text).To(Equal("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=y"))
		Expect(a.Substitution).To(BeNil())
	})

	It("5.10 with clang-9, which knows no asm inline, is a mismatch, and the same when it is forced", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64", "bullseye", "sid")
		r.Root = f.Root(ctx, "bullseye", append(root.Tools("clang-9"), "llvm-9")...)
		r.Compiler = product.Compiler{Command: "clang-9", Family: "clang", Major: 9}
		_, err := kmod.Build(ctx, r)
		finding := cause.Of(err)
		Expect(finding.Cause).To(Equal(cause.ToolchainMismatch), "%+v", err)
		Expect(err).To(MatchError(ContainSubstring("asm inline")))
		Expect(os.ReadDir(r.Out)).To(BeEmpty(), "nothing was built")

		r.Force = true
		_, err = kmod.Build(ctx, r)
		forced := cause.Of(err)
		Expect(forced.State).To(Equal(cause.Error))
		Expect(forced.Cause).To(Equal(cause.ToolchainMismatch), "%+v", err)
		Expect(forced.Fault).To(Equal(cause.FaultToolchain))
		Expect(forced.Evidence).To(ContainElement(HaveField("Text", "CONFIG_CC_HAS_ASM_INLINE=y")))
		Expect(fmt.Sprint(forced.Evidence)).To(ContainSubstring("forced to build all the same: "))
		Expect(filepath.Join(r.Out, kmod.LogName)).To(BeARegularFile())
	})

	It("0.23.2 for arm64 6.1, on this machine", func(ctx SpecContext) {
		files, resolved := f.ARM64(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-arm64")
		r := kmod.Request{Kernel: files, Resolved: resolved, Source: f.Driver(ctx, "sid"),
			Root: f.Root(ctx, "bookworm", append(root.Tools("gcc-12-aarch64-linux-gnu"), "libc6")...), Out: GinkgoT().TempDir()}
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Compiler.Command).To(Equal("aarch64-linux-gnu-gcc-12"))
		Expect(a.Machine).To(Equal("EM_AARCH64"))
		Expect(a.Vermagic).To(MatchRegexp(`^6\.1\.0-\d+-cloud-arm64 .*aarch64`))
		Expect(a.Kernel.Arch).To(Equal("aarch64"))
		m, err := inspect.Read(a.Path)
		Expect(err).NotTo(HaveOccurred())
		Expect(m.Check(files.Kernel, files.Config)).To(Succeed())
		exported, err := inspect.Symbols(files)
		Expect(err).NotTo(HaveOccurred())
		_, err = m.CheckSymbols(files.Kernel, files.Config, exported)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)

		By("refusing it for the same release of another architecture")
		other := files.Kernel
		other.Arch = "x86_64"
		finding := cause.Of(m.Check(other, files.Config))
		Expect(finding.Cause).To(Equal(cause.VermagicMismatch))
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("EM_AARCH64"))
	})

	// From 6.1 on the kernel's Makefile gives -fconserve-stack, and on x86 -mrecord-mcount, wherever gcc configured it: no clang
	// knows them. That of 5.10 asks the compiler, but for -mfunction-return=thunk-extern, which clang-15 was the first to know.
	It("5.10, which gcc-10 configured, with clang-16, when it is forced to", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64", "bullseye", "sid")
		r.Root = f.Root(ctx, "bookworm", append(root.Tools("clang-16"), "llvm-16", "lld-16")...)
		r.Compiler = product.Compiler{Command: "clang-16", Family: "clang", Major: 16}
		r.Force = true
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		AddReportEntry("build", fmt.Sprintf("%s: %d bytes by %s, broken: %+v", a.Vermagic, a.Size, a.Compiler.Text, a.Broken), ReportEntryVisibilityAlways)
		Expect(a.Compiler.Text).To(ContainSubstring("clang version 16."))
		Expect(a.Substitution).To(HaveValue(Equal(product.Substitution{Wanted: "gcc-10", Used: "clang-16", Why: "it was asked for"})))
		Expect(a.Promises.Kept).To(ContainElement("CC_HAS_ASM_INLINE"))
		m, err := inspect.Read(a.Path)
		Expect(err).NotTo(HaveOccurred())
		Expect(m.Check(r.Kernel.Kernel, r.Kernel.Config)).To(Succeed())
		exported, err := inspect.Symbols(r.Kernel)
		Expect(err).NotTo(HaveOccurred())
		_, err = m.CheckSymbols(r.Kernel.Kernel, r.Kernel.Config, exported)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
	})

	It("does not remember what was not the driver's fault", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64", "trixie", "sid")
		r.Archive = farm.Empty()
		r.Limits.Wall = 500 * time.Millisecond
		_, err := kmod.Build(ctx, r)
		Expect(cause.Of(err).State).To(Equal(cause.Error))
		Expect(cause.Of(err).Cause).To(Equal(cause.BuildTimeout))
		r.Limits.Wall = 0
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.Cached).To(BeFalse())
	})
})
