// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/snapshot"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

var _ = Describe("a cell whose scenarios are done in clones", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var (
		shop  *parts.Workshop
		plan  func(ctx context.Context, driver string) *harness.Cell
		shelf *archive.Archive
	)
	BeforeAll(func(ctx SpecContext) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		shop, err = parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())
		shelf, err = archive.New(GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred())
		plan = func(ctx context.Context, driver string) *harness.Cell {
			GinkgoHelper()
			p, err := harness.MakePlan(ctx, m, harness.Selection{Profile: "stable", Kernels: []string{"debian-6.1"}, Drivers: []string{driver}}, cat, shop)
			Expect(err).NotTo(HaveOccurred())
			Expect(p.Cells).To(HaveLen(1))
			Expect(p.Cells[0].Err).NotTo(HaveOccurred())
			shop.Image = p.Image
			return p.Cells[0]
		}
	})

	// A machine with many tests on it must not be what is found.
	patient := qemu.Starter{BootTimeout: 40 * time.Second}
	// two is a cell of two scenarios that are quick to do.
	two := func(ctx context.Context) *harness.Cell {
		c := plan(ctx, "mews-modern")
		c.Scenarios = []scenarios.Scenario{find(c, "openat2-read-sensitive"), find(c, "read-sensitive")}
		return c
	}
	// flown is what the cell came to, and what the user was told meanwhile.
	flown := func(ctx context.Context, c *harness.Cell, s machine.Starter, noFork bool) (*memory, string) {
		GinkgoHelper()
		m := &memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
		var told strings.Builder
		r := &harness.Runner{Parts: shop, Starter: s, Patience: 30, MemoryMiB: 640, Jobs: 1, NoFork: noFork, Shelf: shelf,
			Recorder: func(string) harness.Recorder { return m }, View: live.New(&told)}
		Expect(r.Run(ctx, []*harness.Cell{c})).To(Succeed())
		GinkgoWriter.Println(told.String())
		return m, told.String()
	}
	// said is all that a verdict consists of, but for what is another each time: numbers, and names with an id in them.
	id := regexp.MustCompile(`[0-9a-f]{10,}`)
	said := func(m *memory) map[string]string {
		out := map[string]string{}
		for name, s := range m.stages {
			last := s[len(s)-1]
			out["stage "+name] = fmt.Sprint(last.State, last.Cause, last.Fault)
		}
		for name, s := range m.scenarios {
			line := fmt.Sprint(s.State, s.Cause, s.Fault, s.Fired, s.TwinFired)
			for _, f := range []string{"evt.type", "fd.name", "proc.exepath", "proc.is_exe_upper_layer", results.FieldContext} {
				line += fmt.Sprintf(" %s=%s", f, id.ReplaceAllString(s.Fields[f], "ID"))
			}
			out["scenario "+name] = line
		}
		return out
	}

	DescribeTable("comes to the verdicts of one boot", func(ctx SpecContext, driver string, rules int) {
		c := plan(ctx, driver)
		sound := find(c, "openat2-read-sensitive")
		// What is told apart must not only be a pass.
		idle, loud := sound, sound
		idle.Name, idle.Attack = "idle-attack", sound.Twin
		loud.Name, loud.Twin = "attacking-twin", sound.Attack
		chosen := []scenarios.Scenario{sound, idle, loud}
		var of []string
		for _, s := range c.Scenarios {
			if s.Rule != sound.Rule && !slices.Contains(of, s.Rule) && len(of) < rules-1 {
				chosen, of = append(chosen, s), append(of, s.Rule)
			}
		}
		c.Scenarios = chosen

		whole, _ := flown(ctx, c, patient, true)
		forked, told := flown(ctx, c, patient, false)
		Expect(told).NotTo(ContainSubstring("flown in one boot"))
		Expect(forked.last(results.StageScenarios).Note).To(ContainSubstring("each in a clone"))
		Expect(whole.last(results.StageScenarios).Note).NotTo(ContainSubstring("clone"))
		Expect(said(forked)).To(Equal(said(whole)))
		Expect(whole.scenarios["idle-attack"].Cause).To(Equal(cause.RuleSilent))
		Expect(filepath.Join(forked.dir, "clones", sound.Name, "dmesg.log")).NotTo(BeAnExistingFile(), "a pass leaves no logs of its clone, but what its console said")
		Expect(filepath.Join(forked.dir, "clones", idle.Name, "dmesg.log")).To(BeARegularFile())
	},
		Entry("by the probe", "mews-modern", 3),
		Entry("by Falco's module under sysdig", "falco-kmod", 5),
	)

	It("finds a kernel that complained in a clone, and flies again in one boot", func(ctx SpecContext) {
		c := two(ctx)
		m, _ := flown(ctx, c, splatting{patient}, false)
		// Only the clones complained, so that it does not come again.
		Expect(m.last(results.StageUnload).Finding).To(And(HaveField("State", cause.Error), HaveField("Cause", cause.FlakeSuspected)), "%+v", m.stages)
		Expect(m.stages[results.StageUnload][0].Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.KernelSplat),
			HaveField("Evidence", ContainElement(HaveField("File", "clones/openat2-read-sensitive/console.log")))))
	})

	It("boots anew when the kernel that was kept is torn, or whole and of no use", func(ctx SpecContext) {
		c := two(ctx)
		kept := func() string {
			GinkgoHelper()
			dirs, err := filepath.Glob(filepath.Join(shelf.Dir(), "made", "booted-*"))
			Expect(err).NotTo(HaveOccurred())
			Expect(dirs).To(HaveLen(1))
			return dirs[0]
		}
		m, _ := flown(ctx, c, patient, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass))
		m, told := flown(ctx, c, patient, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass))
		Expect(m.last(results.StageBoot).Note).To(ContainSubstring("from the boot of 20"))
		Expect(told).NotTo(ContainSubstring("booted again"))

		By("cut")
		Expect(os.Truncate(filepath.Join(kept(), "memory"), 1<<20)).To(Succeed())
		m, told = flown(ctx, c, patient, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass))
		Expect(told).To(ContainSubstring("is booted again"))

		By("devices' state that QEMU does not take")
		dir := kept()
		s, label, console, err := snapshot.Load(dir, strings.TrimPrefix(filepath.Base(dir), "booted-"))
		Expect(err).NotTo(HaveOccurred())
		Expect(s.State.Truncate(20_000)).To(Succeed())
		forged := GinkgoT().TempDir()
		Expect(snapshot.Keep(forged, s, label, console)).To(Succeed())
		Expect(s.Close()).To(Succeed())
		Expect(os.RemoveAll(dir)).To(Succeed())
		Expect(os.CopyFS(dir, os.DirFS(forged))).To(Succeed())
		m, told = flown(ctx, c, patient, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass))
		Expect(told).To(ContainSubstring("did not come to life, and is booted again"))
	})

	It("flies in one boot, and says why, when a guest cannot be saved, or the driver must not be", func(ctx SpecContext) {
		c := two(ctx)
		m, told := flown(ctx, c, unsaved{Starter: patient, after: new(starts)}, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass), "%+v", m.stages)
		Expect(told).To(ContainSubstring("flown in one boot"))
		Expect(m.last(results.StageBoot).Note).To(ContainSubstring("all in this one boot: a guest could not be saved"))

		c.Driver.Fork.V, c.Driver.ForkReason.V = "false", "it counts its own time"
		m, _ = flown(ctx, c, patient, false)
		Expect(m.last(results.StageUnload).State).To(Equal(cause.Pass))
		Expect(m.last(results.StageBoot).Note).To(HaveSuffix("all in this one boot: it counts its own time"))
	})
})

