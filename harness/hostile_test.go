// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
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
		for name, want := range map[string]cause.Finding{
			"a-fork-bomb":      {State: cause.Error, Cause: cause.ScenarioLimit, Fault: cause.FaultScenario},
			"b-endless":        {State: cause.Error, Cause: cause.ScenarioTimeout, Fault: cause.FaultScenario},
			"c-full-disk":      {State: cause.Error, Cause: cause.ScenarioBroken, Fault: cause.FaultScenario},
			"drop-and-execute": {State: cause.Pass},
		} {
			got := rec.scenarios[name].Finding
			AddReportEntry(name, got, ReportEntryVisibilityAlways)
			Expect(got).To(And(HaveField("State", want.State), HaveField("Cause", want.Cause), HaveField("Fault", want.Fault)), name)
		}
	})
})
