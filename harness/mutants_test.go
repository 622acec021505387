// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"fmt"
	"slices"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// A scenario proves something only if it can fall short. Each shipped one is done with an attack that does nothing, and with a
// twin that attacks; what passes is a scenario that would pass on a driver that is blind, or that sees attacks everywhere.
var _ = Describe("every shipped scenario, with its attack or its twin made wrong", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var h *hall
	BeforeAll(func(ctx SpecContext) { h = openHall(ctx) })

	DescribeTable("is reported", func(ctx SpecContext, driver string) {
		c := h.cell(ctx, "scenarios", "debian-6.1", driver)
		var mutants []scenarios.Scenario
		want := map[string]cause.Cause{}
		for _, s := range c.Scenarios {
			known := slices.ContainsFunc(c.Foresees, func(f results.Foreseen) bool { return f.Scenario == s.Name })
			if c.Unable[s.Name] != nil || known {
				continue // it is no pass as it is
			}
			idle, loud := s, s
			idle.Name, idle.Attack, idle.Cleanup = s.Name+"-with-an-idle-attack", nothing(s.Context), nil
			loud.Name, loud.Twin = s.Name+"-with-an-attacking-twin", s.Attack
			mutants = append(mutants, idle, loud)
			want[idle.Name], want[loud.Name] = cause.RuleSilent, cause.RuleFalseAlarm
		}
		Expect(len(mutants)).To(BeNumerically(">=", 50), "scenarios were left out")
		c.Scenarios, c.Unable = mutants, nil

		began := time.Now()
		m := h.fly(ctx, c, 30, false)
		AddReportEntry(fmt.Sprintf("%d mutants of %d scenarios by %s, in %.0f s", len(mutants), len(mutants)/2, driver, time.Since(began).Seconds()))
		Expect(m.last(results.StageScenarios).Note).To(ContainSubstring("each in a clone"), "%+v", m.stages)
		Expect(m.scenarios).To(HaveLen(len(mutants)))
		var missed []string
		for _, s := range mutants {
			if got := m.scenarios[s.Name]; got.State != cause.Fail || got.Cause != want[s.Name] {
				missed = append(missed, fmt.Sprintf("%s: %s %s, want %s; %v", s.Name, got.State, got.Cause, want[s.Name], got.Evidence))
			}
		}
		slices.Sort(missed)
		Expect(missed).To(BeEmpty())
	},
		Entry("by our probe", "mews-modern"),
		Entry("by Falco's module", "falco-kmod"),
	)
})

// nothing is a process that starts, carries the deed's id, and ends; of what there is in that context.
func nothing(where scenarios.Context) []scenarios.Step {
	if where == scenarios.Container {
		return steps("exec: {path: /usr/bin/true}")
	}
	return steps(`exec: {path: /usr/bin/mawk, args: ["BEGIN { exit }"]}`)
}
