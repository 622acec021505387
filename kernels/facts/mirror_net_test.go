// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"cmp"
	"context"
	"os"
	"strings"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
)

var _ = Describe("kernels of the host's own mirror", Label("net"), func() {
	files := func(ctx context.Context, arch, pattern string, suites ...string) *kernels.Files {
		GinkgoHelper()
		f, err := realKernel(ctx, cmp.Or(os.Getenv("MEWS_TEST_CACHE"), GinkgoT().TempDir()), arch, pattern, suites...)
		Expect(err).NotTo(HaveOccurred())
		return f
	}

	DescribeTable("say what they are", func(ctx SpecContext, arch, pattern, format, compression, compiler string, suites ...string) {
		f, err := Of(ctx, files(ctx, arch, pattern, suites...))
		Expect(err).NotTo(HaveOccurred())
		Expect(f.Render(GinkgoWriter)).To(Succeed())
		Expect(f.Image.Format).To(Equal(format))
		Expect(f.Image.Compression).To(Equal(compression))
		Expect(f.Image.BuildID).To(HaveLen(40))
		Expect(f.Banner.Release).To(Equal(f.Release))
		Expect(f.Disagreements).To(BeEmpty())

		Expect(f.Compilers.Agree).To(BeTrue())
		Expect(f.Compilers.Family).To(Equal("gcc"))
		Expect(strings.HasPrefix(f.Compilers.Version, compiler+".")).To(BeTrue(), f.Compilers.Version)
		var from []string
		for _, c := range f.Compilers.Claims {
			from = append(from, c.From)
		}
		Expect(from).To(ContainElements("config", "banner", ".comment of overlay"))
		if arch == "amd64" {
			Expect(from).To(ContainElement("compile.h"))
		}

		Expect(f.BTF.Functions).To(BeNumerically(">", 20_000))
		Expect(f.BTF.OpenHow).To(Equal([]string{"flags", "mode", "resolve"}))
		Expect(f.BTF.HasMap("ringbuf")).To(BeTrue())
		Expect(f.BTF.HasAttach("trace_raw_tp")).To(BeTrue())
		Expect(f.Openat2).To(Equal(Yes))
		Expect(f.Boot.OK).To(BeTrue(), "%q", f.Boot.Reasons)
		Expect(f.Boot.Lacks).To(BeEmpty())
	},
		Entry("5.10", "amd64", "5.10.*-cloud-amd64", FormatBzImage, "lz4", "10", "bullseye-security", "bullseye"),
		Entry("6.1", "amd64", "6.1.*-cloud-amd64", FormatBzImage, "lz4", "12", "bookworm-security", "bookworm"),
		Entry("6.12", "amd64", "6.12.*-cloud-amd64", FormatBzImage, "zstd", "14", "trixie-security", "trixie"),
		Entry("7.x", "amd64", "7.*-cloud-amd64", FormatBzImage, "zstd", "14", "trixie-backports", "trixie"),
		Entry("6.12 of arm64", "arm64", "6.12.*-cloud-arm64", FormatImage, "none", "14", "trixie"),
	)
})

// realKernel fetches and unpacks the newest kernel of the host's own mirror that matches pattern. One has 100 MB and more:
// what an earlier run left in dir serves this one too.
func realKernel(ctx context.Context, dir, arch, pattern string, suites ...string) (*kernels.Files, error) {
	store, err := archive.New(dir + "/archive")
	if err != nil {
		return nil, err
	}
	s, err := debian.New(debian.Options{
		Archive:    store,
		Arch:       arch,
		Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
		ValidUntil: func(string) debian.Policy { return debian.Warn }, // the mirror of a test machine may be a snapshot
	})
	if err != nil {
		return nil, err
	}
	found, err := s.Resolve(ctx, suites, pattern, 1)
	if err != nil {
		return nil, err
	}
	if arch != "amd64" {
		found[0].Headers = nil // 50 MB that say nothing new
	}
	return (&kernels.Trees{Dir: dir + "/trees", Fetcher: s}).Files(ctx, found[0])
}

// BenchmarkOf is the figure of `mews kernels show`: 1 s of CPU or less for a kernel.
func BenchmarkOf(b *testing.B) {
	dir := os.Getenv("MEWS_TEST_CACHE")
	if dir == "" {
		b.Skip("MEWS_TEST_CACHE names no folder to keep a kernel of 100 MB in")
	}
	for _, line := range []struct{ suite, pattern string }{
		{"bullseye-security", "5.10.*-cloud-amd64"}, {"bookworm-security", "6.1.*-cloud-amd64"},
		{"trixie-security", "6.12.*-cloud-amd64"}, {"trixie-backports", "7.*-cloud-amd64"},
	} {
		b.Run(line.pattern, func(b *testing.B) {
			f, err := realKernel(b.Context(), dir, "amd64", line.pattern, line.suite, strings.Split(line.suite, "-")[0])
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Of(b.Context(), f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
