// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios/rules"
)

// world makes of a deed's steps the events that a driver without fault reports of them.
type world struct {
	deed   Deed
	origin map[string]string // of what the deed copied
	as     fields            // the exec of the child that acts, if one does
	age    time.Duration     // of the acting process
	events []fields
}

func eventsOf(t *testing.T, d Deed) []fields {
	t.Helper()
	w := &world{deed: d, origin: map[string]string{}}
	w.do(t, d.Steps)
	w.do(t, d.Cleanup)
	return w.events
}

func (w *world) do(t *testing.T, steps []Step) {
	t.Helper()
	for _, s := range steps {
		switch a := s.action.(type) {
		case Copy:
			w.open("openat", a.Src, "O_RDONLY|O_CLOEXEC", true, false)
			w.open("openat", a.Dst, "O_EXCL|O_CREAT|O_WRONLY|O_CLOEXEC", false, true)
			w.origin[a.Dst] = a.Src
		case Open:
			flags := strings.Join(a.Flags, "|")
			writes := slices.Contains(a.Flags, "O_WRONLY")
			w.open(strings.TrimPrefix(a.Syscall, "io_uring_"), a.Path, flags, !writes, writes)
		case Exec:
			w.exec(a.Path, a.Args, "agent", "agent act", nil)
			if last := w.events[len(w.events)-1]; a.User == 1 {
				last["user.name"], last["user.uid"] = rules.StringValue("daemon"), rules.NumberValue(1)
			}
		case Become:
			w.exec(a.Path, a.Args, "runc", "runc run", nil)
			w.events[len(w.events)-1]["proc.is_exe_from_memfd"] = rules.BoolValue(a.Descriptor == "memfd")
			w.events[len(w.events)-1]["proc.tty"] = rules.NumberValue(map[bool]int64{true: 34816}[a.Terminal])
		case Link:
			w.link(a)
			w.origin[a.To] = a.From // on overlayfs a link is a copy to the upper layer
		case Rename:
			w.call(a.Syscall, 0)
			w.origin[a.To] = a.From
			if from, copied := w.origin[a.From]; copied {
				w.origin[a.To] = from
			}
		case Fetch:
			w.connect(Connect{Address: a.Address})
			w.open("openat", a.Dst, "O_EXCL|O_CREAT|O_WRONLY|O_CLOEXEC", false, true)
			w.origin[a.Dst] = "what came"
		case Remove, Listen: // of no interest to any rule
		case Socket:
			w.call("socket", 3)["evt.arg.domain"] = rules.StringValue(a.Domain)
		case Connect:
			w.connect(a)
		case Ptrace:
			w.call("ptrace", 0)["evt.arg.request"] = rules.StringValue(a.Request)
		case As:
			w.exec(a.Program, a.Args, "agent", "agent act", nil)
			outer := w.as
			w.as = w.events[len(w.events)-1]
			w.do(t, a.steps())
			w.as = outer
		case LoadModule:
			f := w.call("finit_module", 0)
			if a.GiveUp {
				f["thread.cap_effective"] = rules.StringValue("CAP_SYS_ADMIN")
			}
		case Age:
			least, _, err := a.values()
			if err != nil {
				t.Fatal(err)
			}
			w.age = max(w.age, least)
		case MemfdExec:
			w.exec("/proc/self/fd/3", a.Args, "agent", "agent act", nil)
			last := w.events[len(w.events)-1]
			if last["proc.exepath"] = rules.StringValue(a.Src); a.Run == "memfd" {
				last["proc.exepath"], last["proc.is_exe_from_memfd"] = rules.StringValue("memfd:mews"), rules.BoolValue(true)
			}
		default:
			t.Fatalf("nobody told this test what a driver sees of %s", a.Kind())
		}
	}
}

// call is a system call of the acting process that returned a number.
func (w *world) call(name string, result int64) fields {
	f := w.process("agent", "/run/mews/agent", "/run/mews/agent", []string{"act"}, []string{"agent", "agent"})
	for _, field := range []string{"proc.name", "proc.exe", "proc.args", "proc.cmdline"} {
		if w.as != nil {
			f[field] = w.as[field]
		}
	}
	f["evt.type"], f["evt.rawres"], f["proc.duration"] = rules.StringValue(name), rules.NumberValue(result), rules.NumberValue(int64(w.age))
	return f
}

func (w *world) link(a Link) {
	f := w.call(a.Syscall, 0)
	if strings.HasPrefix(a.Syscall, "symlink") {
		f["evt.arg.target"], f["evt.arg.linkpath"] = rules.StringValue(a.From), rules.StringValue(a.To)
		return
	}
	f["evt.arg.oldpath"], f["evt.arg.newpath"] = rules.StringValue(a.From), rules.StringValue(a.To)
}

