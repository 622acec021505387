// SPDX-License-Identifier: Apache-2.0

package harness_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/native"
	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/scenarios/rules"
)

// comparedConditions are evaluated by libsinsp and by mews itself on the events of one deed. Each holds for some of them,
// and not for all.
var comparedConditions = []string{
	`fd.name contains shadow`,
	`fd.name icontains SHADOW and not fd.name contains nothing`,
	`fd.name startswith /etc/ and fd.nameraw startswith /etc/`,
	`proc.exepath endswith .sh`,
	`fd.name glob /etc/s*w or fd.name glob "/etc/host???e"`,
	`proc.name iglob DROPPED*`,
	`fd.name regex "/etc/(shadow|passwd)"`,
	`fd.name pmatch (/etc/passwd, /srv, /usr/lib)`,
	`proc.name in (cat, dash) and evt.type in (execve, execveat)`,
	`evt.type in (open, openat, openat2) and not fd.name in (/etc/shadow, /etc/ld.so.cache)`,
	`proc.aname intersects (dash, nobody)`,
	`not fd.name exists`,
	`proc.aname[1] = dash and not proc.aname[2] = dash`,
	`proc.aname = dash`,
	`fd.num < 0 or evt.rawres = 0`,
	`evt.failed = true and evt.res = ENOENT`,
	`fd.name != /etc/shadow and evt.is_open_read = true`,
	`proc.args = "-a Foo BAR b=c"`,
	`proc.cmdline icontains "foo bar" and evt.type = execve`,
	`proc.exe = val(proc.exepath) and fd.name exists`,
	`proc.pid != val(proc.vpid) and proc.name startswith Dropped`,
	`tolower(proc.name) startswith dropped and toupper(fd.name) contains ETC`,
	`basename(fd.name) = shadow or len(fd.name) <= 8`,
	`proc.is_exe_upper_layer = true and evt.type = execve`,
	`proc.cwd = /etc/ and not (fd.nameraw startswith / or evt.type = execve)`,
	`fd.nameraw contains .. or fd.directory = /etc and fd.filename = hostname`,
	`evt.arg.flags contains O_WRONLY or evt.arg.flags icontains exe_upper_layer`,
	`proc.pname = dash and proc.pcmdline startswith "dash -c" and proc.apid exists`,
	`fd.name = val(fs.path.name) and fd.typechar = f`,
	`user.uid = 0 and proc.is_exe_from_memfd = true`,
	`evt.type = openat2 and evt.arg.resolve exists`,
	`proc.exe_ino.ctime_duration_proc_start > 0 and evt.type = execve`,
	`proc.exe_ino.ctime_duration_proc_start < 3600000000000`,
	`proc.exe_ino.ctime_duration_pidns_start > 0`,
}

// comparedFields must be the same in what both say of an event.
var comparedFields = []string{
	"evt.type", "evt.res", "evt.arg.flags", "fd.name", "fd.nameraw", "fd.directory", "fd.filename", "fd.type", "fd.typechar", "proc.name", "proc.exe",
	"proc.exepath", "proc.args", "proc.cmdline", "proc.cwd", "proc.pname", "proc.aname[2]", "proc.is_exe_upper_layer", "proc.is_exe_from_memfd", "user.uid",
	"proc.exe_ino", "proc.exe_ino.ctime", "proc.exe_ino.mtime",
}

// everything holds for all events of the deed.
const everything = "evt.num >= 0"

// comparedDeed is what both watch: every operator finds something in it.
const comparedDeed = `[
	{"copy":{"src":"/etc/debian_version","dst":"/etc/shadow","mode":"0600"}},
	{"copy":{"src":"/etc/debian_version","dst":"/etc/passwd","mode":"0644"}},
	{"copy":{"src":"/etc/debian_version","dst":"/etc/hostname","mode":"0644"}},
	{"open":{"syscall":"openat","path":"/etc/shadow","flags":["O_RDONLY"]}},
	{"open":{"syscall":"openat2","path":"/etc/passwd","flags":["O_RDONLY"],"resolve":["RESOLVE_NO_SYMLINKS"]}},
	{"open":{"syscall":"openat","path":"/usr/../etc/shadow","flags":["O_RDONLY"],"traverse":true}},
	{"open":{"syscall":"openat","path":"/dev/shm/Written","flags":["O_WRONLY","O_CREAT","O_TRUNC"],"mode":"0600"}},
	{"copy":{"src":"/usr/bin/true","dst":"/usr/local/bin/Dropped.sh","mode":"0755"}},
	{"exec":{"path":"/usr/local/bin/Dropped.sh","args":["-a","Foo BAR","b=c"]}},
	{"memfd-exec":{"src":"/usr/bin/true","run":"memfd"}},
	{"exec":{"path":"/usr/bin/dash","args":["-c","cd /etc; cat /etc/hostname shadow ./../etc/passwd /none; true"]}}
]`

