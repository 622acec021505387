// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
)

// noNetwork is the network when it is gone.
type noNetwork struct{}

func (noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("no network: " + r.URL.String())
}

var _ = Describe("the host's own mirror", Label("net"), Ordered, func() {
	var store *archive.Archive
	var trees string

	BeforeAll(func() {
		// One kernel has 100 MB and more: what an earlier run fetched and verified serves this one too.
		dir := os.Getenv("MEWS_TEST_CACHE")
		if dir == "" {
			dir = GinkgoT().TempDir()
		}
		var err error
		store, err = archive.New(dir + "/archive")
		Expect(err).NotTo(HaveOccurred())
		trees = dir + "/trees"
	})

	open := func(offline bool) *Source {
		GinkgoHelper()
		o := Options{
			Archive:    store,
			Offline:    offline,
			Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
			ValidUntil: func(string) Policy { return Warn }, // the mirror of a test machine may be a snapshot
		}
		if offline {
			o.Transport = noNetwork{}
		}
		s, err := New(o)
		Expect(err).NotTo(HaveOccurred())
		return s
	}

	lines := []struct {
		suites  []string
		pattern string
		release string // regular expression
		split   bool
	}{
		{[]string{"bullseye-security", "bullseye"}, "5.10.*-cloud-amd64", `^5\.10\.0-\d+-cloud-amd64$`, false},
		{[]string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", `^6\.1\.0-\d+-cloud-amd64$`, false},
		{[]string{"trixie-security", "trixie"}, "6.12.*-cloud-amd64", `^6\.12\.\d+\+deb13(\.\d+)?-cloud-amd64$`, false},
		{[]string{"trixie-backports", "trixie"}, "7.*-cloud-amd64", `^7\.\d+\.\d+\+deb13(\.\d+)?-cloud-amd64$`, true},
	}

	resolve := func(ctx context.Context, s *Source, i int) *kernels.Resolved {
		GinkgoHelper()
		l := lines[i]
		rs, err := s.Resolve(ctx, l.suites, l.pattern, 1)
		Expect(err).NotTo(HaveOccurred())
		Expect(rs).To(HaveLen(1))
		return rs[0]
	}

	It("has the newest kernel of four lines, with headers", func(ctx SpecContext) {
		s := open(false)
		for i, l := range lines {
			r := resolve(ctx, s, i)
			GinkgoWriter.Println(r.Kernel.Release, r.PackageVersion)
			Expect(r.Kernel.Release).To(MatchRegexp(l.release))
			Expect(len(r.Image) > 1).To(Equal(l.split), "%v", r.Image)
			Expect(len(r.Headers)).To(BeNumerically(">=", 3), "headers, common, kbuild: %v", r.Headers)
		}
	})

	It("serves a kernel that unpacks, once more without a network", func(ctx SpecContext) {
		for _, offline := range []bool{false, true} {
			s := open(offline)
			r := resolve(ctx, s, 3)
			f, err := (&kernels.Trees{Dir: trees, Fetcher: s}).Files(ctx, r)
			Expect(err).NotTo(HaveOccurred())
			Expect(f.Image).To(BeARegularFile())
			Expect(f.Headers + "/usr/src/linux-headers-" + r.Kernel.Release + "/Makefile").To(BeARegularFile())
			Expect(f.Headers + "/usr/src/linux-headers-" + r.Kernel.Release + "/scripts/mod/modpost").To(BeARegularFile())
			cc, err := f.Config.Compiler()
			Expect(err).NotTo(HaveOccurred())
			Expect(cc.Command).To(Equal("gcc-14"))
			Expect(names(f.Modules("virtio_blk", "overlay"))).To(ContainElements("virtio_blk", "overlay"))
		}
	})

	It("can be asked for what a build root needs", func(ctx SpecContext) {
		for i, compiler := range []string{"gcc-10", "gcc-12", "gcc-14"} {
			ps, err := open(false).Closure(ctx, lines[i].suites, compiler, "make", "binutils", "kmod")
			Expect(err).NotTo(HaveOccurred())
			var all []string
			for _, p := range ps {
				all = append(all, p.Name)
			}
			GinkgoWriter.Println(len(all), strings.Join(all, " "))
			Expect(all).To(ContainElements(compiler, "libc6", "make", "binutils-x86-64-linux-gnu"))
		}
	})
})

func names(ms []kernels.Module, err error) ([]string, error) {
	var out []string
	for _, m := range ms {
		out = append(out, m.Name)
	}
	return out, err
}
