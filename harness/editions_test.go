// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// The faults that users of Falco met, each put into the probe on purpose: mews must see them, and must see that the probe
// without them is sound.
var _ = Describe("an edition of the probe that is known to be bad", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var fly func(ctx context.Context, kernel string, edition modern.Edition, types string) *memory

	BeforeAll(func(ctx SpecContext) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())

		fly = func(ctx context.Context, kernel string, edition modern.Edition, types string) *memory {
			GinkgoHelper()
			p, err := harness.MakePlan(ctx, m, harness.Selection{
				Profile: "quick", Kernels: []string{kernel}, Drivers: []string{"mews-modern"}, Scenarios: []string{"drop-and-execute"}}, cat, shop)
			Expect(err).NotTo(HaveOccurred())
			Expect(p.Cells).To(HaveLen(1))
			shop.Image = p.Image
			c := p.Cells[0]
			c.Driver.Source.Builtin.V = string(edition)
			c.Driver.BTF.V = types
			rec := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
			r := &harness.Runner{Parts: shop, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: 640, Jobs: 1,
				Recorder: func(string) harness.Recorder { return rec }, View: live.New(GinkgoWriter)}
			Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())
			return rec
		}
	})

	// 5.10 does not publish the types of its modules, of which overlay is one.
	It("loads and tells of events, and is silent where the layout of overlayfs was guessed wrong", func(ctx SpecContext) {
		bad := fly(ctx, "debian-5.10", modern.BadUpper, "")
		Expect(bad.last(results.StageLoad).State).To(Equal(cause.Pass), "%+v", bad.last(results.StageLoad))
		Expect(bad.last(results.StageEvents).State).To(Equal(cause.Pass), "%+v", bad.last(results.StageEvents))
		Expect(bad.scenarios["drop-and-execute"].Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.RuleSilent)))

		good := fly(ctx, "debian-5.10", modern.Good, "")
		Expect(good.scenarios["drop-and-execute"].State).To(Equal(cause.Pass), "%+v", good.scenarios)
	})

	It("is right where its guess happens to be", func(ctx SpecContext) {
		Expect(fly(ctx, "debian-7", modern.BadUpper, "").scenarios["drop-and-execute"].State).To(Equal(cause.Pass))
	})

	It("is refused by the kernel's own verifier for types that it does not look for, and the good one is not", func(ctx SpecContext) {
		types := filepath.Join("..", "testdata", "btf", "rhel8-4.18.0-2022-03.btf")
		load := fly(ctx, "debian-6.1", modern.BadOpenHow, types).last(results.StageLoad)
		Expect(load.Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.CORERelocation), HaveField("Fault", cause.FaultDriver)), "%+v", load)
		Expect(load.Evidence).To(ContainElement(HaveField("Text", ContainSubstring("program openat2: struct open_how.flags"))))
		Expect(load.Evidence[0].Text).To(ContainSubstring("openat2"))

		load = fly(ctx, "debian-6.1", modern.Good, types).last(results.StageLoad)
		Expect(load.State).To(Equal(cause.Pass), "%+v", load)
		Expect(load.Note).To(And(ContainSubstring("without openat2"), ContainSubstring("rhel8-4.18")))
	})
})