func (w *world) connect(a Connect) {
	to := netip.MustParseAddrPort(a.Address)
	for call, result := range map[string]int64{"connect": 0, a.Dup: int64(a.Onto)} {
		if call == "" {
			continue
		}
		f := w.call(call, result)
		f["fd.typechar"], f["fd.type"], f["fd.l4proto"] = rules.StringValue("4"), rules.StringValue("ipv4"), rules.StringValue("tcp")
		f["fd.cip"], f["fd.cnet"] = rules.AddressValue(to.Addr()), rules.AddressValue(to.Addr())
		f["fd.sip"], f["fd.snet"] = rules.AddressValue(to.Addr()), rules.AddressValue(to.Addr())
		f["fd.sport"] = rules.NumberValue(int64(to.Port()))
		if to.Addr().String() == "127.0.0.10" {
			f["fd.sip.name"] = rules.StringValue("kubernetes.default.svc.cluster.local")
		}
	}
}

// process is what every event tells of who did it.
func (w *world) process(name, exe, exepath string, args, ancestors []string) fields {
	f := fields{
		"evt.num": rules.NumberValue(int64(len(w.events) + 1)), "evt.res": rules.StringValue("SUCCESS"),
		"proc.name": rules.StringValue(name[:min(len(name), 15)]), "proc.exe": rules.StringValue(exe), "proc.exepath": rules.StringValue(exepath),
		"proc.args": rules.StringValue(strings.Join(args, " ")), "proc.cmdline": rules.StringValue(name + " " + strings.Join(args, " ")),
		"proc.cwd": rules.StringValue("/"), "proc.env": rules.StringValue(EnvID + "=" + w.deed.ID),
		"proc.is_exe_upper_layer": rules.BoolValue(false), "proc.is_exe_from_memfd": rules.BoolValue(false),
		"proc.pname": rules.StringValue(ancestors[0]), "proc.aname": rules.ListValue(ancestors...),
		"user.uid": rules.NumberValue(0), "user.name": rules.StringValue("root"), "proc.tty": rules.NumberValue(0), "container.id": rules.StringValue("host"), "thread.cgroups": rules.StringValue("unified=/"),
	}
	f["thread.cap_effective"] = rules.StringValue("CAP_CHOWN CAP_DAC_OVERRIDE")
	if w.deed.Container.Privileged {
		f["thread.cap_effective"] = rules.StringValue("CAP_CHOWN CAP_DAC_OVERRIDE CAP_SYS_MODULE CAP_SYS_ADMIN")
	}
	if w.deed.Context == Container {
		f["container.privileged"] = rules.BoolValue(w.deed.Container.Privileged)
		f["container.id"] = rules.StringValue("0123456789ab")
		f["container.image.repository"] = rules.StringValue("debian")
		f["thread.cgroups"] = rules.StringValue("unified=/docker/0123456789abcdef")
	}
	w.events = append(w.events, f)
	return f
}

func (w *world) open(call, name, flags string, read, write bool) {
	full := path.Clean(name)
	f := w.call(call, 3)
	f["evt.arg.flags"] = rules.StringValue(flags)
	f["evt.is_open_read"], f["evt.is_open_write"] = rules.BoolValue(read), rules.BoolValue(write)
	f["fd.name"], f["fd.nameraw"] = rules.StringValue(full), rules.StringValue(name)
	f["fd.directory"], f["fd.filename"] = rules.StringValue(path.Dir(full)), rules.StringValue(path.Base(full))
	f["fd.typechar"], f["fd.num"] = rules.StringValue("f"), rules.NumberValue(3)
}

func (w *world) exec(exe string, args []string, parent, parentLine string, above []string) {
	ancestors := append([]string{parent}, above...)
	f := w.process(path.Base(exe), exe, exe, args, ancestors)
	f["evt.type"] = rules.StringValue("execve")
	f["proc.pexe"], f["proc.pcmdline"] = rules.StringValue(parent), rules.StringValue(parentLine)
	origin, copied := w.origin[exe]
	off := func(dir string) bool { return strings.HasPrefix(exe, dir+"/") } // what is mounted is of no layer
	overlay := w.deed.Context == Container && !slices.ContainsFunc(slices.Concat(w.deed.Container.Tmpfs, w.deed.Container.Binds), off)
	f["proc.is_exe_upper_layer"] = rules.BoolValue(copied && overlay)
	if path.Base(origin) == "timeout" { // whatever its name is, it starts its arguments as a child
		w.exec(args[1], args[2:], path.Base(exe), f["proc.cmdline"].Str, ancestors)
	}
}