// splatting has the kernel of every clone complain on its console.
type splatting struct{ qemu.Starter }

func (s splatting) Start(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m, err := s.Starter.Start(ctx, spec)
	if err != nil || spec.From == nil || spec.Saved || !strings.Contains(spec.Dir, "clones") {
		return m, err
	}
	return complaining{m}, nil
}

type complaining struct{ machine.Machine }

func (c complaining) Console() machine.Console { return complaint{c.Machine.Console()} }

// starts counts.
type starts struct {
	mu sync.Mutex
	n  int
}

// unsaved saves the booted kernel, and nothing after it.
type unsaved struct {
	qemu.Starter
	after *starts
}

func (u unsaved) Start(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	m, err := u.Starter.Start(ctx, spec)
	u.after.mu.Lock()
	defer u.after.mu.Unlock()
	if err != nil || !spec.Saved {
		return m, err
	}
	if u.after.n++; u.after.n > 1 || spec.From != nil {
		return stuck{m}, nil
	}
	return m, nil
}

type stuck struct{ machine.Machine }

func (s stuck) Save(ctx context.Context) (*machine.Snapshot, error) {
	return nil, cause.Errorf(cause.VMCrashed, cause.FaultInfra, "no room to save it")
}

// complaint is a console on which the kernel warned of something.
type complaint struct{ machine.Console }

func (complaint) Splats() []splat.Splat {
	return splat.Scan(machine.ConsoleLog, "WARNING: CPU: 0 PID: 1 at kernel/test.c:1 test+0x1/0x2\n")
}
