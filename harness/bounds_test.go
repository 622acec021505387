// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	. "github.com/onsi/gomega/gstruct"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// hazard is an attack that does harm to the guest, or would without its bounds, and what is to be said of it.
type hazard struct {
	name    string
	where   scenarios.Context
	attack  string
	cleanup []string
	want    cause.Cause
	says    string
}

// The shell that replaces itself returns only when it is ended, whatever became of its children.
var (
	bomb          = hazard{"fork-bomb", scenarios.Host, `exec: {path: /usr/bin/dash, args: [-c, "b() { b | b & }; b; exec sleep 1000000"]}`, nil, cause.ScenarioLimit, "the bound of 256 processes"}
	bombInside    = hazard{"fork-bomb-inside", scenarios.Container, bomb.attack, nil, cause.ScenarioLimit, "the bound of 256 processes"}
	eater         = hazard{"eater", scenarios.Host, `exec: {path: /usr/bin/dd, args: [if=/dev/zero, of=/run/fill, bs=1M]}`, nil, cause.ScenarioLimit, "the bound of 256 MiB"}
	full          = hazard{"full-disk", scenarios.Host, `exec: {path: /usr/bin/dd, args: [if=/dev/zero, of=/tmp/fill, bs=1M]}`, []string{"remove: {path: /tmp/fill}"}, cause.ScenarioBroken, "exit status 1"}
	fullInside    = hazard{"full-disk-inside", scenarios.Container, `exec: {path: /usr/bin/dd, args: [if=/dev/zero, of=/root/fill, bs=1M]}`, nil, cause.ScenarioBroken, "exit status 1"}
	endless       = hazard{"endless", scenarios.Host, `exec: {path: /usr/bin/sleep, args: ["1000000"]}`, nil, cause.ScenarioTimeout, "did not end in its time"}
	endlessInside = hazard{"endless-inside", scenarios.Container, endless.attack, nil, cause.ScenarioTimeout, "did not end in its time"}
	// The parent of the agent is PID 1, with which the kernel would end: it takes no notice.
	patricide = hazard{"kills-the-agents-parent", scenarios.Host, `exec: {path: /usr/bin/dash, args: [-c, "for s in TERM INT SEGV KILL; do kill -$s 1; done"]}`, nil, cause.RuleSilent, "did not fire"}
	killer    = hazard{"kills-the-agent", scenarios.Host, `exec: {path: /usr/bin/dash, args: [-c, "while read k v; do [ $k = PPid: ] && kill -9 $v; done </proc/$PPID/status; exec sleep 1000000"]}`, nil, cause.ScenarioBroken, "killed mews's agent"}
)

var _ = Describe("a scenario that would be the end of its guest", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var h *hall
	BeforeAll(func(ctx SpecContext) { h = openHall(ctx, "coreutils", "dash") })

	DescribeTable("is ended by its bounds, and the next one is not touched", func(ctx SpecContext, noFork bool, hazards ...hazard) {
		c := h.cell(ctx, "scenarios", "debian-6.1", "mews-modern")
		sound := find(c, "read-sensitive")
		c.Scenarios, c.Unable = nil, nil
		for i, z := range hazards {
			s := sound
			s.Name, s.Context, s.Setup, s.Cleanup = z.name, z.where, nil, nil
			if z.cleanup != nil {
				s.Cleanup = steps(z.cleanup...)
			}
			s.Attack, s.Twin = steps(z.attack), nothing(z.where)
			next := sound
			next.Name = fmt.Sprintf("next-%d", i)
			c.Scenarios = append(c.Scenarios, s, next)
		}
		m := h.fly(ctx, c, 6, noFork)
		Expect(m.scenarios).To(HaveLen(2*len(hazards)), "%+v", m.stages)
		for i, z := range hazards {
			fault := cause.FaultScenario
			if z.want == cause.RuleSilent {
				fault = cause.FaultDriver // the guest goes on, and the attack was none
			}
			Expect(m.scenarios[z.name].Finding).To(MatchFields(IgnoreExtras, Fields{
				"Cause": Equal(z.want), "Fault": Equal(fault), "Evidence": ContainElement(HaveField("Text", ContainSubstring(z.says)))}), z.name)
			Expect(m.scenarios[fmt.Sprintf("next-%d", i)].Finding).To(HaveField("State", cause.Pass), "after "+z.name)
		}
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass), "%+v", m.stages)
	},
		Entry("with its clone", false, bomb, bombInside, eater, full, fullInside, endless, endlessInside, patricide, killer),
		Entry("in the one guest that all have", true, bomb, full, fullInside, endless, patricide),
	)
})
