// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/internal/farm"
	"github.com/mews-farm/mews/builders/kmod"
	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/builders/source"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/results/cause"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestSource(t *testing.T) {
	suite.Run(t, "builders/source")
}

// upstream is falcosecurity/libs 0.20.0 as upstream released it: what Debian's source package was made from, by its dsc.
const (
	upstream       = "/pool/main/f/falcosecurity-libs/falcosecurity-libs_0.20.0.orig.tar.gz"
	upstreamDigest = "4ae6ddb42a1012bacd88c63abdaa7bd27ca0143c4721338a22c45597e63bc99d"
)

var _ = Describe("A checkout of falcosecurity/libs", Label("build", "net"), Ordered, func() {
	var f *farm.Farm
	var libs *source.Source
	BeforeAll(func(ctx SpecContext) {
		f = farm.New()
		file := f.File(ctx, upstream, upstreamDigest)
		var err error
		libs, err = source.Open(ctx, f.Archive, file, source.Options{Version: "8.0.0+driver"})
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
	})

	It("tells what it holds", func() {
		Expect(libs.Layout).To(Equal(source.Libs))
		Expect(libs.Variants).To(Equal([]product.Variant{product.KMod, product.EBPF, product.Modern}))
		Expect(libs.API).To(Equal("8.0.3"))
		Expect(libs.Schema).To(MatchRegexp(`^\d+\.\d+\.\d+$`))
	})

	It("is configured by its own cmake, under Falco's name, and builds", func(ctx SpecContext) {
		r := f.Request(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", "bookworm", "sid")
		c := source.Configuration{
			Source: libs, Names: source.Names{Driver: "falco"}, Compiler: "gcc-12",
			Root: f.Whole(ctx, "bookworm", source.CMakeTools("gcc-12")...), Scratch: GinkgoT().TempDir(),
		}
		tree, err := source.Configure(ctx, c)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(fmt.Sprintf("%s %s %s %s %s %v", tree.Layout, tree.Base(), tree.Device, tree.API, tree.Schema, tree.Variants)).
			To(Equal("dkms falco-8.0.0+driver falco 8.0.3 " + libs.Schema + " [kmod ebpf]"))
		Expect(os.ReadDir(c.Scratch)).To(BeEmpty())

		By("finding it when asked again")
		c.Limits.Wall = 1
		again, err := source.Configure(ctx, c)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(again.Digest).To(Equal(tree.Digest))

		By("laying out what Debian's package holds of the same version")
		debian := f.Driver(ctx, "trixie")
		ours, theirs := GinkgoT().TempDir(), GinkgoT().TempDir()
		Expect(tree.Unpack(ctx, ours, nil)).To(Succeed())
		Expect(debian.Unpack(ctx, theirs, nil)).To(Succeed())
		for _, name := range []string{"ppm_fillers.c", "configure/ACCESS_OK_2/build.sh", "configure/ACCESS_OK_2/Makefile.inc", "bpf/fillers.h", "bpf/Makefile"} {
			got, err := os.ReadFile(filepath.Join(ours, name))
			Expect(err).NotTo(HaveOccurred())
			Expect(os.ReadFile(filepath.Join(theirs, name))).To(Equal(got), name)
		}

		By("building it")
		r.Source = tree
		a, err := kmod.Build(ctx, r)
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		Expect(a.ModuleName).To(Equal("falco"))
		Expect(a.File).To(Equal("falco.ko"))
		Expect(a.Device).To(Equal("falco"))
		Expect(a.DriverVersion).To(Equal("8.0.0+driver"))
		Expect(a.APIVersion).To(Equal("8.0.3"))
		text, err := os.ReadFile(a.Path)
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Contains(string(text), "8.0.0+driver")).To(BeTrue())
	})

	It("whose cmake fails says why", func(ctx SpecContext) {
		dir := GinkgoT().TempDir()
		for name, text := range map[string]string{"CMakeLists.txt": `message(FATAL_ERROR "no drivers today")`, "main.c": ""} {
			Expect(os.MkdirAll(filepath.Join(dir, "driver"), 0o755)).To(Succeed())
			Expect(os.WriteFile(filepath.Join(dir, "driver", name), []byte(text), 0o644)).To(Succeed())
		}
		broken, err := source.Open(ctx, f.Archive, dir, source.Options{})
		Expect(err).NotTo(HaveOccurred())
		_, err = source.Configure(ctx, source.Configuration{
			Source: broken, Compiler: "gcc-12", Root: f.Whole(ctx, "bookworm", source.CMakeTools("gcc-12")...), Scratch: GinkgoT().TempDir(),
		})
		finding := cause.Of(err)
		Expect(finding.Cause).To(Equal(cause.SourceUnusable))
		Expect(finding.Fault).To(Equal(cause.FaultDriver))
		Expect(fmt.Sprint(finding.Evidence)).To(ContainSubstring("no drivers today"))
	})
})