// fly is what a consumer without fault makes of a deed.
func fly(t *testing.T, s Scenario, consumer string, d Deed, err error) []Alert {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	var out []Alert
	p := program(t, consumer, s.Rule)
	for _, ev := range eventsOf(t, d) {
		if !p.Match(ev) {
			continue
		}
		a := Alert{Rule: s.Rule, Fields: map[string]string{}}
		for name, v := range ev {
			switch v.Kind {
			case rules.String:
				a.Fields[name] = v.Str
			case rules.Bool:
				a.Fields[name] = map[bool]string{true: "true", false: "false"}[v.Bool]
			}
		}
		out = append(out, a)
	}
	return out
}

// Each shipped scenario passes under each consumer's vocabulary where driver and consumer are without fault, and does
// not where its attack does only what the twin does, or its twin what the attack does.
func TestShippedScenariosAndTheirMutants(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.All() {
		idle, loud := s, s
		idle.Attack, loud.Twin = s.Twin, s.Attack
		for _, consumer := range []string{"falco", "native", "sysdig"} {
			for _, m := range []struct {
				name string
				s    Scenario
				want cause.Cause
			}{{"as shipped", s, ""}, {"idle attack", idle, cause.RuleSilent}, {"attacking twin", loud, cause.RuleFalseAlarm}} {
				o := Observation{AttackID: attackID, TwinID: twinID, AttackFence: true, TwinFence: true}
				attack, err := m.s.AttackDeed(attackID, nil)
				o.AttackAlerts = fly(t, m.s, consumer, attack, err)
				twin, err := m.s.TwinDeed(twinID, nil)
				o.TwinAlerts = fly(t, m.s, consumer, twin, err)
				if v := Judge(m.s, o); v.Cause != m.want || (v.State == cause.Pass) != (m.want == "") {
					t.Errorf("%s, %s, %s: %s %s, want %q; evidence %v", s.Name, consumer, m.name, v.State, v.Cause, m.want, v.Evidence)
				}
			}
		}
	}
}

