// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

func TestHarness(t *testing.T) { suite.Run(t, "harness") }

// memory keeps what a cell came to; it is the recorder of these tests.
type memory struct {
	mu        sync.Mutex
	dir       string
	stages    map[string][]results.Stage
	scenarios map[string]results.Scenario
	perf      []results.Perf
	started   func(stage string)
}

func (m *memory) Dir() string { return m.dir }
func (m *memory) Start(stage string) error {
	if m.started != nil {
		m.started(stage)
	}
	return nil
}
func (m *memory) Stage(s results.Stage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stages[s.Name] = append(m.stages[s.Name], s)
	return nil
}
func (m *memory) Scenario(s results.Scenario) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.scenarios[s.Name] = s
	return nil
}
func (m *memory) Perf(p ...results.Perf) error {
	m.perf = results.MergePerf(m.perf, p...)
	return nil
}
func (m *memory) Alerts(string, string, []scenarios.Alert) error { return nil }

// last is the record that stands of a stage.
func (m *memory) last(stage string) results.Stage {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.stages[stage]; len(s) > 0 {
		return s[len(s)-1]
	}
	return results.Stage{}
}

var _ = Describe("a cell that is broken on purpose", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var (
		shop *parts.Workshop
		plan func(ctx context.Context, profile, kernel, driver string) *harness.Cell
		fly  func(ctx context.Context, c *harness.Cell, p harness.Parts, s machine.Starter, m *memory) error
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

		plan = func(ctx context.Context, profile, kernel, driver string) *harness.Cell {
			GinkgoHelper()
			p, err := harness.MakePlan(ctx, m, harness.Selection{Profile: profile, Kernels: []string{kernel}, Drivers: []string{driver}}, cat, shop)
			Expect(err).NotTo(HaveOccurred())
			Expect(p.Cells).To(HaveLen(1))
			Expect(p.Cells[0].Err).NotTo(HaveOccurred())
			shop.Image = p.Image
			return p.Cells[0]
		}
		fly = func(ctx context.Context, c *harness.Cell, p harness.Parts, s machine.Starter, m *memory) error {
			m.dir, m.stages, m.scenarios = GinkgoT().TempDir(), map[string][]results.Stage{}, map[string]results.Scenario{}
			r := &harness.Runner{Parts: p, Starter: s, Patience: 10, MemoryMiB: 640, Jobs: 1,
				Recorder: func(string) harness.Recorder { return m }, View: live.New(GinkgoWriter)}
			return r.Run(ctx, []*harness.Cell{c})
		}
	})

	DescribeTable("is told apart from one that is sound, scenario by scenario", func(ctx SpecContext, profile, driver string) {
		c := plan(ctx, profile, "debian-6.1", driver)
		sound := find(c, "openat2-read-sensitive")
		// An attack that does nothing harmful must be RULE_SILENT, a twin that attacks RULE_FALSE_ALARM: were they
		// not, the passes beside them would prove nothing.
		idle, loud := sound, sound
		idle.Name, idle.Attack = "idle-attack", sound.Twin
		loud.Name, loud.Twin = "attacking-twin", sound.Attack
		c.Scenarios = []scenarios.Scenario{sound, idle, loud}
		var m memory
		Expect(fly(ctx, c, shop, qemu.Starter{}, &m)).To(Succeed())

		Expect(m.last(results.StageEvents).State).To(Equal(cause.Pass), "%+v", m.stages)
		Expect(m.scenarios[sound.Name].State).To(Equal(cause.Pass))
		Expect(m.scenarios[idle.Name].Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.RuleSilent), HaveField("Fault", cause.FaultDriver)))
		Expect(m.scenarios[loud.Name].Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.RuleFalseAlarm)))
		Expect(m.last(results.StageScenarios).State).To(Equal(cause.Fail), "the stage is as bad as its worst scenario")
	},
		Entry("by the probe", "quick", "mews-modern"),
		Entry("by ptrace", "ptrace", "mews-ptrace"),
	)

	It("fails with VERMAGIC_MISMATCH when its module is of another kernel, in inspect and at load", func(ctx SpecContext) {
		c := plan(ctx, "quick", "debian-6.1", "falco-kmod")
		wrong := &otherVermagic{Workshop: shop, release: c.Resolved.Kernel.Release}
		var m memory
		Expect(fly(ctx, c, wrong, qemu.Starter{}, &m)).To(Succeed())
		Expect(m.last(results.StageInspect).Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.VermagicMismatch)))
		Expect(m.stages).NotTo(HaveKey(results.StageBoot), "nothing is booted for a module that cannot load")

		wrong.uninspected = true // what inspect would miss, the kernel refuses
		Expect(fly(ctx, c, wrong, qemu.Starter{}, &m)).To(Succeed())
		load := m.last(results.StageLoad)
		Expect(load.Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.VermagicMismatch)), "%+v", load)
		Expect(load.Evidence).To(ContainElement(HaveField("Text", ContainSubstring("version magic"))))
	})

	It("is an error of the infrastructure when its emulator is killed", func(ctx SpecContext) {
		c := plan(ctx, "quick", "debian-5.10", "mews-modern")
		var m memory
		s := &watched{}
		m.started = func(stage string) {
			if stage == results.StageLoad {
				s.kill()
			}
		}
		Expect(fly(ctx, c, shop, s, &m)).To(Succeed())
		load := m.last(results.StageLoad)
		Expect(load.Finding).To(And(HaveField("State", cause.Error), HaveField("Cause", cause.VMCrashed), HaveField("Fault", cause.FaultInfra)), "%+v", load)
	})
})

