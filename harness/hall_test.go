// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/scenarios"
)

// hall is what a spec stands on that flies cells of the shipped matrix.
type hall struct {
	matrix  *matrix.Matrix
	catalog *scenarios.Catalog
	shop    *parts.Workshop
	shelf   *archive.Archive
}

// openHall opens it. Guests have more packages than theirs beside the consumer, if any are named.
func openHall(ctx context.Context, more ...string) *hall {
	GinkgoHelper()
	m, cat, err := parts.Load("../matrix.yaml")
	Expect(err).NotTo(HaveOccurred())
	for i := range m.Userlands {
		u := &m.Userlands[i].Value
		for _, p := range more {
			u.Packages = append(u.Packages, matrix.Str{V: p})
		}
	}
	agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", out)
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
	Expect(err).NotTo(HaveOccurred())
	shelf, err := archive.New(GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	return &hall{m, cat, shop, shelf}
}

// cell is the one that is selected.
func (h *hall) cell(ctx context.Context, profile, kernel, driver string) *harness.Cell {
	GinkgoHelper()
	p, err := harness.MakePlan(ctx, h.matrix, harness.Selection{Profile: profile, Kernels: []string{kernel}, Drivers: []string{driver}}, h.catalog, h.shop)
	Expect(err).NotTo(HaveOccurred())
	Expect(p.Cells).To(HaveLen(1))
	Expect(p.Cells[0].Err).NotTo(HaveOccurred())
	h.shop.Image = p.Image
	return p.Cells[0]
}

// fly is what a cell came to, with so much patience, in clones or in one boot. A machine with many tests on it must not be what
// is found.
func (h *hall) fly(ctx context.Context, c *harness.Cell, patient harness.Patience, noFork bool) *memory {
	GinkgoHelper()
	m := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
	r := &harness.Runner{Parts: h.shop, Starter: qemu.Starter{BootTimeout: 40 * time.Second}, Patience: patient, MemoryMiB: 640, Jobs: 1, NoFork: noFork, Shelf: h.shelf,
		Recorder: func(string) harness.Recorder { return m }, View: live.New(GinkgoWriter)}
	Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())
	return m
}

// steps are the given ones of a scenario's file, each an action with its parameters.
func steps(of ...string) []scenarios.Step {
	GinkgoHelper()
	list := ""
	for _, s := range of {
		list += "\n  - " + s
	}
	s, err := scenarios.Parse("steps.yaml", []byte("name: steps\nrule: none\ncontext: host\nattack:"+list+"\ntwin:"+list+"\nexpect: {priority: Warning}\n"))
	Expect(err).NotTo(HaveOccurred())
	return s.Attack
}