// What a rule says beyond what its scenario tries: an event is the given one with some fields changed.
func TestStableRules(t *testing.T) {
	everywhere := []string{"falco", "native", "sysdig"}
	w := &world{deed: Deed{ID: attackID, Context: Container}}
	w.exec("/usr/bin/prog", []string{"-x"}, "agent", "agent act", []string{"runc"})
	w.open("openat", "/x", "O_RDONLY", true, false)
	dup := w.call("dup2", 2)
	dup["fd.type"] = rules.StringValue("ipv6")
	link := w.call("symlink", 0)
	link["evt.arg.target"], link["evt.arg.oldpath"] = rules.StringValue("/"), rules.StringValue("/x")
	trace := w.call("ptrace", 0)
	trace["evt.arg.request"] = rules.StringValue("PTRACE_POKEDATA")
	w.connect(Connect{Address: "198.51.100.7:443"})
	run, open, connect := w.events[0], w.events[1], w.events[len(w.events)-1]
	connect["proc.exe"] = rules.StringValue("/usr/bin/ssh")
	shell := run.with("proc.name", rules.StringValue("bash")).with("proc.tty", rules.NumberValue(34817))
	old := open.with("fd.name", rules.StringValue("/etc/shadow")).with("proc.duration", rules.NumberValue(6e9)).with("proc.name", rules.StringValue("nginx"))
	str, yes := rules.StringValue, rules.BoolValue(true)
	for _, c := range []struct {
		rule, what string
		ev         fields
		change     fields
		want       []string // consumers that must fire; the others must not
	}{
		{"Fileless execution via memfd_create", "memfd", run, fields{"proc.is_exe_from_memfd": yes}, everywhere},
		{"Fileless execution via memfd_create", "runc's copy of itself", run, fields{"proc.is_exe_from_memfd": yes, "proc.exepath": str("memfd:runc_cloned:/proc/self/exe")}, nil},
		{"Execution from /dev/shm", "script of a shell", run, fields{"proc.name": str("bash"), "proc.args": str("/dev/shm/x")}, everywhere},
		{"Execution from /dev/shm", "command of a shell", run, fields{"proc.name": str("sh"), "proc.args": str("-c /dev/shm/x")}, everywhere},
		{"Execution from /dev/shm", "argument of another program", run, fields{"proc.args": str("/dev/shm/x")}, nil},
		{"Execution from /dev/shm", "relative path", run, fields{"proc.cwd": str("/dev/shm/"), "proc.exe": str("./x")}, everywhere},
		{"Directory traversal monitored file read", "a user's keys", open, fields{"fd.name": str("/home/u/.ssh/k"), "fd.nameraw": str("/a/../home/../home/u/.ssh/k")}, everywhere},
		{"Directory traversal monitored file read", "in vain", open, fields{"fd.name": str("/etc/none"), "fd.nameraw": str("/a/../../etc/none"), "fd.num": rules.NumberValue(-1), "evt.res": str("ENOENT")}, everywhere},
		{"Directory traversal monitored file read", "one step up", open, fields{"fd.name": str("/etc/none"), "fd.nameraw": str("/a/../etc/none")}, nil},
		{"Directory traversal monitored file read", "from a shell", open, fields{"fd.name": str("/etc/x"), "fd.nameraw": str("/a/../../etc/x"), "proc.pname": str("bash")}, nil},
		{"Clear Log Activities", "a log by its name", open, fields{"evt.is_open_write": yes, "fd.filename": str("auth.log"), "evt.arg.flags": str("O_TRUNC|O_WRONLY")}, everywhere},
		{"Clear Log Activities", "another file", open, fields{"evt.is_open_write": yes, "fd.filename": str("x"), "evt.arg.flags": str("O_TRUNC|O_WRONLY")}, nil},
		{"Search Private Keys or Passwords", "grep, whatever the case", run, fields{"proc.name": str("egrep"), "proc.args": str("-r begin rsa private /")}, everywhere},
		{"Search Private Keys or Passwords", "another program", run, fields{"proc.args": str("id_rsa")}, nil},
		{"Find AWS Credentials", "find", run, fields{"proc.name": str("find"), "proc.args": str("/ -path */.aws/credentials")}, everywhere},
		{"Find AWS Credentials", "find of something else there", run, fields{"proc.name": str("find"), "proc.args": str("/ -path */.aws/config")}, nil},
		{"Remove Bulk Data from Disk", "mkfs", run, fields{"proc.name": str("mke2fs")}, everywhere},
		{"Run shell untrusted", "below a server's child", run, fields{"proc.name": str("sh"), "proc.aname": rules.ListValue("agent", "nginx")}, everywhere},
		{"Run shell untrusted", "below a server in Java", run, fields{"proc.name": str("sh"), "proc.pexe": str("/usr/bin/java"), "proc.pcmdline": str("java -cp x kafka.Kafka")}, everywhere},
		{"Run shell untrusted", "by a shell", run, fields{"proc.name": str("sh"), "proc.aname": rules.ListValue("bash", "nginx"), "proc.pname": str("bash")}, nil},
		{"Run shell untrusted", "below apt", run, fields{"proc.name": str("sh"), "proc.aname": rules.ListValue("apt", "nginx"), "proc.pname": str("apt")}, nil},
		{"Terminal shell in container", "by containerd's shim", shell, fields{"proc.pname": str("containerd-shim")}, everywhere},
		{"Terminal shell in container", "by another shell", shell, fields{"proc.pname": str("bash")}, nil},
		{"Terminal shell in container", "no shell", shell, fields{"proc.pname": str("runc"), "proc.name": str("vi")}, nil},
		{"System user interactive", "below sshd", run, fields{"user.name": str("www-data"), "proc.aname": rules.ListValue("bash", "sshd")}, everywhere},
		{"System user interactive", "sshd itself", run, fields{"user.name": str("sshd"), "proc.name": str("sshd"), "proc.aname": rules.ListValue("sshd")}, nil},
		{"System user interactive", "below no login", run, fields{"user.name": str("www-data")}, nil},
		{"Read sensitive file trusted after startup", "nginx", old, fields{}, everywhere},
		{"Read sensitive file trusted after startup", "at five seconds", old, fields{"proc.duration": rules.NumberValue(5e9)}, nil},
		{"Read sensitive file trusted after startup", "sshd, for every login", old, fields{"proc.name": str("sshd")}, nil},
		{"Create Symlink Over Sensitive Files", "a directory", link, fields{}, everywhere},
		{"Create Symlink Over Sensitive Files", "below it", link, fields{"evt.arg.target": str("/etc/x")}, nil},
		{"Create Hardlink Over Sensitive Files", "sudoers", link, fields{"evt.type": str("link"), "evt.arg.oldpath": str("/etc/sudoers")}, everywhere},
		{"Create Hardlink Over Sensitive Files", "a directory's name is none", link, fields{"evt.type": str("link"), "evt.arg.oldpath": str("/etc")}, nil},
		{"Contact K8S API Server From Container", "by IPv6", connect, fields{"fd.typechar": str("6"), "fd.sip.name": str("kubernetes.default.svc.cluster.local")}, everywhere},
		{"Contact K8S API Server From Container", "another server", connect, fields{"fd.sip.name": str("localhost")}, nil},
		{"Contact K8S API Server From Container", "Prometheus", connect, fields{"fd.sip.name": str("kubernetes.default.svc.cluster.local"), "container.image.repository": str("prom/prometheus")}, []string{"native", "sysdig"}},
		{"Netcat Remote Code Execution in Container", "a command of nc", run, fields{"proc.name": str("nc"), "proc.cmdline": str("nc -c sh h 1")}, everywhere},
		{"Netcat Remote Code Execution in Container", "ncat", run, fields{"proc.name": str("ncat"), "proc.args": str("--sh-exec sh h 1")}, everywhere},
		{"Netcat Remote Code Execution in Container", "another program", run, fields{"proc.cmdline": str("cat -e h 1")}, nil},
		{"Packet socket created in container", "of another family", connect, fields{"evt.type": str("socket"), "evt.arg.domain": str("AF_NETLINK")}, nil},
		{"Redirect STDOUT/STDIN to Network Connection in Container", "the stream of errors", dup, fields{}, everywhere},
		{"Redirect STDOUT/STDIN to Network Connection in Container", "a pipe", dup, fields{"fd.type": str("pipe")}, nil},
		{"Disallowed SSH Connection Non Standard Port", "in progress", connect, fields{"evt.rawres": rules.NumberValue(-115), "evt.res": str("EINPROGRESS")}, everywhere},
		{"Disallowed SSH Connection Non Standard Port", "refused", connect, fields{"evt.rawres": rules.NumberValue(-111), "evt.res": str("ECONNREFUSED")}, nil},
		{"Disallowed SSH Connection Non Standard Port", "to the machine itself", connect, fields{"fd.snet": rules.AddressValue(netip.MustParseAddr("127.0.0.1"))}, nil},
		{"Disallowed SSH Connection Non Standard Port", "to a neighbour", connect, fields{"fd.snet": rules.AddressValue(netip.MustParseAddr("10.1.2.3"))}, nil},
		{"Disallowed SSH Connection Non Standard Port", "by UDP", connect, fields{"fd.l4proto": str("udp")}, nil},
		{"PTRACE attached to process", "into its memory", trace, fields{}, everywhere},
		{"PTRACE attached to process", "reading its memory", trace, fields{"evt.arg.request": str("PTRACE_PEEKDATA")}, nil},
		{"PTRACE anti-debug attempt", "by nobody", trace, fields{"evt.arg.request": str("PTRACE_TRACEME"), "proc.name": str("<NA>")}, nil},
		{"Linux Kernel Module Injection Detected", "without the capability", link, fields{"evt.type": str("finit_module")}, nil},
		{"Linux Kernel Module Injection Detected", "from memory", link, fields{"evt.type": str("init_module"), "thread.cap_effective": str("CAP_SYS_MODULE")}, everywhere},
		{"Debugfs Launched in Privileged Container", "in a plain one", run, fields{"proc.name": str("debugfs")}, nil},
		{"Debugfs Launched in Privileged Container", "with the capability alone", run, fields{"proc.name": str("debugfs"), "thread.cap_effective": str("CAP_SYS_ADMIN")}, []string{"native", "sysdig"}},
		{"Detect release_agent File Container Escapes", "without the capability", open, fields{"fd.name": str("/x/release_agent"), "evt.is_open_write": yes}, nil},
		{"Detect release_agent File Container Escapes", "no root", open, fields{"fd.name": str("/x/release_agent"), "evt.is_open_write": yes, "user.uid": rules.NumberValue(7), "thread.cap_effective": str("CAP_SYS_ADMIN")}, nil},
		{"Detect release_agent File Container Escapes", "to read it", open, fields{"fd.name": str("/x/release_agent"), "thread.cap_effective": str("CAP_SYS_ADMIN")}, nil},
		{"Run shell untrusted", "a known command", run, fields{"proc.name": str("sh"), "proc.aname": rules.ListValue("agent", "nginx"), "proc.cmdline": str("sh -c uname -r 2>&1")}, nil},
	} {
		ev := c.ev
		for name, v := range c.change {
			ev = ev.with(name, v)
		}
		for _, consumer := range everywhere {
			if got := program(t, consumer, c.rule).Match(ev); got != slices.Contains(c.want, consumer) {
				t.Errorf("%s, %s: %s fired: %v", consumer, c.rule, c.what, got)
			}
		}
	}
}