func find(c *harness.Cell, name string) scenarios.Scenario {
	for _, s := range c.Scenarios {
		if s.Name == name {
			return s
		}
	}
	Fail("no scenario " + name)
	return scenarios.Scenario{}
}

// otherVermagic hands out modules whose vermagic is another kernel's. The release alone is not enough for the kernel:
// where both sides have modversions it compares only what comes after it (same_magic in kernel/module/version.c), so
// a module of 6.9.0-56 loads on 6.1.0-56 and works. Inspect is stricter on purpose.
type otherVermagic struct {
	*parts.Workshop
	release     string
	uninspected bool
}

func (o *otherVermagic) Build(ctx context.Context, c *harness.Cell, f *kernels.Files, dir string) (*harness.Built, error) {
	b, err := o.Workshop.Build(ctx, c, f, dir)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(b.Path)
	if err != nil {
		return nil, err
	}
	magic := "vermagic=" + o.release + " SMP"
	other := strings.NewReplacer("6.1", "6.9", "SMP", "UMP").Replace(magic)
	changed := bytes.Replace(data, []byte(magic), []byte(other), 1)
	if bytes.Equal(changed, data) {
		return nil, errors.New("the module holds no " + magic)
	}
	if err := os.WriteFile(b.Path, changed, 0o644); err != nil {
		return nil, err
	}
	b.Open = func() (io.ReadCloser, error) { return os.Open(b.Path) }
	return b, nil
}

func (o *otherVermagic) Inspect(c *harness.Cell, f *kernels.Files, b *harness.Built) (string, error) {
	if o.uninspected {
		return "not inspected", nil
	}
	return o.Workshop.Inspect(c, f, b)
}

// watched is QEMU whose process can be killed from outside, as an OOM killer would.
type watched struct {
	qemu.Starter
	console string
}

func (w *watched) Start(ctx context.Context, s machine.Spec) (machine.Machine, error) {
	w.console = s.Name
	return w.Starter.Start(ctx, s)
}

// kill ends the one emulator that is this process's child and names the machine on its command line.
func (w *watched) kill() {
	GinkgoHelper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	Expect(err).NotTo(HaveOccurred())
	for _, p := range procs {
		cmd, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !bytes.Contains(cmd, []byte("qemu-system")) || !bytes.Contains(cmd, []byte(w.console)) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(p, "stat"))
		if err != nil {
			continue
		}
		// pid (comm) state ppid ...: the name may hold anything, but no bracket follows its last.
		var pid, ppid int
		var state string
		head, rest, _ := strings.Cut(string(stat), " (")
		rest = rest[strings.LastIndex(rest, ")")+1:]
		_, err = fmt.Sscan(head, &pid)
		_, perr := fmt.Sscan(rest, &state, &ppid)
		if err == nil && perr == nil && ppid == os.Getpid() {
			Expect(syscall.Kill(pid, syscall.SIGKILL)).To(Succeed())
			return
		}
	}
	Fail("no emulator of this process runs " + w.console)
}
