// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/builders/sandbox"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// evil is a module that takes the kernel with it.
const evil = `#include <linux/module.h>
#include <linux/kernel.h>

static noinline int mews_evil_deed(void)
{
	panic("mews_evil was here");
	return 0;
}

static int __init mews_evil_init(void)
{
	return mews_evil_deed();
}

module_init(mews_evil_init);
MODULE_LICENSE("GPL");
`

// evilParts builds evil in place of the driver.
type evilParts struct{ *parts.Workshop }

func (e evilParts) Build(ctx context.Context, c *harness.Cell, f *kernels.Files, dir string) (*harness.Built, error) {
	cc, err := f.Config.Compiler()
	if err != nil {
		return nil, err
	}
	pkgs, err := e.Debian.Closure(ctx, matrix.Values(c.Kernel.Build), root.Tools(cc.Command)...)
	if err != nil {
		return nil, err
	}
	tree, err := e.Roots.Tree(ctx, pkgs)
	if err != nil {
		return nil, err
	}
	for name, text := range map[string]string{"mews_evil.c": evil, "Makefile": "obj-m := mews_evil.o\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	res, err := sandbox.Run(ctx, sandbox.Spec{
		Root: tree.Dir, Overlay: []string{f.Headers}, Scratch: dir, Log: GinkgoWriter,
		Argv: []string{"/usr/bin/make", "-C", f.HeaderDir, "M=" + sandbox.ScratchAt, "modules"},
	})
	if err == nil && res.ExitCode != 0 {
		err = fmt.Errorf("make: %s", res)
	}
	ko := filepath.Join(dir, "mews_evil.ko")
	return &harness.Built{Name: "mews_evil", Path: ko, Open: func() (io.ReadCloser, error) { return os.Open(ko) }}, err
}

func (evilParts) Inspect(*harness.Cell, *kernels.Files, *harness.Built) (string, error) {
	return "not inspected", nil
}

var _ = Describe("a module that panics", Label("boot", "build", "net"), func() {
	const memoryMiB = 640

	It("is KERNEL_PANIC twice, by the name of its function, and leaves the guest's memory", func(ctx SpecContext) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		agent := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", agent, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		shop, err := parts.Open(parts.Options{Matrix: m, Agent: agent, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())
		p, err := harness.MakePlan(ctx, m, harness.Selection{Profile: "quick", Kernels: []string{"debian-6.1"}, Drivers: []string{"falco-kmod"}}, cat, shop)
		Expect(err).NotTo(HaveOccurred())
		Expect(p.Cells).To(HaveLen(1))
		shop.Image = p.Image

		rec := memory{dir: GinkgoT().TempDir(), stages: map[string][]results.Stage{}, scenarios: map[string]results.Scenario{}}
		r := &harness.Runner{Parts: evilParts{shop}, Starter: qemu.Starter{}, Patience: 10, MemoryMiB: memoryMiB, Vmcore: true, Jobs: 1,
			Recorder: func(string) harness.Recorder { return &rec }, View: live.New(GinkgoWriter)}
		Expect(r.Run(ctx, p.Cells)).To(Succeed())

		flights := rec.stages[results.StageLoad]
		Expect(flights).To(HaveLen(3), "the first death, the doubt in it, the second: %+v", rec.stages)
		for _, death := range []results.Stage{flights[0], flights[2]} {
			Expect(death.Finding).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.KernelPanic), HaveField("Fault", cause.FaultDriver)), "%+v", death)
			Expect(death.Evidence).To(ContainElements(
				HaveField("Text", ContainSubstring("mews_evil was here")),
				HaveField("Text", MatchRegexp(`mews_evil_deed[.\w]*\+0x[0-9a-f]+/0x[0-9a-f]+ \[mews_evil\]`)),
				And(HaveField("File", machine.VmcoreFile), HaveField("Text", HavePrefix("the guest's memory, "))),
			))
		}
		Expect(flights[2].Evidence[0].Text).To(ContainSubstring("came twice"))

		core, err := elf.Open(filepath.Join(rec.dir, machine.VmcoreFile))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(core.Close)
		Expect(core.Type).To(Equal(elf.ET_CORE))
		Expect(core.Machine).To(Equal(elf.EM_X86_64))
		var notes, loaded uint64
		found := false
		for _, s := range core.Progs {
			switch s.Type {
			case elf.PT_NOTE:
				notes += s.Filesz
			case elf.PT_LOAD:
				loaded += s.Filesz
				found = found || holds(s, "mews_evil was here")
			}
		}
		Expect(notes).NotTo(BeZero())
		Expect(loaded).To(BeNumerically(">=", memoryMiB<<20))
		Expect(found).To(BeTrue(), "the module's own words are not in the memory")
	})
})

// holds reports whether text is in what a segment holds.
func holds(p *elf.Prog, text string) bool {
	GinkgoHelper()
	r := p.Open()
	buf := make([]byte, 1<<20)
	kept := 0 // of the last piece: text may lie across the seam
	for {
		n, err := io.ReadFull(r, buf[kept:])
		for i := 0; i+len(text) <= kept+n; i++ {
			if buf[i] == text[0] && string(buf[i:i+len(text)]) == text {
				return true
			}
		}
		if err != nil {
			Expect(err).To(Or(Equal(io.EOF), Equal(io.ErrUnexpectedEOF)))
			return false
		}
		kept = copy(buf, buf[len(buf)-len(text):])
	}
}
