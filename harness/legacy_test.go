// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results/cause"
)

var _ = Describe("Falco's legacy probe in a guest", Label("boot", "build", "net"), Ordered, ContinueOnFailure, func() {
	var probe []byte
	var c *agent.Client

	BeforeAll(func(ctx SpecContext) {
		m, cat, err := parts.Load("../matrix.yaml")
		Expect(err).NotTo(HaveOccurred())
		bin := filepath.Join(GinkgoT().TempDir(), "mews-agent")
		build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", bin, "../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		shop, err := parts.Open(parts.Options{Matrix: m, Agent: bin, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
		Expect(err).NotTo(HaveOccurred())
		p, err := harness.MakePlan(ctx, m, harness.Selection{Kernels: []string{"debian-6.1"}, Drivers: []string{"falco-ebpf"}}, cat, shop)
		Expect(err).NotTo(HaveOccurred())
		shop.Image = p.Image
		cell := p.Cells[0]
		files, err := shop.Kernel(ctx, cell.Resolved)
		Expect(err).NotTo(HaveOccurred())
		built, err := shop.Build(ctx, cell, files, GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		note, err := shop.Inspect(cell, files, built)
		Expect(err).NotTo(HaveOccurred())
		Expect(note).To(ContainSubstring("API 8.0.4"))
		r, err := built.Open()
		Expect(err).NotTo(HaveOccurred())
		defer r.Close()
		probe, err = io.ReadAll(r)
		Expect(err).NotTo(HaveOccurred())

		initrd, err := shop.Initramfs(ctx, files)
		Expect(err).NotTo(HaveOccurred())
		disks, err := shop.Disks(ctx, cell)
		Expect(err).NotTo(HaveOccurred())
		guest, err := qemu.Starter{}.Start(context.Background(), machine.Spec{
			Name: "legacy", Kernel: files.Image, Initrd: initrd, MemoryMiB: 640, Disks: disks, Dir: GinkgoT().TempDir()})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(guest.Stop(context.Background())).To(Succeed()) })
		c, err = agent.Dial(ctx, guest.Agent())
		Expect(err).NotTo(HaveOccurred(), "%v", guest.Console().Tail(30))
	}, NodeTimeout(10*time.Minute))

	// at is where a section's bytes are in the file; of several that begin with name, the first.
	at := func(name string) int {
		GinkgoHelper()
		f, err := elf.NewFile(bytes.NewReader(probe))
		Expect(err).NotTo(HaveOccurred())
		i := slices.IndexFunc(f.Sections, func(s *elf.Section) bool { return strings.HasPrefix(s.Name, name) && s.Size > 0 })
		Expect(i).To(BeNumerically(">=", 0))
		return int(f.Sections[i].Offset)
	}
	patched := func(offset int, with []byte) []byte {
		b := bytes.Clone(probe)
		copy(b[offset:], with)
		return b
	}
	type want struct {
		state cause.State
		cause cause.Cause
		fault cause.Fault
		says  string
	}
	refuses := func(ctx SpecContext, object []byte, w want) {
		GinkgoHelper()
		r, err := c.LoadLegacy(ctx, bytes.NewReader(object))
		AddReportEntry("sysdig", r.Log, ReportEntryVisibilityAlways)
		f := cause.Of(err)
		Expect(f).To(And(HaveField("State", w.state), HaveField("Cause", w.cause), HaveField("Fault", w.fault)), "%+v\n%s", err, r.Log)
		if w.says != "" {
			Expect(f.Evidence).To(ContainElement(HaveField("Text", ContainSubstring(w.says))))
		}
	}

	It("of another kernel is refused by its section kernel_version", func(ctx SpecContext) {
		refuses(ctx, patched(at("kernel_version"), []byte("9")), want{cause.Fail, cause.VermagicMismatch, cause.FaultDriver, "BPF probe is compiled for 9"})
	}, NodeTimeout(3*time.Minute))

	It("of another API is refused by its version", func(ctx SpecContext) {
		refuses(ctx, patched(at("api_version"), binary.LittleEndian.AppendUint64(nil, 9<<44)), want{cause.Fail, cause.APISchemaMismatch, cause.FaultDriver, "9.0.0"})
	}, NodeTimeout(10*time.Minute))

	// sysdig 0.41.4 dies of one that has none, and does not say why.
	It("that kills sysdig is no verdict on the probe, and the signal is named", func(ctx SpecContext) {
		_, err := c.LoadLegacy(ctx, bytes.NewReader(patched(at("api_version"), make([]byte, 8))))
		Expect(cause.Of(err)).To(And(HaveField("State", cause.Error), HaveField("Cause", cause.ConsumerBroken)), "%+v", err)
		Expect(err).To(MatchError(ContainSubstring("signal: segmentation fault")))
	}, NodeTimeout(10*time.Minute))

	It("that is cut short is nobody's fault but ours", func(ctx SpecContext) {
		refuses(ctx, probe[:40], want{cause.Error, cause.Internal, cause.FaultHarness, ""})
		refuses(ctx, probe[:len(probe)-100_000], want{cause.Error, cause.Internal, cause.FaultHarness, ""})
	}, NodeTimeout(3*time.Minute))

	It("whose map this kernel does not have is the kernel's limit", func(ctx SpecContext) {
		refuses(ctx, patched(at("maps"), binary.LittleEndian.AppendUint32(nil, 200)), want{cause.Fail, cause.UnsupportedMapType, cause.FaultKernel, "can't create map 0"})
	}, NodeTimeout(3*time.Minute))

	It("that reads a register nobody wrote is refused by the verifier, whose words are kept", func(ctx SpecContext) {
		ldx := []byte{0x79, 0x90, 0, 0, 0, 0, 0, 0} // r0 = *(u64 *)(r9 + 0)
		refuses(ctx, patched(at("raw_tracepoint/"), ldx), want{cause.Fail, cause.VerifierRejection, cause.FaultDriver, "R9 !read_ok"})
	}, NodeTimeout(5*time.Minute))

	It("that calls a helper that no kernel has is refused for it", func(ctx SpecContext) {
		call := []byte{0x85, 0, 0, 0, 0x0f, 0x27, 0, 0} // call 9999
		refuses(ctx, patched(at("raw_tracepoint/"), call), want{cause.Fail, cause.UnsupportedHelper, cause.FaultDriver, "9999"})
	}, NodeTimeout(5*time.Minute))

	It("that is sound captures an event, and leaves nothing behind", func(ctx SpecContext) {
		r, err := c.LoadLegacy(ctx, bytes.NewReader(probe))
		Expect(err).NotTo(HaveOccurred(), "%+v\n%s", err, r.Log)
		AddReportEntry("took", r.Took.String(), ReportEntryVisibilityAlways)
		_, err = c.LoadLegacy(ctx, bytes.NewReader(probe))
		Expect(err).To(MatchError(ContainSubstring("already")))
		Expect(c.UnloadLegacy(ctx)).To(Succeed())
	}, NodeTimeout(10*time.Minute))
})
