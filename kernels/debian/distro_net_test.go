// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apt"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("all of Debian", Label("net"), Ordered, func() {
	var d *Distro
	var all []kernels.Entry
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		store, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		d, err = NewDistro(DistroOptions{
			Options: Options{
				Archive:    store,
				Warn:       func(text string) { GinkgoWriter.Println("warning:", text) },
				ValidUntil: func(string) Policy { return Warn }, // the mirror of a test machine may be a snapshot
			},
			Suites: append(slices.Clone(DefaultSuites), "experimental", "bullseye-backports"),
		})
		Expect(err).NotTo(HaveOccurred())
		all, err = d.Enumerate(ctx)
		// Backports of a release that old are on archive.debian.org alone: a repo that cannot be read, beside those that can.
		for _, e := range unjoin(err) {
			var re *kernels.RepoError
			Expect(errors.As(e, &re)).To(BeTrue(), "%v", e)
			Expect(re.Repo).To(HavePrefix("bullseye-backports/"), "%v", e)
			Expect(cause.Of(e).Cause).To(Equal(cause.MirrorUnreachable))
		}
	})

	It("has at least 140 kernels, of every line from 5.10 to 7.3", func() {
		number := regexp.MustCompile(`^\d+\.\d+`)
		seen := map[kernels.Kernel]bool{}
		lines := map[string]int{}
		without, half := map[string]int{}, map[string]int{}
		bootable := 0
		for _, e := range all {
			Expect(e.Image).NotTo(BeEmpty(), e.Release)
			for _, p := range append(slices.Clone(e.Image), e.Headers...) {
				Expect(p.Digest.Valid()).To(BeTrue(), "%s: %+v", e.Release, p)
			}
			gone := slices.ContainsFunc(e.Policies, func(p kernels.Policy) bool { return p.Variant == "kmod" && p.Cause == cause.HeadersMissing })
			Expect(gone).To(Equal(len(e.Headers) == 0), "%s in %s: %v", e.Release, e.Repo, e.Policies)
			if seen[e.Kernel] {
				continue // in two suites
			}
			seen[e.Kernel] = true
			line := number.FindString(e.PackageVersion)
			lines[line]++
			if e.Unbootable != "" {
				half[line]++
			} else {
				bootable++
			}
			if gone {
				without[line]++
			}
		}
		var text []string
		for line, n := range lines {
			text = append(text, line)
			GinkgoWriter.Printf("%-5s %3d kernels, %d of them without headers, %d without modules\n", line, n, without[line], half[line])
		}
		slices.SortFunc(text, apt.Compare)
		AddReportEntry("bootable kernels", bootable, ReportEntryVisibilityAlways)
		AddReportEntry("lines", strings.Join(text, " "), ReportEntryVisibilityAlways)
		Expect(bootable).To(BeNumerically(">=", 140))
		Expect(text).To(ContainElements("5.10", "6.1", "6.12", "6.16", "6.17", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3"))
		for _, flavour := range []string{"amd64", "cloud-amd64", "rt-amd64", "arm64", "cloud-arm64"} {
			Expect(all).To(ContainElement(HaveField("Flavour", flavour)))
		}
	})
})

// unjoin takes apart what errors.Join made.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	return err.(interface{ Unwrap() []error }).Unwrap()
}
