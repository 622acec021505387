// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/internal/strictyaml"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("a consumer of the user's own over Falco's module", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	const scenario = "openat2-read-sensitive"
	var fly func(ctx context.Context, by matrix.Consumer) *memory
	var asFalco string

	BeforeAll(func(ctx SpecContext) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		tmp := GinkgoT().TempDir()
		agent := filepath.Join(tmp, "mews-agent")
		asFalco = filepath.Join(tmp, "asfalco")
		for out, pkg := range map[string]string{agent: "../cmd/mews-agent", asFalco: "./testdata/asfalco"} {
			build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", out, pkg)
			build.Env = append(os.Environ(), "CGO_ENABLED=0")
			said, err := build.CombinedOutput()
			Expect(err).NotTo(HaveOccurred(), "%s", said)
		}
		shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())

		fly = func(ctx context.Context, by matrix.Consumer) *memory {
			GinkgoHelper()
			p, err := harness.MakePlan(ctx, m, harness.Selection{
				Profile: "quick", Kernels: []string{"debian-6.1"}, Drivers: []string{"falco-kmod"}, Scenarios: []string{scenario}}, cat, shop)
			Expect(err).NotTo(HaveOccurred())
			Expect(p.Cells).To(HaveLen(1))
			shop.Image = p.Image
			c := p.Cells[0]
			by.Userland = c.Consumer.Userland
			c.Consumer = by
			rec := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
			r := &harness.Runner{Parts: shop, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: 640, Jobs: 1,
				Recorder: func(string) harness.Recorder { return rec }, View: live.New(GinkgoWriter)}
			Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())
			return rec
		}
	})

	words := func(list ...string) []matrix.Str {
		var out []matrix.Str
		for _, w := range list {
			out = append(out, strictyaml.Str{V: w})
		}
		return out
	}
	command := func(argv ...string) matrix.Consumer {
		return matrix.Consumer{Kind: strictyaml.Str{V: matrix.Command}, Argv: words(argv...)}
	}
	falco := func(how string) matrix.Consumer {
		GinkgoHelper()
		file := filepath.Join(GinkgoT().TempDir(), "how")
		Expect(os.WriteFile(file, []byte(how), 0o644)).To(Succeed())
		return matrix.Consumer{
			Kind: strictyaml.Str{V: matrix.Falco}, Argv: words("/usr/bin/falco"),
			Files: []matrix.File{
				{From: strictyaml.Str{V: asFalco}, To: strictyaml.Str{V: "/usr/bin/falco"}},
				{From: strictyaml.Str{V: file}, To: strictyaml.Str{V: "/usr/share/asfalco"}, Mode: strictyaml.Str{V: "0644"}},
			},
		}
	}

	It("that says that all is well is a pass of the events, and no scenario is", func(ctx SpecContext) {
		rec := fly(ctx, command("sysdig", "-n", "50"))
		Expect(rec.last(results.StageEvents).State).To(Equal(cause.Pass), "%+v", rec.last(results.StageEvents))
		Expect(rec.last(results.StageEvents).Note).To(ContainSubstring("sysdig exited with 0"))
		Expect(rec.scenarios[scenario].Finding).To(And(HaveField("State", cause.Unsupported), HaveField("Cause", cause.NoRules)))
		Expect(rec.last(results.StageScenarios).State).To(Equal(cause.Unsupported))
		Expect(rec.last(results.StageUnload).State).To(Equal(cause.Pass), "%+v", rec.last(results.StageUnload))
		Expect(os.ReadFile(filepath.Join(rec.dir, "command.log"))).NotTo(BeEmpty())
	})

	It("that says that it fell short is a fail of the driver", func(ctx SpecContext) {
		by := falco("well")
		by.Kind.V, by.Argv = matrix.Command, words("/usr/bin/falco", "fails")
		rec := fly(ctx, by)
		Expect(rec.last(results.StageEvents).Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.ConsumerFailed), HaveField("Fault", cause.FaultDriver)))
		Expect(rec.scenarios).To(BeEmpty())
	})

	It("that is a Falco gives verdicts as any other", func(ctx SpecContext) {
		rec := fly(ctx, falco("well"))
		Expect(rec.last(results.StageEvents).State).To(Equal(cause.Pass), "%+v", rec.last(results.StageEvents))
		Expect(rec.last(results.StageEvents).Note).To(ContainSubstring("Falco version: 0.0.0"))
		Expect(rec.scenarios[scenario].State).To(Equal(cause.Pass), "%+v", rec.scenarios)
		Expect(rec.scenarios[scenario].Fired).To(Equal(1))
		Expect(rec.last(results.StageUnload).State).To(Equal(cause.Pass), "%+v", rec.last(results.StageUnload))
	})

	It("that is a Falco whose output is broken gives none", func(ctx SpecContext) {
		rec := fly(ctx, falco("garbage"))
		Expect(rec.last(results.StageScenarios).Finding).To(And(HaveField("State", cause.Error), HaveField("Cause", cause.ConsumerBroken)), "%+v", rec.stages)
		Expect(rec.scenarios).To(BeEmpty())
	})
})
