// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/builders/root"
	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/debian"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

func TestAgentInGuest(t *testing.T) { suite.Run(t, "harness/agent") }

// limit ends a call that hangs; nothing is measured by it.
const limit = 2 * time.Minute

var _ = Describe("an agent in a guest", Label("boot", "net"), Ordered, func() {
	var (
		files  *kernels.Files
		source *debian.Source
		spec   machine.Spec
		loop   []byte // a vendor module that nothing needs
		cache  root.Cache
	)
	BeforeAll(func(ctx SpecContext) {
		dir, err := archive.DefaultDir()
		Expect(err).NotTo(HaveOccurred())
		store, err := archive.New(dir)
		Expect(err).NotTo(HaveOccurred())
		source, err = debian.New(debian.Options{
			Archive: store, Warn: func(text string) { GinkgoWriter.Println("warning:", text) },
			ValidUntil: func(string) debian.Policy { return debian.Warn },
		})
		Expect(err).NotTo(HaveOccurred())
		found, err := source.Resolve(ctx, []string{"bookworm-security", "bookworm"}, "6.1.*-cloud-amd64", 1)
		Expect(err).NotTo(HaveOccurred())
		boot := *found[0]
		boot.Headers = nil
		trees, err := kernels.DefaultTreesDir()
		Expect(err).NotTo(HaveOccurred())
		files, err = (&kernels.Trees{Dir: trees, Fetcher: source}).Files(ctx, &boot)
		Expect(err).NotTo(HaveOccurred())

		tmp := GinkgoT().TempDir()
		cache = root.Cache{Dir: tmp, Fetcher: source}
		init := filepath.Join(tmp, "mews-agent")
		build := exec.Command("go", "build", "-ldflags=-s -w", "-o", init, "../../cmd/mews-agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		out, err := build.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), "%s", out)
		modules, err := files.Modules("virtio_pci", "virtio_console", "virtio_blk", "virtio_rng", "overlay")
		Expect(err).NotTo(HaveOccurred())
		var load []initramfs.Module
		for _, m := range modules {
			load = append(load, initramfs.Module{Name: m.Name, Data: m.Data})
		}
		initrd, err := initramfs.Cached(tmp, init, load)
		Expect(err).NotTo(HaveOccurred())
		spec = machine.Spec{Name: "agent", Kernel: files.Image, Initrd: initrd, MemoryMiB: 512}

		extra, err := files.Modules("loop")
		Expect(err).NotTo(HaveOccurred())
		loop = extra[len(extra)-1].Data
	}, NodeTimeout(10*time.Minute))

	start := func(disks ...machine.Disk) (machine.Machine, *agent.Client) {
		s := spec
		s.Dir, s.Disks = GinkgoT().TempDir(), disks
		m, err := qemu.Starter{}.Start(context.Background(), s)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		c, err := agent.Dial(ctx, m.Agent())
		if err != nil {
			Fail(err.Error() + "\n" + lines(m.Console().Tail(30)))
		}
		return m, c
	}

	It("serves from a bare initramfs, loads modules and says why it cannot", func(ctx SpecContext) {
		m, c := start()
		Expect(c.Hello().Release).To(Equal(files.Kernel.Release))
		Expect(c.Hello().Modules).To(ContainElements("virtio_console", "overlay"))
		Expect(c.Ping(ctx)).To(Succeed())
		Expect(c.SetTime(ctx, time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC))).To(Succeed())
		log, err := c.Dmesg(ctx, 0)
		Expect(err).NotTo(HaveOccurred())
		Expect(log.Lost).To(BeZero())
		Expect(log.Lines[0].Text).To(HavePrefix("Linux version " + files.Kernel.Release))
		again, err := c.Dmesg(ctx, log.Next)
		Expect(err).NotTo(HaveOccurred())
		Expect(again.Lines).To(BeEmpty(), "the log goes on from where it was read to")

		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop)})
		Expect(err).NotTo(HaveOccurred())
		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop)})
		Expect(cause.Of(err)).To(HaveField("Cause", cause.Internal), "loaded twice")
		_, err = c.UnloadModule(ctx, "loop")
		Expect(err).NotTo(HaveOccurred())
		_, err = c.UnloadModule(ctx, "virtio_console")
		Expect(cause.Of(err).Evidence).To(ContainElement(HaveField("Text", ContainSubstring("virtio_console"))), "in use: %v", err)

		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop), Device: "nodevice"})
		Expect(err).To(MatchError(ContainSubstring("/dev/nodevice0")))
		_, err = c.UnloadModule(ctx, "loop")
		Expect(err).NotTo(HaveOccurred())

		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop), Params: "max_loop=3"})
		Expect(err).NotTo(HaveOccurred())
		_, err = c.UnloadModule(ctx, "loop")
		Expect(err).NotTo(HaveOccurred())
		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop), Params: "max_lop=3"})
		Expect(cause.Of(err)).To(HaveField("Cause", cause.ModuleInitFailed), "%v", err)
		Expect(cause.Of(err).Evidence).To(ContainElement(HaveField("Text", ContainSubstring("unknown parameter 'max_lop'"))))
		_, err = c.UnloadModule(ctx, "loop")
		Expect(err).NotTo(HaveOccurred())

		// The release alone would not do: with CONFIG_MODVERSIONS the kernel does not compare it.
		wrong := bytes.Replace(unsigned(loop), []byte(" SMP "), []byte(" UMP "), 1)
		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(wrong)})
		f := cause.Of(err)
		Expect(f).To(And(HaveField("State", cause.Fail), HaveField("Cause", cause.VermagicMismatch), HaveField("Fault", cause.FaultDriver)), "%v", err)
		Expect(f.Evidence).To(ContainElement(HaveField("Text", ContainSubstring("version magic"))))

		Expect(c.Shutdown(ctx)).To(Succeed())
		Eventually(m.Done()).WithTimeout(limit).Should(BeClosed())
		Expect(m.Err()).NotTo(HaveOccurred())
	}, NodeTimeout(limit))

	disk := func(ctx SpecContext, serial string, names ...string) machine.Disk {
		GinkgoHelper()
		packages, err := source.Closure(ctx, []string{"bookworm"}, names...)
		Expect(err).NotTo(HaveOccurred())
		image, err := cache.Disk(ctx, root.DiskSpec{Packages: packages, Dirs: []string{"usr/local/bin"}})
		Expect(err).NotTo(HaveOccurred())
		return machine.Disk{Path: image.Path, Serial: serial, ReadOnly: true}
	}
	withContainer := func(ctx SpecContext) *agent.Client {
		_, c := start(disk(ctx, agent.UserlandDisk, "runc", "base-files"), disk(ctx, agent.ContainerDisk, "coreutils", "dash", "base-files"))
		return c
	}

	It("wakes in every clone with the time of now, random numbers of its own, and what it had loaded", func(ctx SpecContext) {
		s := spec
		s.Saved, s.Dir, s.Disks = true, GinkgoT().TempDir(), []machine.Disk{disk(ctx, agent.UserlandDisk, "coreutils", "base-files")}
		m, err := qemu.Starter{}.Start(ctx, s)
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
		c, err := agent.Dial(ctx, m.Agent())
		Expect(err).NotTo(HaveOccurred())
		_, err = c.LoadModule(ctx, agent.Module{Name: "loop", Image: bytes.NewReader(loop)})
		Expect(err).NotTo(HaveOccurred())
		Expect(c.SetTime(ctx, time.Unix(1_000_000_000, 0))).To(Succeed(), "long ago")
		saved, err := m.(machine.Saver).Save(ctx)
		Expect(err).NotTo(HaveOccurred())
		defer saved.Close()

		s.Saved, s.From = false, saved
		said := map[string]bool{}
		for i := range 2 {
			s.Dir = GinkgoT().TempDir()
			began := time.Now()
			m, err := qemu.Starter{}.Start(ctx, s)
			Expect(err).NotTo(HaveOccurred())
			DeferCleanup(func() { Expect(m.Stop(context.Background())).To(Succeed()) })
			c, err := agent.Wake(ctx, m.Agent(), fmt.Sprintf("clone-%d", i))
			Expect(err).NotTo(HaveOccurred())
			GinkgoWriter.Printf("clone %d answered after %v\n", i, time.Since(began))
			now, err := c.RunCommand(ctx, []string{"/usr/bin/date", "+%s"})
			Expect(err).NotTo(HaveOccurred())
			unix, err := strconv.ParseInt(now.Output[0], 10, 64)
			Expect(err).NotTo(HaveOccurred())
			Expect(time.Unix(unix, 0)).To(BeTemporally("~", time.Now(), time.Minute))
			random, err := c.RunCommand(ctx, []string{"/usr/bin/cat", "/proc/sys/kernel/random/uuid"})
			Expect(err).NotTo(HaveOccurred())
			Expect(said).NotTo(HaveKey(random.Output[0]), "two clones drew the same random number")
			said[random.Output[0]] = true
			_, err = c.UnloadModule(ctx, "loop")
			Expect(err).NotTo(HaveOccurred())
		}
	}, NodeTimeout(5*time.Minute))

	It("does deeds on the host and in a container under the native consumer, and leaves nothing", func(ctx SpecContext) {
		c := withContainer(ctx)
		Expect(c.Hello()).To(And(HaveField("Container", true), HaveField("Userland", ContainSubstring("bookworm"))))
		probe, err := c.LoadProbe(ctx, agent.Probe{})
		Expect(err).NotTo(HaveOccurred())
		Expect(probe.Programs).NotTo(BeEmpty())
		_, err = c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native, Watches: []consumer.Watch{
			{Name: "drop", Condition: "evt.type in (execve, execveat) and container.id != host and proc.is_exe_upper_layer=true", Fields: []string{"proc.exepath", "proc.env", "container.id", "thread.cgroups"}},
			{Name: "read", Condition: "evt.type in (open, openat, openat2) and fd.name=/etc/shadow", Fields: []string{"evt.type", "proc.env"}},
		}})
		Expect(err).NotTo(HaveOccurred())
		events, err := c.CheckEvents(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(events.Err()).NotTo(HaveOccurred())

		made := "{}" // how the container is
		do := func(where, id, steps string) agent.DeedReport {
			r, err := c.RunDeed(ctx, agent.Deed{ID: id, Context: where, Request: json.RawMessage(`{"id":"` + id + `","context":"` + where + `","container":` + made + `,"steps":` + steps + `}`)})
			Expect(err).NotTo(HaveOccurred())
			Expect(r.Failure).NotTo(HaveOccurred())
			Expect(r.Fence).To(BeTrue())
			Expect(string(r.Result)).NotTo(ContainSubstring(`"ok":false`))
			return r
		}
		const id = "0123456789abcdef"
		// Cgroups of version 1 take the place of those of version 2 for the one deed alone, whose container is known by them.
		sum := sha256.Sum256([]byte(id))
		name := hex.EncodeToString(sum[:])
		for _, of := range []struct{ version, hierarchy string }{{"v1", "pids"}, {"v2", "unified"}, {"v1", "pids"}} {
			made = `{"cgroup":"` + of.version + `"}`
			drop := do(agent.InContainer, id, `[{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/dropped","mode":"0755"}},{"exec":{"path":"/usr/local/bin/dropped"}}]`)
			Expect(drop.Matches).To(ConsistOf(HaveField("Fields", And(
				HaveKeyWithValue("container.id", name[:12]), HaveKeyWithValue("thread.cgroups", of.hierarchy+"=/docker/"+name)))))
		}
		made = "{}"
		drop := do(agent.InContainer, id, `[{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/dropped","mode":"0755"}},{"exec":{"path":"/usr/local/bin/dropped"}}]`)
		Expect(drop.Matches).To(ConsistOf(And(HaveField("Watch", "drop"), HaveField("Fields", And(
			HaveKeyWithValue("proc.exepath", "/usr/local/bin/dropped"), HaveKeyWithValue("proc.env", ContainSubstring("MEWS_ID="+id)))))))
		// The second finds nothing of the first: the same file can be dropped again.
		twin := do(agent.InContainer, id, `[{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/dropped","mode":"0755"}},{"exec":{"path":"/usr/bin/true"}}]`)
		Expect(twin.Matches).To(BeEmpty())
		read := do(agent.OnHost, id, `[{"open":{"syscall":"openat2","path":"/etc/shadow","flags":["O_RDONLY"]}}]`)
		Expect(read.Matches).To(ConsistOf(And(HaveField("Watch", "read"), HaveField("Fields", HaveKeyWithValue("evt.type", "openat2")))))
		quiet := do(agent.OnHost, id, `[{"open":{"syscall":"openat2","path":"/etc/hostname","flags":["O_RDONLY"]}}]`)
		Expect(quiet.Matches).To(BeEmpty())

		// A bundle that could not be unmounted would still be there. By its own name no deed may touch it.
		bundle := `[{"open":{"syscall":"openat","path":"/proc/1/root/run/mews/bundle-` + id + `","flags":["O_RDONLY"]}}]`
		left, err := c.RunDeed(ctx, agent.Deed{ID: id, Context: agent.OnHost, Request: json.RawMessage(`{"id":"` + id + `","context":"host","steps":` + bundle + `}`)})
		Expect(err).NotTo(HaveOccurred())
		Expect(string(left.Result)).To(ContainSubstring("no such file or directory"))

		// Actors that wait for their deeds do what others would have done. One that cannot be started does not wait.
		const onHost, inContainer, broken = "00000000000a", "00000000000b", "00000000000c"
		start := func() {
			GinkgoHelper()
			waiting, err := c.StartActors(ctx, []agent.Actor{
				{ID: onHost, Context: agent.OnHost, Setup: json.RawMessage("{}")},
				{ID: inContainer, Context: agent.InContainer, Setup: json.RawMessage("{}")},
				{ID: broken, Context: agent.InContainer, Setup: json.RawMessage(`{"overlay":["nonsense=on"]}`)},
			})
			Expect(err).NotTo(HaveOccurred())
			Expect(waiting).To(ConsistOf(onHost, inContainer))
		}
		start()
		read = do(agent.OnHost, onHost, `[{"open":{"syscall":"openat2","path":"/etc/shadow","flags":["O_RDONLY"]}}]`)
		Expect(read.Matches).To(ConsistOf(HaveField("Watch", "read")))
		drop = do(agent.InContainer, inContainer, `[{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/dropped","mode":"0755"}},{"exec":{"path":"/usr/local/bin/dropped"}}]`)
		Expect(drop.Matches).To(ConsistOf(HaveField("Fields", HaveKeyWithValue("proc.env", ContainSubstring("MEWS_ID="+inContainer)))))
		// Those that wait make room for a container of version 1, and leave nothing.
		start()
		made = `{"cgroup":"v1"}`
		drop = do(agent.InContainer, id, `[{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/dropped","mode":"0755"}},{"exec":{"path":"/usr/local/bin/dropped"}}]`)
		Expect(drop.Matches).To(HaveLen(1))
		for _, left := range []string{"/sys/fs/cgroup/mews-deed-" + onHost, "/proc/1/root/run/mews/bundle-" + inContainer, "/proc/1/root/run/mews/bundle-" + broken} {
			r, err := c.RunDeed(ctx, agent.Deed{ID: id, Context: agent.OnHost, Request: json.RawMessage(`{"id":"` + id + `","context":"host","steps":[{"open":{"syscall":"openat","path":"` + left + `","flags":["O_RDONLY"]}}]}`)})
			Expect(err).NotTo(HaveOccurred())
			Expect(string(r.Result)).To(ContainSubstring("no such file or directory"), left)
		}

		told, err := c.Totals(ctx)
		Expect(err).NotTo(HaveOccurred())
		stats, err := c.StopConsumer(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(told.Events).To(And(BeNumerically(">", 100), BeNumerically("<=", stats.Events)))
		Expect(told.DropsBy).To(BeEmpty())
		Expect(c.UnloadProbe(ctx)).To(Succeed())
	}, NodeTimeout(5*time.Minute))

	// A shell calls as fast as this machine can, and more than the ring buffer holds at once.
	It("loses no event at the guest's own pace, and says how many of a buffer that is too small", func(ctx SpecContext) {
		const opens, execs = 8000, 100
		c := withContainer(ctx)
		watches := []consumer.Watch{
			{Name: "opens", Condition: "evt.type=openat and proc.name=dash and fd.name=/etc/debian_version", Fields: []string{"proc.env"}},
			{Name: "execs", Condition: "evt.type in (execve, execveat) and proc.exepath=/usr/bin/true", Fields: []string{"proc.env"}},
		}
		set, err := scenarios.Rules("native")
		Expect(err).NotTo(HaveOccurred())
		for shipped := set.Rules(); len(watches) < 25; {
			r := shipped[len(watches)%len(shipped)]
			watches = append(watches, consumer.Watch{Name: fmt.Sprintf("%s, %d", r.Name, len(watches)), Condition: r.Expr.String(), Fields: r.Fields()})
		}

		// run is what a ring buffer of so many bytes lets through, and what is judged of it.
		run := func(ring uint32) (seen map[string]int, stats consumer.Stats, verdict scenarios.Verdict) {
			GinkgoHelper()
			_, err := c.LoadProbe(ctx, agent.Probe{Ring: ring})
			Expect(err).NotTo(HaveOccurred())
			_, err = c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native, Watches: watches, Bare: true})
			Expect(err).NotTo(HaveOccurred())
			o := scenarios.Observation{AttackID: scenarios.NewID(), TwinID: scenarios.NewID(), TwinFence: true}
			seen = map[string]int{}
			for _, l := range []struct {
				watch, command string
				times          int
			}{{"opens", ": </etc/debian_version", opens}, {"execs", "/usr/bin/true", execs}} {
				script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do %s; i=$((i+1)); done", l.times, l.command)
				request, err := json.Marshal(map[string]any{"id": o.AttackID, "context": agent.InContainer,
					"steps": []any{map[string]any{"exec": map[string]any{"path": "/bin/dash", "args": []string{"-c", script}}}}})
				Expect(err).NotTo(HaveOccurred())
				r, err := c.RunDeed(ctx, agent.Deed{ID: o.AttackID, Context: agent.InContainer, Request: request})
				Expect(err).NotTo(HaveOccurred())
				Expect(string(r.Result)).To(ContainSubstring(`"ok":true`))
				Expect(r.Matches).To(HaveEach(HaveField("Watch", l.watch)))
				seen[l.watch] = len(r.Matches) + int(r.Beyond)
				o.AttackFence = r.Fence
				for _, m := range r.Matches {
					o.AttackAlerts = append(o.AttackAlerts, scenarios.Alert{Rule: m.Watch, Fields: m.Fields})
				}
			}
			stats, err = c.StopConsumer(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(c.UnloadProbe(ctx)).To(Succeed())
			o.Drops = stats.Drops
			GinkgoWriter.Printf("a ring buffer of %d bytes: seen %v of %d and %d, lost %v\n", ring, seen, opens, execs, stats.DropsBy)
			return seen, stats, scenarios.Judge(scenarios.Scenario{Name: "opens", Rule: "opens"}, o)
		}

		// Of so small a one the fence itself is lost while the consumer comes up, and has to be made again.
		seen, stats, verdict := run(64 << 10)
		Expect(stats.DropsBy).To(HaveKeyWithValue("open: ring buffer full", BeNumerically(">=", opens-seen["opens"])), "%v", seen)
		Expect(verdict.Finding).To(And(HaveField("State", cause.Error), HaveField("Cause", cause.EventDrops)), "%+v", verdict)

		seen, stats, verdict = run(modern.DefaultRingSize)
		Expect(stats.DropsBy).To(BeEmpty())
		Expect(seen).To(Equal(map[string]int{"opens": opens, "execs": execs}))
		Expect(verdict.State).To(Equal(cause.Pass), "%+v", verdict)
	}, NodeTimeout(15*time.Minute))
})

func lines(evidence []cause.Evidence) string {
	var b bytes.Buffer
	for _, e := range evidence {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

// unsigned is a module without the signature appended to it, whose check would come before any other.
func unsigned(module []byte) []byte {
	const marker = "~Module signature appended~\n"
	rest, ok := bytes.CutSuffix(module, []byte(marker))
	if !ok {
		return module
	}
	size := binary.BigEndian.Uint32(rest[len(rest)-4:]) // the last member of struct module_signature, 12 bytes
	return bytes.Clone(rest[:len(rest)-12-int(size)])
}
