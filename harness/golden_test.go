// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"maps"
	"path/filepath"
	"slices"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// judged runs cells and returns the run that they come to, with the directory of each by its id.
func judged(ctx context.Context, shop harness.Parts, cells []*harness.Cell) (results.Run, map[string]string) {
	GinkgoHelper()
	recs := map[string]*memory{}
	for _, c := range cells {
		recs[c.ID] = &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
	}
	r := &harness.Runner{Parts: shop, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: 640, Jobs: 1,
		Recorder: func(id string) harness.Recorder { return recs[id] }, View: live.New(GinkgoWriter)}
	Expect(r.Run(ctx, cells)).To(Succeed())
	run, dirs := results.Run{}, map[string]string{}
	for _, c := range cells {
		rec := results.Cell{ID: c.ID, Declared: results.Declared{Stages: c.Stages()}, Expect: c.Expect}
		for _, s := range c.Stages() {
			if done := recs[c.ID].last(s); done.Name != "" {
				rec.Stages = append(rec.Stages, done)
			}
		}
		run.Cells, dirs[c.Driver.Name] = append(run.Cells, rec), recs[c.ID].dir
	}
	return run.Settled(), dirs
}

// golden plans cells of the shipped profile.
func golden(ctx context.Context, drivers ...string) (*parts.Workshop, []*harness.Cell) {
	GinkgoHelper()
	m, cat, err := parts.Load("../matrix.yaml")
	Expect(err).NotTo(HaveOccurred())
	shop, err := parts.Open(parts.Options{Matrix: m, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
	Expect(err).NotTo(HaveOccurred())
	p, err := harness.MakePlan(ctx, m, harness.Selection{Profile: "golden", Drivers: drivers}, cat, shop)
	Expect(err).NotTo(HaveOccurred())
	return shop, p.Cells
}

var _ = Describe("a published log in a profile", func() {
	read := func(file string, expect results.Expect) int {
		GinkgoHelper()
		run, _ := judged(context.Background(), nil, []*harness.Cell{{ID: "a--b", Log: &matrix.Log{File: matrix.Str{V: file}}, Expect: &expect}})
		return results.ExitCode(run)
	}
	const corpus = "../builders/classify/testdata/corpus/"
	mismatch := results.Expect{State: cause.Error, Cause: cause.ToolchainMismatch, Evidence: "compiler_types.h:210: error: expected '(' before '__inline'"}

	It("is met by what mews reads out of it, and by nothing else", func() {
		Expect(read(corpus+"asm-inline-al2.log", mismatch)).To(Equal(results.ExitExpected))
		Expect(read(corpus+"asm-inline-clang10-ubuntu.log", mismatch)).To(Equal(results.ExitFellShort), "the same cause by another line")
		Expect(read(corpus+"api-drift-6.12.log", mismatch)).To(Equal(results.ExitFellShort), "the driver's own fault")
		Expect(read(corpus+"good-6.1.log", mismatch)).To(Equal(results.ExitLacking), "no failure at all")
		Expect(read(corpus+"nowhere.log", mismatch)).To(Equal(results.ExitLacking))
	})
})

// falcosecurity/falco#3054, with Debian's own clang 9 in the part of Amazon's old gcc.
var _ = Describe("profile golden and a compiler that is too old", Label("build", "net"), Ordered, func() {
	var shop *parts.Workshop
	var cells map[string]*harness.Cell
	BeforeAll(func(ctx SpecContext) {
		var all []*harness.Cell
		shop, all = golden(ctx, "scap-*", "falco-3054", "api-drift")
		cells = map[string]*harness.Cell{}
		for _, c := range all {
			cells[c.Driver.Name] = c
		}
		Expect(cells).To(HaveLen(6))
	})
	It("is as expected: found out without a build, by a build that is forced, and in the log that was published", func(ctx SpecContext) {
		run, dirs := judged(ctx, shop, slices.Collect(maps.Values(cells)))
		Expect(results.ExitCode(run)).To(Equal(results.ExitExpected), "%+v", run.Cells)
		Expect(run.Summary.Pass).To(Equal(2), "both good sides")
		Expect(filepath.Join(dirs["scap-clang-9"], "build.log")).NotTo(BeAnExistingFile(), "make was run")
		Expect(filepath.Join(dirs["scap-clang-9-forced"], "build.log")).To(BeAnExistingFile(), "nothing was built")
	})

	for name, m := range map[string]struct {
		cell   string
		change func(c *harness.Cell)
		exit   int
	}{
		"the right compiler on the bad side":                {"scap-clang-9", func(c *harness.Cell) { c.Driver.Compiler.V = "gcc-10" }, results.ExitFellShort},
		"the right compiler on the bad side that is forced": {"scap-clang-9-forced", func(c *harness.Cell) { c.Driver.Compiler.V = "gcc-10" }, results.ExitFellShort},
		"the wrong compiler on the good side":               {"scap-gcc-10", func(c *harness.Cell) { c.Driver.Compiler.V = "clang-9" }, results.ExitLacking},
		"a check of promises in place of the forced build":  {"scap-clang-9-forced", func(c *harness.Cell) { c.Driver.Force = false }, results.ExitFellShort},
		"another log": {"falco-3054", func(c *harness.Cell) { c.Log = cells["api-drift"].Log }, results.ExitFellShort},
	} {
		It("is not, with "+name, func(ctx SpecContext) {
			mutant, beside := *cells[m.cell], *cells["api-drift"]
			m.change(&mutant)
			run, _ := judged(ctx, shop, []*harness.Cell{&mutant, &beside})
			Expect(results.ExitCode(run)).To(Equal(m.exit), "%+v", run.Cells)
		})
	}
})

var _ = Describe("where a cell ends", func() {
	It("is at its build, without a guest, for a driver that says so", func() {
		c := &harness.Cell{Driver: matrix.Driver{Until: matrix.Str{V: matrix.UntilBuild}}}
		Expect(c.Stages()).To(Equal([]string{results.StageResolve, results.StageBuild, results.StageInspect}))
		Expect(c.Lane()).To(Equal(harness.LaneBuild))
		Expect((&harness.Cell{}).Lane()).To(Equal(harness.LaneBoot))
		Expect((&harness.Cell{Log: &matrix.Log{}}).Lane()).To(Equal(harness.LaneStatic))
	})
})
