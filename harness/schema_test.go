// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// The pairs are real: Falco's drivers of 2022 and of today, each with the sysdig of the other's time.
var _ = Describe("a consumer of another time than the driver's", Label("boot", "build", "net"), func() {
	DescribeTable("is refused by both versions, and never said to have seen nothing", func(ctx SpecContext, driver, consumer string, says ...string) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())
		p, err := harness.MakePlan(ctx, m, harness.Selection{Kernels: []string{"debian-6.1"}, Drivers: []string{driver}, Scenarios: []string{"openat2-read-sensitive"}}, cat, shop)
		Expect(err).NotTo(HaveOccurred())
		Expect(p.Cells).To(HaveLen(1))
		shop.Image = p.Image
		c := p.Cells[0]
		var known bool
		c.Consumer, known = m.Consumers.Get(consumer)
		Expect(known).To(BeTrue())
		rec := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
		r := &harness.Runner{Parts: shop, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: 640, Jobs: 1,
			Recorder: func(string) harness.Recorder { return rec }, View: live.New(GinkgoWriter)}
		Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())

		events := rec.last(results.StageEvents)
		GinkgoWriter.Printf("%+v\n", events)
		Expect(events.Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.APISchemaMismatch), HaveField("Fault", cause.FaultDriver)), "%+v", rec.stages)
		for _, s := range says {
			Expect(events.Evidence).To(ContainElement(HaveField("Text", ContainSubstring(s))))
		}
		Expect(rec.scenarios).To(BeEmpty())
	},
		Entry("a driver of 2022 with a sysdig of today", "falco-kmod-2022", "sysdig", "consumer: 0.41", "driver: API 1.0.0, schema 1.0.0"),
		Entry("a driver of today with a sysdig of 2022", "falco-kmod", "sysdig-2022", "consumer: 0.29", "driver: API 8.0.4, schema 4.1.0"),
	)
})