// compared is the condition, of the deed with that id alone, as libsinsp takes it: of what both drivers see, and of what the
// container runs, for runc has the id as well, and opens other files every time.
func compared(condition, id string) (string, error) {
	e, err := rules.Parse("evt.type in (execve, execveat, open, openat, openat2) and proc.env contains " + id + " and thread.cgroups contains /docker/ and proc.exepath != /usr/sbin/runc and (" + condition + ")")
	if err != nil {
		return "", err
	}
	for _, fields := range []rules.Schema{native.Schema(), rules.Sysdig041.Fields} {
		if _, err := rules.Compile(e, fields); err != nil {
			return "", err
		}
	}
	return rules.Sysdig041.Filter(e)
}

func TestComparedConditionsAreOfBothVocabularies(t *testing.T) {
	for _, c := range comparedConditions {
		if _, err := compared(c, "0"); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}

var _ = Describe("the same conditions on the same deed", Label("boot", "build", "net"), func() {
	It("hold for the same events in libsinsp and in mews", func(ctx SpecContext) {
		g := falcosModule(ctx)
		const id = "0123456789abcdef"
		// look does the deed under the watch of a consumer, and says of each condition which events it held for.
		look := func(kind string, conditions []string) map[string][]string {
			GinkgoHelper()
			By(kind + " looks for " + strings.Join(conditions, "; "))
			spec := agent.ConsumerSpec{Kind: kind}
			for _, c := range conditions {
				filter, err := compared(c, id)
				Expect(err).NotTo(HaveOccurred(), c)
				spec.Watches = append(spec.Watches, consumer.Watch{Name: c, Condition: filter, Fields: comparedFields})
			}
			_, err := g.StartConsumer(ctx, spec)
			Expect(err).NotTo(HaveOccurred())
			r, err := g.RunDeed(ctx, agent.Deed{ID: id, Context: agent.InContainer, Request: json.RawMessage(`{"id":"` + id + `","context":"container","steps":` + comparedDeed + `}`)})
			Expect(err).NotTo(HaveOccurred())
			Expect(r.Failure).NotTo(HaveOccurred())
			Expect(r.Fence).To(BeTrue())
			Expect(string(r.Result)).NotTo(ContainSubstring(`"ok":false`))
			stats, err := g.StopConsumer(ctx)
			Expect(err).NotTo(HaveOccurred())
			Expect(stats.Drops).To(BeZero())
			held := map[string][]string{}
			for _, m := range r.Matches {
				held[m.Watch] = append(held[m.Watch], said(m.Fields))
			}
			return held
		}

		ours, theirs := map[string][]string{}, map[string][]string{}
		conditions := append([]string{everything}, comparedConditions...)
		for some := range slices.Chunk(conditions, 4) {
			maps.Copy(theirs, look(agent.Sysdig, some))
		}
		// Not before: as long as the probe is there, the agent has its own watch report more than a window of matches holds.
		_, err := g.LoadProbe(ctx, agent.Probe{})
		Expect(err).NotTo(HaveOccurred())
		for some := range slices.Chunk(conditions, 6) {
			maps.Copy(ours, look(agent.Native, some))
		}
		differ := 0
		for _, c := range conditions {
			AddReportEntry(fmt.Sprintf("%3d of %3d events: %s", len(ours[c]), len(ours[everything]), c), ReportEntryVisibilityAlways)
			if len(ours[c]) == 0 || len(ours[c]) == len(ours[everything]) && c != everything {
				AddReportEntry("the condition says nothing: " + c)
				differ++
			}
			if alone, too := lacking(ours[c], theirs[c]), lacking(theirs[c], ours[c]); alone+too != "" {
				AddReportEntry("differ in "+c, "mews alone:\n"+alone+"libsinsp alone:\n"+too)
				differ++
			}
		}
		Expect(differ).To(BeZero(), "see the report entries")
	}, NodeTimeout(20*time.Minute))
})

// flagsOfFalco are those of an open and an exec that no caller gave: Falco's drivers add them, and the probe knows none of them.
var flagsOfFalco = []string{"O_F_CREATED", "FD_UPPER_LAYER", "FD_LOWER_LAYER", "EXE_LOWER_LAYER"}

// said is an event in the fields that are compared.
func said(fields map[string]string) string {
	var b strings.Builder
	for _, f := range comparedFields {
		v, ok := fields[f]
		if strings.HasPrefix(f, "proc.exe_ino") && (fields["proc.is_exe_upper_layer"] == "true" || fields["proc.is_exe_from_memfd"] == "true") {
			continue // each of the two deeds made that file anew
		}
		if f == "evt.arg.flags" {
			v = strings.Join(slices.DeleteFunc(strings.Split(v, "|"), func(flag string) bool { return slices.Contains(flagsOfFalco, flag) }), "|")
		}
		if ok {
			fmt.Fprintf(&b, "%s=%q ", f, v)
		}
	}
	return b.String()
}

// lacking are the lines of one that are not in the other, each as often as it is there too often.
func lacking(one, other []string) string {
	count := map[string]int{}
	for _, l := range one {
		count[l]++
	}
	for _, l := range other {
		count[l]--
	}
	var b strings.Builder
	for _, l := range slices.Sorted(maps.Keys(count)) {
		if n := count[l]; n > 0 {
			fmt.Fprintf(&b, "  %dx %s\n", n, l)
		}
	}
	return b.String()
}

// falcosModule is a guest of 6.1 with Falco's module loaded.
func falcosModule(ctx context.Context) *agent.Client {
	GinkgoHelper()
	m, cat, err := parts.Load("../matrix.yaml")
	Expect(err).NotTo(HaveOccurred())
	bin := filepath.Join(GinkgoT().TempDir(), "mews-agent")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", bin, "../cmd/mews-agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), "%s", out)
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: bin, Warn: func(text string) { GinkgoWriter.Println("warning:", text) }})
	Expect(err).NotTo(HaveOccurred())
	p, err := harness.MakePlan(ctx, m, harness.Selection{Profile: "quick", Kernels: []string{"debian-6.1"}, Drivers: []string{"falco-kmod"}}, cat, shop)
	Expect(err).NotTo(HaveOccurred())
	Expect(p.Cells).To(HaveLen(1))
	c := p.Cells[0]
	Expect(c.Err).NotTo(HaveOccurred())
	shop.Image = p.Image
	Expect(shop.Source(ctx, c)).To(Succeed())
	files, err := shop.Kernel(ctx, c.Resolved)
	Expect(err).NotTo(HaveOccurred())
	built, err := shop.Build(ctx, c, files, GinkgoT().TempDir())
	Expect(err).NotTo(HaveOccurred())
	spec := machine.Spec{Name: "compared", Kernel: files.Image, MemoryMiB: 640, Dir: GinkgoT().TempDir()}
	spec.Disks, err = shop.Disks(ctx, c)
	Expect(err).NotTo(HaveOccurred())
	spec.Initrd, err = shop.Initramfs(ctx, files)
	Expect(err).NotTo(HaveOccurred())
	guest, err := qemu.Starter{}.Start(ctx, spec)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func() { Expect(guest.Stop(context.Background())).To(Succeed()) })
	g, err := agent.Dial(ctx, guest.Agent())
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(g.Close)
	module, err := built.Open()
	Expect(err).NotTo(HaveOccurred())
	defer module.Close()
	_, err = g.LoadModule(ctx, agent.Module{Name: built.Name, Image: module, Device: built.Device})
	Expect(err).NotTo(HaveOccurred())
	return g
}
