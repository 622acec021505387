// SPDX-License-Identifier: Apache-2.0

package qemu_test

import (
	"bufio"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/stock"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/results/cause"
)

func TestQEMU(t *testing.T) { suite.Run(t, "machine/qemu") }

var _ = Describe("a QEMU machine", Label("boot"), Ordered, ContinueOnFailure, func() {
	var (
		kernels []stock.Kernel
		init    string
		cache   string
	)
	BeforeAll(func() {
		var err error
		kernels, err = stock.Kernels(context.Background())
		Expect(err).NotTo(HaveOccurred())
		cache = GinkgoT().TempDir()
		init = filepath.Join(cache, "guest")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", init, "./testdata/guest")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
	})

	spec := func(k stock.Kernel, behave string) machine.Spec {
		initrd, err := initramfs.Cached(cache, init, k.Modules)
		Expect(err).NotTo(HaveOccurred())
		return machine.Spec{
			Name: "test-" + behave, Kernel: k.Image, Initrd: initrd, MemoryMiB: 256,
			Cmdline: []string{"MEWS_GUEST=" + behave}, Dir: GinkgoT().TempDir(),
		}
	}
	// The smallest and quickest kernel to boot serves where the kernel does not matter.
	start := func(s qemu.Starter, behave string) machine.Machine {
		m, err := s.Start(context.Background(), spec(kernels[len(kernels)-1], behave))
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
		return m
	}

	It("boots every stock kernel to an agent that answers, reads its disks and powers off", func() {
		for _, k := range kernels {
			By(k.Release)
			s := spec(k, "answer")
			s.Name = "a,b" // QEMU's option parser must not see two options
			image := filepath.Join(s.Dir, "disk,with,commas")
			Expect(os.WriteFile(image, append([]byte("hello"), make([]byte, 1<<20-5)...), 0o600)).To(Succeed())
			s.Disks = []machine.Disk{{Path: image, Serial: "userland", ReadOnly: true}, {Path: image + "2", Serial: "container"}}
			Expect(os.WriteFile(image+"2", append([]byte("world"), make([]byte, 1<<20-5)...), 0o600)).To(Succeed())

			m, err := qemu.Starter{}.Start(context.Background(), s)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
			agent := talkTo(m)
			Expect(agent.ask("echo are you there")).To(Equal("are you there"))
			Expect(agent.ask("disk userland")).To(Equal("hello ro=1"))
			Expect(agent.ask("disk container")).To(Equal("world ro=0"))
			Expect(residentMiB(qemuOf(m, s))).To(BeNumerically("<=", 1024))
			agent.tell("poweroff")
			Eventually(m.Done()).WithTimeout(time.Minute).Should(BeClosed())
			Expect(m.Err()).NotTo(HaveOccurred())
			Expect(m.Console().Splats()).To(BeEmpty(), "a stock kernel complains")
		}
	})

	DescribeTable("tells how a guest ended", func(behave string, code cause.Cause, state cause.State, fault cause.Fault, evidence string) {
		m := start(qemu.Starter{}, behave)
		Eventually(m.Done()).WithTimeout(2 * time.Minute).Should(BeClosed())
		expectFinding(m.Err(), code, state, fault, evidence)
	},
		Entry("panic in the boot", "panic", cause.BootPanic, cause.Fail, cause.FaultKernel, "RIP: .*sysrq_handle_crash|sysrq triggered crash"),
		Entry("init exits", "exit", cause.BootPanic, cause.Error, cause.FaultHarness, "test guest: told to exit"),
		Entry("power off before the answer", "poweroff", cause.AgentLost, cause.Error, cause.FaultHarness, "powered off before its agent answered"),
		Entry("reset without a word", "reset", cause.BootPanic, cause.Fail, cause.FaultKernel, "reset itself"),
	)

	It("gives up on a boot at its deadline and says where the kernel was", func() {
		s := qemu.Starter{BootTimeout: 4 * time.Second} // 40 s under TCG, for a loaded machine to open the port
		mute, dumb := start(s, "mute"), start(s, "dumb")
		for m, evidence := range map[machine.Machine]string{
			mute: "never opened its port(.|\n)*NMI",
			dumb: "opened its port and said nothing(.|\n)*NMI",
		} {
			Eventually(m.Done()).WithTimeout(2 * time.Minute).Should(BeClosed())
			expectFinding(m.Err(), cause.BootTimeout, cause.Error, cause.FaultInfra, evidence)
		}
	})

	It("tells a panic after the answer from one in the boot", func() {
		m := start(qemu.Starter{}, "answer")
		agent := talkTo(m)
		Expect(agent.ask("echo x")).To(Equal("x"))
		agent.tell("sysrq c")
		Eventually(m.Done()).WithTimeout(time.Minute).Should(BeClosed())
		expectFinding(m.Err(), cause.KernelPanic, cause.Fail, cause.FaultKernel, "Call Trace")
		Expect(m.Console().Splatted()).To(BeClosed())
		log, err := os.ReadFile(m.Console().Path())
		Expect(err).NotTo(HaveOccurred())
		Expect(string(log)).To(ContainSubstring("Kernel panic - not syncing"))
	})

	It("makes a silent guest say where it is", func() {
		m := start(qemu.Starter{}, "answer")
		agent := talkTo(m)
		Expect(agent.ask("echo x")).To(Equal("x"))
		agent.tell("silence")
		expectFinding(m.Diagnose(context.Background()), cause.KernelHang, cause.Fail, cause.FaultKernel, "Call Trace")
		Expect(m.Done()).To(BeClosed())
	})

	It("keeps the memory of a silent guest, where that is wanted, and of no other", func() {
		s := spec(kernels[len(kernels)-1], "answer")
		s.Vmcore = true
		for _, silent := range []bool{false, true} {
			m, err := qemu.Starter{}.Start(context.Background(), s)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
			agent := talkTo(m)
			Expect(agent.ask("echo x")).To(Equal("x"))
			if !silent {
				Expect(m.Stop(context.Background())).To(Succeed())
				Expect(m.Err()).NotTo(HaveOccurred())
				Expect(filepath.Join(s.Dir, machine.VmcoreFile)).NotTo(BeAnExistingFile())
				continue
			}
			agent.tell("silence")
			expectFinding(m.Diagnose(context.Background()), cause.KernelHang, cause.Fail, cause.FaultKernel, "Call Trace(.|\n)*vmcore: the guest's memory")
			core, err := elf.Open(filepath.Join(s.Dir, machine.VmcoreFile))
			Expect(err).NotTo(HaveOccurred())
			defer core.Close()
			Expect(core.Type).To(Equal(elf.ET_CORE))
		}
	})

	It("calls a killed QEMU a crash of the machine, and no fault of the kernel", func() {
		s := spec(kernels[0], "answer")
		m, err := qemu.Starter{}.Start(context.Background(), s)
		Expect(err).NotTo(HaveOccurred())
		Expect(talkTo(m).ask("echo x")).To(Equal("x"))
		Expect(syscall.Kill(qemuOf(m, s), syscall.SIGKILL)).To(Succeed())
		Eventually(m.Done()).WithTimeout(10 * time.Second).Should(BeClosed())
		expectFinding(m.Err(), cause.VMCrashed, cause.Error, cause.FaultInfra, "signal: killed")
		Expect(m.Stop(context.Background())).To(Succeed())
	})

	It("says in QEMU's words why it would not start", func() {
		s := spec(kernels[0], "answer")
		s.Disks = []machine.Disk{{Path: "/no/such/image", Serial: "x"}}
		_, err := qemu.Starter{}.Start(context.Background(), s)
		expectFinding(err, cause.VMCrashed, cause.Error, cause.FaultInfra, "Could not open '/no/such/image'")
	})

	It("has the guest gone within two seconds of a stop, and of a cancel", func() {
		s := spec(kernels[0], "mute")
		m, err := qemu.Starter{}.Start(context.Background(), s)
		Expect(err).NotTo(HaveOccurred())
		pid := qemuOf(m, s)
		gone, stopped := context.WithCancel(context.Background())
		stopped() // even with a context that is done
		Expect(m.Stop(gone)).To(Succeed())
		Expect(m.Err()).NotTo(HaveOccurred())
		Expect(alive(pid)).To(BeFalse())

		ctx, cancel := context.WithCancel(context.Background())
		m, err = qemu.Starter{}.Start(ctx, s)
		Expect(err).NotTo(HaveOccurred())
		pid = qemuOf(m, s)
		cancel()
		Eventually(m.Done()).WithTimeout(2 * time.Second).Should(BeClosed())
		Expect(alive(pid)).To(BeFalse())
		expectFinding(m.Err(), cause.Cancelled, cause.Error, cause.FaultHarness, "context canceled")
	})

	It("leaves no QEMU behind when it is killed with SIGKILL", func() {
		s := spec(kernels[0], "mute")
		child := exec.Command(os.Args[0], "-test.run=^TestStartAndWait$", "-test.v")
		child.Env = append(os.Environ(), "MEWS_CHILD_KERNEL="+s.Kernel, "MEWS_CHILD_INITRD="+s.Initrd, "MEWS_CHILD_DIR="+s.Dir)
		out, err := child.StdoutPipe()
		Expect(err).NotTo(HaveOccurred())
		Expect(child.Start()).To(Succeed())
		lines := bufio.NewScanner(out)
		pid := 0
		for pid == 0 && lines.Scan() {
			fmt.Sscanf(lines.Text(), "qemu is %d", &pid)
		}
		Expect(pid).NotTo(BeZero())
		Expect(alive(pid)).To(BeTrue())
		Expect(child.Process.Kill()).To(Succeed())
		Expect(child.Wait()).To(MatchError("signal: killed"))
		Eventually(alive).WithArguments(pid).WithTimeout(5 * time.Second).Should(BeFalse())
	})
})

