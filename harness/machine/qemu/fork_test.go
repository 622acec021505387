// SPDX-License-Identifier: Apache-2.0

package qemu_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/stock"
	"github.com/mews-farm/mews/internal/sparse"
)

var _ = Describe("a QEMU machine that is saved", Label("boot"), Ordered, ContinueOnFailure, func() {
	var (
		spec  machine.Spec
		cold  time.Duration
		saved *machine.Snapshot
	)
	ctx := context.Background()
	start := func(s machine.Spec) machine.Machine {
		GinkgoHelper()
		s.Dir = GinkgoT().TempDir()
		m, err := qemu.Starter{}.Start(ctx, s)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(m.Stop(ctx)).To(Succeed()) })
		return m
	}
	BeforeAll(func() {
		k, err := stock.Oldest(ctx)
		Expect(err).NotTo(HaveOccurred())
		dir := GinkgoT().TempDir()
		init := filepath.Join(dir, "guest")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", init, "./testdata/guest")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		initrd, err := initramfs.Cached(dir, init, k.Modules)
		Expect(err).NotTo(HaveOccurred())
		image := filepath.Join(dir, "disk")
		Expect(os.WriteFile(image, append([]byte("hello"), make([]byte, 1<<20-5)...), 0o600)).To(Succeed())
		spec = machine.Spec{
			Name: "fork", Kernel: k.Image, Initrd: initrd, MemoryMiB: 256, Cmdline: []string{"MEWS_GUEST=answer"}, Saved: true,
			Disks: []machine.Disk{{Path: image, Serial: "userland", ReadOnly: true}},
		}
		began := time.Now()
		m := start(spec)
		Expect(talkTo(m).ask("keep root")).To(Equal("nothing"))
		cold = time.Since(began)
		began = time.Now()
		saved, err = m.(machine.Saver).Save(ctx)
		Expect(err).NotTo(HaveOccurred())
		GinkgoWriter.Printf("cold boot %v, saved in %v\n", cold, time.Since(began))
		Expect(m.Done()).To(BeClosed(), "a machine that was saved is gone")
		Expect(m.Err()).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(saved.Close()).To(Succeed()) })
	})

	clone := func() machine.Spec {
		s := spec
		s.Saved, s.From = false, saved
		return s
	}
	digest := func(f *os.File) string {
		h := sha256.New()
		_, err := io.Copy(h, io.NewSectionReader(f, 0, 1<<40))
		Expect(err).NotTo(HaveOccurred())
		return fmt.Sprintf("%x", h.Sum(nil))
	}

	It("goes on where it was, many times at once, and none sees another's memory", func() {
		memory, state := digest(saved.Memory), digest(saved.State)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				defer GinkgoRecover()
				began := time.Now()
				agent := talkTo(start(clone()))
				Expect(agent.ask(fmt.Sprintf("keep %d", i))).To(Equal("root"))
				GinkgoWriter.Printf("clone %d answered after %v\n", i, time.Since(began))
				Expect(agent.ask("keep x")).To(Equal(fmt.Sprint(i)))
				Expect(agent.ask("disk userland")).To(Equal("hello ro=1"))
			})
		}
		wg.Wait()
		Expect(digest(saved.Memory)).To(Equal(memory))
		Expect(digest(saved.State)).To(Equal(state))
	})

	It("can be saved again further on, and the first stays what it was", func() {
		s := clone()
		s.Saved = true
		m := start(s)
		Expect(talkTo(m).ask("keep branch")).To(Equal("root"))
		second, err := m.(machine.Saver).Save(ctx)
		Expect(err).NotTo(HaveOccurred())
		defer second.Close()
		Expect(second.Key).To(Equal(saved.Key))
		s.Saved, s.From = false, second
		Expect(talkTo(start(s)).ask("keep leaf")).To(Equal("branch"))
		Expect(talkTo(start(clone())).ask("keep leaf")).To(Equal("root"))
		_, err = second.Memory.WriteAt([]byte("x"), 0)
		Expect(err).To(HaveOccurred(), "a snapshot's memory can be written to")
	})

	It("tells a panic in a clone, with the line of its console after those that were there", func() {
		s := clone()
		s.Dir = GinkgoT().TempDir()
		Expect(os.WriteFile(filepath.Join(s.Dir, machine.ConsoleLog), []byte("one\ntwo\n"), 0o600)).To(Succeed())
		m, err := qemu.Starter{}.Start(ctx, s)
		Expect(err).NotTo(HaveOccurred())
		agent := talkTo(m)
		Expect(agent.ask("echo x")).To(Equal("x"))
		agent.tell("sysrq c")
		Eventually(m.Done()).WithTimeout(time.Minute).Should(BeClosed())
		Expect(m.Err()).To(MatchError(ContainSubstring("sysrq triggered crash")))
		log, err := os.ReadFile(filepath.Join(s.Dir, machine.ConsoleLog))
		Expect(err).NotTo(HaveOccurred())
		Expect(string(log)).To(HavePrefix("one\ntwo\n"))
		Expect(m.Console().Tail(1000)[0].Line).To(Equal(3))
	})

	It("is refused by another machine", func() {
		other := clone()
		other.MemoryMiB = 300
		other.Dir = GinkgoT().TempDir()
		_, err := qemu.Starter{}.Start(ctx, other)
		Expect(err).To(MatchError(ContainSubstring("another machine")))
	})

	DescribeTable("is refused when it is torn", func(tear func(memory, state *os.File)) {
		memory, state := copyOf(saved.Memory), copyOf(saved.State)
		tear(memory, state)
		s := clone()
		s.Dir = GinkgoT().TempDir()
		s.From = &machine.Snapshot{Key: saved.Key, Memory: memory, State: state}
		m, err := qemu.Starter{}.Start(ctx, s)
		if err == nil {
			m.Stop(ctx)
		}
		Expect(err).To(HaveOccurred())
		GinkgoWriter.Println(err)
	},
		Entry("memory cut", func(memory, _ *os.File) { Expect(memory.Truncate(100 << 20)).To(Succeed()) }),
		Entry("state cut", func(_, state *os.File) { Expect(state.Truncate(20_000)).To(Succeed()) }),
		Entry("state empty", func(_, state *os.File) { Expect(state.Truncate(0)).To(Succeed()) }),
		Entry("state of something else", func(_, state *os.File) {
			_, err := state.WriteAt(make([]byte, 64), 0)
			Expect(err).NotTo(HaveOccurred())
		}),
	)

	It("is only what was started for it", func() {
		_, err := start(clone()).(machine.Saver).Save(ctx)
		Expect(err).To(MatchError(ContainSubstring("not started to be saved")))
	})
})

// copyOf is a file like f that can be written to.
func copyOf(f *os.File) *os.File {
	GinkgoHelper()
	c, err := os.Create(filepath.Join(GinkgoT().TempDir(), "copy"))
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(c.Close)
	_, err = sparse.Copy(c, f)
	Expect(err).NotTo(HaveOccurred())
	return c
}
