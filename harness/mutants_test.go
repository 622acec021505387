// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"fmt"
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
	"github.com/mews-farm/mews/scenarios"
)

// A mutant is a scenario that is wrong on purpose. A harness that passes one would pass anything.
type mutant struct {
	suffix string
	change func(*scenarios.Scenario)
	want   cause.Cause
}

var mutants = []mutant{
	{"nothing", func(s *scenarios.Scenario) { s.Attack = nil }, cause.ScenarioBroken},
	{"harmless", func(s *scenarios.Scenario) { s.Attack = s.Twin }, cause.RuleSilent},
	{"no-twin", func(s *scenarios.Scenario) { s.Twin = s.Attack }, cause.RuleFalseAlarm},
}

// cellOf plans one cell of the shipped matrix, with a workshop and an agent to run it.
func cellOf(ctx context.Context, profile, kernel, driver string, own *scenarios.Catalog) (*parts.Workshop, *harness.Cell) {
	GinkgoHelper()
	m, cat, err := parts.Load("../matrix.yaml")
	Expect(err).NotTo(HaveOccurred())
	sel := harness.Selection{Profile: profile, Kernels: []string{kernel}, Drivers: []string{driver}}
	if own != nil {
		Expect(cat.Add(own)).To(Succeed())
		sel.Beside, sel.Scenarios = own.Names(), own.Names()
	}
	agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", out)
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
	Expect(err).NotTo(HaveOccurred())
	p, err := harness.MakePlan(ctx, m, sel, cat, shop)
	Expect(err).NotTo(HaveOccurred())
	Expect(p.Cells).To(HaveLen(1))
	shop.Image = p.Image
	return shop, p.Cells[0]
}

// flown runs one cell to its end.
func flown(ctx context.Context, shop harness.Parts, c *harness.Cell) *memory {
	GinkgoHelper()
	rec := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
	r := &harness.Runner{Parts: shop, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: 640, Jobs: 1,
		Recorder: func(string) harness.Recorder { return rec }, View: live.New(GinkgoWriter)}
	Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())
	return rec
}

var _ = Describe("every mutant of every scenario", Label("boot", "build", "net"), func() {
	It("is reported, on a kernel where the scenario itself passes", func(ctx SpecContext) {
		shop, c := cellOf(ctx, "scenarios", "debian-6.1", "mews-modern", nil)
		var able []scenarios.Scenario
		for _, s := range c.Scenarios {
			if c.Unable[s.Name] == nil {
				able = append(able, s)
			}
		}
		Expect(able).NotTo(BeEmpty())
		c.Scenarios = nil
		for _, s := range able {
			c.Scenarios = append(c.Scenarios, s)
			for _, m := range mutants {
				mutated := s
				mutated.Name += "--" + m.suffix
				m.change(&mutated)
				c.Scenarios = append(c.Scenarios, mutated)
			}
		}
		c.Unable = nil
		rec := flown(ctx, shop, c)
		sound, reported := 0, 0
		for _, s := range able {
			original, ok := rec.scenarios[s.Name]
			Expect(ok).To(BeTrue(), "%s was not judged: %+v", s.Name, rec.last(results.StageScenarios))
			if original.State == cause.Unsupported {
				AddReportEntry("unsupported", s.Name+": "+fmt.Sprint(original.Evidence), ReportEntryVisibilityAlways)
				continue
			}
			Expect(original.State).To(Equal(cause.Pass), "%s itself: %+v", s.Name, original)
			sound++
			for _, m := range mutants {
				got := rec.scenarios[s.Name+"--"+m.suffix]
				Expect(got.Cause).To(Equal(m.want), "mutant %s of %s: %+v", m.suffix, s.Name, got)
				reported++
			}
		}
		AddReportEntry("mutants", fmt.Sprintf("%d of %d scenarios reported, %d sound", reported, sound*len(mutants), sound), ReportEntryVisibilityAlways)
		Expect(reported).To(BeNumerically(">=", 50), "the issue asks for 50 and more")
	})
})
