// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// From 7.0 on a kernel preempts programs at raw tracepoints, and skips them meanwhile.
var _ = Describe("a kernel that preempts programs", Label("boot", "build", "net"), func() {
	// boot is a guest of 7.x, and the driver built for it.
	boot := func(ctx context.Context, driver string) (*agent.Client, *harness.Built) {
		GinkgoHelper()
		h := openHall(ctx)
		cell := h.cell(ctx, "", "debian-7", driver)
		files, err := h.shop.Kernel(ctx, cell.Resolved)
		Expect(err).NotTo(HaveOccurred())
		built, err := h.shop.Build(ctx, cell, files, GinkgoT().TempDir())
		Expect(err).NotTo(HaveOccurred(), "%+v", err)
		initrd, err := h.shop.Initramfs(ctx, files)
		Expect(err).NotTo(HaveOccurred())
		disks, err := h.shop.Disks(ctx, cell)
		Expect(err).NotTo(HaveOccurred())
		guest, err := qemu.Starter{}.Start(context.Background(), machine.Spec{
			Name: "preempts", Kernel: files.Image, Initrd: initrd, MemoryMiB: 640, Disks: disks, Dir: GinkgoT().TempDir()})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(guest.Stop(context.Background())).To(Succeed()) })
		c, err := agent.Dial(ctx, guest.Agent())
		Expect(err).NotTo(HaveOccurred(), "%v", guest.Console().Tail(30))
		return c, built
	}

	It("skips Falco's legacy probe, which says that it lost nothing", func(ctx SpecContext) {
		c, built := boot(ctx, "falco-ebpf")
		probe, err := built.Open()
		Expect(err).NotTo(HaveOccurred())
		defer probe.Close()
		Expect(c.KeepLegacy(ctx, probe)).To(Succeed())
		_, err = c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Sysdig})
		Expect(err).NotTo(HaveOccurred())
		r, err := c.CheckEvents(ctx)
		Expect(err).NotTo(HaveOccurred())
		f := cause.Of(r.Err())
		Expect(f).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.EventDrops), HaveField("Fault", cause.FaultDriver)), "%+v", f)
		Expect(f.Evidence).To(ContainElement(HaveField("Text", ContainSubstring("did not run program sys_exit for "))))
		_, err = c.StopConsumer(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(c.UnloadLegacy(ctx)).To(Succeed(), "the programs whose count is read are still held")
	}, NodeTimeout(20*time.Minute))

	It("skips no program of ours, whatever a crowd does", func(ctx SpecContext) {
		c, _ := boot(ctx, "mews-modern")
		_, err := c.LoadProbe(ctx, agent.Probe{})
		Expect(err).NotTo(HaveOccurred())
		_, err = c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native, Watches: []consumer.Watch{
			{Name: "execs", Condition: "evt.type in (execve, execveat) and proc.exepath=/usr/bin/true", Fields: []string{"proc.pid"}}}})
		Expect(err).NotTo(HaveOccurred())
		r, err := c.CheckEvents(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(r.Err()).To(Succeed())
		const each = 40
		id := scenarios.NewID()
		script := fmt.Sprintf("for j in 1 2 3 4; do ( i=0; while [ $i -lt %d ]; do /usr/bin/true; i=$((i+1)); done ) & done; wait", each)
		request, err := json.Marshal(map[string]any{"id": id, "context": agent.InContainer,
			"steps": []any{map[string]any{"exec": map[string]any{"path": "/bin/dash", "args": []string{"-c", script}}}}})
		Expect(err).NotTo(HaveOccurred())
		deed, err := c.RunDeed(ctx, agent.Deed{ID: id, Context: agent.InContainer, Request: request})
		Expect(err).NotTo(HaveOccurred())
		Expect(deed.Failure).NotTo(HaveOccurred())
		Expect(deed.Matches).To(HaveLen(4 * each))
		Expect(deed.Skipped).To(BeEmpty())
		stats, err := c.StopConsumer(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(stats.DropsBy).To(BeEmpty())
	}, NodeTimeout(10*time.Minute))
})