// TestStartAndWait is the process that the test above kills.
func TestStartAndWait(t *testing.T) {
	kernel := os.Getenv("MEWS_CHILD_KERNEL")
	if kernel == "" {
		return // it is no test by itself
	}
	s := machine.Spec{
		Name: "child", Kernel: kernel, Initrd: os.Getenv("MEWS_CHILD_INITRD"), MemoryMiB: 256,
		Cmdline: []string{"MEWS_GUEST=mute"}, Dir: os.Getenv("MEWS_CHILD_DIR"),
	}
	m, err := qemu.Starter{}.Start(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := findQEMU(s)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("qemu is %d\n", pid)
	<-m.Done()
}

// talk is the other end of the test guest's line protocol.
type talk struct {
	m  machine.Machine
	in *bufio.Reader
}

func talkTo(m machine.Machine) talk { return talk{m, bufio.NewReader(m.Agent())} }

func (t talk) tell(line string) {
	_, err := fmt.Fprintln(t.m.Agent(), line)
	Expect(err).NotTo(HaveOccurred())
}

func (t talk) ask(line string) string {
	t.tell(line)
	reply, err := t.in.ReadString('\n')
	if err != nil { // the machine knows why
		Eventually(t.m.Done()).WithTimeout(10 * time.Second).Should(BeClosed())
		Fail(fmt.Sprintf("%v: %+v", err, t.m.Err()))
	}
	return strings.TrimSuffix(reply, "\n")
}

func expectFinding(err error, code cause.Cause, state cause.State, fault cause.Fault, evidence string) {
	GinkgoHelper()
	var e *cause.Err
	Expect(errors.As(err, &e)).To(BeTrue(), "%v", err)
	all := fmt.Sprintf("%+v", e)
	Expect([]any{e.Cause, e.State, e.Fault}).To(Equal([]any{code, state, fault}), all)
	Expect(e.Check()).To(Succeed())
	Expect(all).To(MatchRegexp(evidence))
}

// findQEMU finds the child of this process that boots s: its name is among the arguments.
func findQEMU(s machine.Spec) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(line), s.Initrd) || !strings.HasPrefix(string(line), "qemu") {
			continue // gone meanwhile, or another
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(f), "stat"))
		if err != nil {
			continue
		}
		if strings.Fields(string(stat)[strings.LastIndex(string(stat), ")")+1:])[1] == strconv.Itoa(os.Getpid()) {
			return strconv.Atoi(filepath.Base(filepath.Dir(f)))
		}
	}
	return 0, fmt.Errorf("no QEMU of ours boots %s", s.Initrd)
}

func qemuOf(_ machine.Machine, s machine.Spec) int {
	GinkgoHelper()
	pid, err := findQEMU(s)
	Expect(err).NotTo(HaveOccurred())
	return pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func residentMiB(pid int) int {
	GinkgoHelper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	Expect(err).NotTo(HaveOccurred())
	var kib int
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "VmHWM: %d kB", &kib); err == nil {
			GinkgoWriter.Printf("QEMU's peak: %d MiB\n", kib>>10)
			return kib >> 10
		}
	}
	Fail("no VmHWM")
	return 0
}
