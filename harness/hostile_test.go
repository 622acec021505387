// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

var _ = Describe("a scenario that means harm", Label("boot", "build", "net"), func() {
	It("is ended by its own bounds, with a name, and the next is not touched", func(ctx SpecContext) {
		own, err := scenarios.Dir("testdata/hostile")
		Expect(err).NotTo(HaveOccurred())
		shop, c := cellOf(ctx, "quick", "debian-6.1", "mews-modern", own)
		cat, err := scenarios.Builtin()
		Expect(err).NotTo(HaveOccurred())
		after, err := cat.Get("drop-and-execute")
		Expect(err).NotTo(HaveOccurred())
		Expect(c.Scenarios).To(HaveLen(3))
		c.Scenarios = append(c.Scenarios, after)
		rec := flown(ctx, shop, c)
		for name, want := range map[string][]cause.Cause{
			// It ends by itself when the kernel refuses to fork, or is ended; the bound is what it came to in either case.
			"a-fork-bomb":      {cause.ScenarioLimit, cause.ScenarioTimeout, cause.ScenarioBroken},
			"b-endless":        {cause.ScenarioTimeout},
			"c-full-disk":      {cause.ScenarioBroken},
			"drop-and-execute": {""},
		} {
			got := rec.scenarios[name].Finding
			AddReportEntry(name, fmt.Sprintf("%+v", got), ReportEntryVisibilityAlways)
			Expect(want).To(ContainElement(got.Cause), "%s: %+v", name, got)
			if got.State != cause.Pass {
				Expect(got.Fault).To(Equal(cause.FaultScenario), name)
			}
		}
	})
})
