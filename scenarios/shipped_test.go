// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/scenarios/rules"
)

var (
	text   = rules.FieldType{Kind: rules.String}
	number = rules.FieldType{Kind: rules.Number}
	truth  = rules.FieldType{Kind: rules.Bool}
	level  = rules.FieldType{Kind: rules.List, Arg: rules.ArgOptional, ArgIndex: true, WithArg: rules.String}
)

// common is what every consumer of today has: fields of libsinsp (`sysdig -l`) that mews's own consumer has too.
var common = falcos(rules.Table{
	"evt.type": text, "evt.num": number, "evt.res": text, "evt.is_open_read": truth, "evt.is_open_write": truth,
	"evt.arg.flags": text,
	"fd.name":       text, "fd.nameraw": text, "fd.directory": text, "fd.filename": text, "fd.typechar": text, "fd.num": number,
	"proc.name": text, "proc.exe": text, "proc.exepath": text, "proc.args": text, "proc.cmdline": text, "proc.cwd": text,
	"proc.pname": text, "proc.pexe": text, "proc.pcmdline": text,
	"proc.aname": level, "proc.env": {Kind: rules.String, Arg: rules.ArgOptional},
	"proc.is_exe_upper_layer": truth, "proc.is_exe_from_memfd": truth, "thread.cgroups": text, "user.uid": number,
}, "evt.rawres", "evt.arg.domain", "evt.arg.linkpath", "evt.arg.newpath", "evt.arg.oldpath", "evt.arg.request", "evt.arg.target",
	"fd.type", "fd.l4proto", "fd.cip", "fd.sip", "fd.sip.name", "fd.cnet", "fd.snet", "fd.sport",
	"proc.duration", "proc.tty", "thread.cap_effective", "user.name")

// falcos adds the fields of those names to t, as Falco has them.
func falcos(t rules.Table, names ...string) rules.Table {
	for _, n := range names {
		ft, ok := rules.Falco.Field(n)
		if !ok {
			panic("Falco has no field " + n)
		}
		t[n] = ft
	}
	return t
}

// vocabularies are the fields of each consumer. The real ones are asked in the guest; this keeps a rule from
// using what is known not to be there.
func vocabularies() map[string]rules.Table {
	falco, native, sysdig := maps.Clone(common), maps.Clone(common), maps.Clone(common)
	native["container.id"] = text
	falcos(falco, "container.id", "container.image.repository", "container.privileged", "k8s.ns.name")
	for _, libsinsp := range []rules.Table{falco, sysdig} {
		falcos(libsinsp, "fd.connected", "fd.name_changed")
	}
	return map[string]rules.Table{"falco": falco, "native": native, "sysdig": sysdig}
}

// shipped are the shipped rules as a consumer reads them.
func shipped(t *testing.T, consumer string) *rules.Set {
	t.Helper()
	var overlays []string
	if consumer != "falco" {
		overlays = []string{consumer}
	}
	set, err := Rules(overlays...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func program(t *testing.T, consumer, rule string) *rules.Program {
	t.Helper()
	r, err := shipped(t, consumer).Rule(rule)
	if err != nil {
		t.Fatal(err)
	}
	p, err := rules.Compile(r.Expr, vocabularies()[consumer])
	if err != nil {
		t.Fatalf("%s: %v", consumer, err)
	}
	return p
}

func TestOverlays(t *testing.T) {
	if got := strings.Join(RuleOverlays(), " "); got != "native sysdig" {
		t.Errorf("overlays %q", got)
	}
	if _, err := Rules("sisdig"); err == nil || !strings.Contains(err.Error(), `no rule overlay is named "sisdig"; did you mean "sysdig"?`) {
		t.Errorf("an unknown overlay: %v", err)
	}
}

// Every shipped rule compiles in every consumer's vocabulary, its output has only fields of it, and its filter
// reads back to the same tree.
func TestShippedRulesFitEveryConsumer(t *testing.T) {
	for consumer, fields := range vocabularies() {
		for _, r := range shipped(t, consumer).Rules() {
			if _, err := rules.Compile(r.Expr, fields); err != nil {
				t.Errorf("%s: %v", consumer, err)
			}
			for _, f := range r.Fields() {
				name, _, _ := strings.Cut(f, "[")
				if name == "fd.ip" || name == "fd.net" {
					continue // they stand for those of either end, which the condition was compiled to
				}
				if _, ok := fields.Field(name); !ok {
					t.Errorf("%s has no field %s of rule %q", consumer, f, r.Name)
				}
			}
			again, err := rules.Parse(r.Expr.String())
			if err != nil || !rules.Equal(again, r.Expr) {
				t.Errorf("%s: the filter of rule %q reads back as %v, %v", consumer, r.Name, again, err)
			}
		}
	}
}

// Without its overlay a consumer that lacks container.* must refuse the rule, and not find it quietly false.
func TestRulesWithoutOverlayAreRefused(t *testing.T) {
	r, err := shipped(t, "falco").Rule("Drop and execute new binary in container")
	if err != nil {
		t.Fatal(err)
	}
	_, err = rules.Compile(r.Expr, vocabularies()["sysdig"])
	if err == nil || !strings.Contains(err.Error(), `falco.yaml:`) || !strings.Contains(err.Error(), `unknown field "container.id"`) {
		t.Errorf("got %v", err)
	}
}

func TestExpandedConditions(t *testing.T) {
	for _, c := range []struct{ consumer, rule, want string }{
		{"falco", "Drop and execute new binary in container",
			`evt.type in (execve, execveat) and container.id != host and proc.is_exe_upper_layer = true and not container.image.repository in () and not evt.num = 0`},
		{"native", "Drop and execute new binary in container",
			`evt.type in (execve, execveat) and container.id != host and proc.is_exe_upper_layer = true and not evt.num = 0 and not evt.num = 0`},
		{"sysdig", "Drop and execute new binary in container",
			`evt.type in (execve, execveat) and (thread.cgroups contains /docker/ or thread.cgroups contains /docker- or thread.cgroups contains /kubepods or thread.cgroups contains /cri-containerd- or thread.cgroups contains /crio- or thread.cgroups contains /libpod or thread.cgroups contains /default/ or thread.cgroups contains /nerdctl-) and proc.is_exe_upper_layer = true and not evt.num = 0 and not evt.num = 0`},
	} {
		r, err := shipped(t, c.consumer).Rule(c.rule)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Expr.String(); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.consumer, got, c.want)
		}
	}
}

// fields are an event; those with an argument under "name[arg]".
type fields map[string]rules.Value

func (f fields) Field(name, arg string) (rules.Value, bool) {
	if arg != "" {
		name += "[" + arg + "]"
	}
	v, ok := f[name]
	return v, ok
}

func (f fields) with(name string, v rules.Value) fields {
	f = maps.Clone(f)
	f[name] = v
	return f
}

func (f fields) without(name string) fields {
	f = maps.Clone(f)
	delete(f, name)
	return f
}

func TestDropAndExecuteRule(t *testing.T) {
	dropped := fields{
		"evt.type": rules.StringValue("execve"), "evt.num": rules.NumberValue(12),
		"container.id":            rules.StringValue("0123456789ab"),
		"thread.cgroups":          rules.StringValue("cpuset=/docker/0123456789abcdef pids=/docker/0123456789abcdef"),
		"proc.is_exe_upper_layer": rules.BoolValue(true),
		"proc.name":               rules.StringValue("mews-dropped-01"),
	}
	for _, consumer := range []string{"falco", "native", "sysdig"} {
		p := program(t, consumer, "Drop and execute new binary in container")
		for _, c := range []struct {
			name string
			ev   fields
			want bool
		}{
			{"dropped", dropped, true},
			{"by execveat", dropped.with("evt.type", rules.StringValue("execveat")), true},
			{"of the image", dropped.with("proc.is_exe_upper_layer", rules.BoolValue(false)), false},
			{"on the host", dropped.with("container.id", rules.StringValue("host")).with("thread.cgroups", rules.StringValue("cpuset=/ pids=/system.slice/docker.service")), false},
			{"opened", dropped.with("evt.type", rules.StringValue("openat")), false},
			{"nothing known of the layer", dropped.without("proc.is_exe_upper_layer"), false},
		} {
			if got := p.Match(c.ev); got != c.want {
				t.Errorf("%s: %s: %v, want %v", consumer, c.name, got, c.want)
			}
		}
	}
	for _, cgroup := range []string{
		"pids=/system.slice/docker-0123456789abcdef.scope", "pids=/kubepods/burstable/pod1/0123", "pids=/kubepods.slice/a/cri-containerd-01.scope",
		"pids=/kubepods.slice/a/crio-01.scope", "pids=/libpod_parent/libpod-01", "pids=/machine.slice/libpod-01.scope",
		"pids=/default/0123", "pids=/system.slice/nerdctl-01.scope",
	} {
		if !program(t, "sysdig", "Drop and execute new binary in container").Match(dropped.with("thread.cgroups", rules.StringValue(cgroup))) {
			t.Errorf("%s is not taken for a container", cgroup)
		}
	}
}

func TestReadSensitiveRule(t *testing.T) {
	read := fields{
		"evt.type": rules.StringValue("openat2"), "evt.is_open_read": rules.BoolValue(true),
		"fd.typechar": rules.StringValue("f"), "fd.num": rules.NumberValue(3),
		"fd.name": rules.StringValue("/etc/shadow"), "fd.directory": rules.StringValue("/etc"),
		"proc.name": rules.StringValue("mews-agent"),
	}
	for _, consumer := range []string{"falco", "native", "sysdig"} {
		p := program(t, consumer, "Read sensitive file untrusted")
		for _, c := range []struct {
			name string
			ev   fields
			want bool
		}{
			{"by the agent", read, true},
			{"by the agent in a container", read.with("proc.name", rules.StringValue("agent")), true},
			{"by a container's init", read.with("proc.name", rules.StringValue("exe")), true},
			{"by openat", read.with("evt.type", rules.StringValue("openat")), true},
			{"in a directory", read.with("fd.name", rules.StringValue("/etc/pam.d/su")).with("fd.directory", rules.StringValue("/etc/pam.d")), true},
			{"harmless", read.with("fd.name", rules.StringValue("/etc/hostname")), false},
			{"elsewhere", read.with("fd.name", rules.StringValue("/srv/etc/shadow")), false},
			{"to write", read.with("evt.is_open_read", rules.BoolValue(false)), false},
			{"in vain", read.with("fd.num", rules.NumberValue(-1)), false},
			{"a directory", read.with("fd.typechar", rules.StringValue("d")), false},
			{"by sshd", read.with("proc.name", rules.StringValue("sshd")), false},
			{"by a list of a list", read.with("proc.name", rules.StringValue("unix_chkpwd")), false},
			{"by nobody", read.with("proc.name", rules.StringValue("<NA>")), false},
		} {
			if got := p.Match(c.ev); got != c.want {
				t.Errorf("%s: %s: %v, want %v", consumer, c.name, got, c.want)
			}
		}
	}
}

func TestBuiltin(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Lint() {
		t.Error(err)
	}
	var names []string
	for _, s := range c.All() {
		names = append(names, s.Name)
	}
	want := strings.Fields(`
		clear-log contact-k8s-api create-hardlink-over-sensitive create-symlink-over-sensitive debugfs-privileged
		directory-traversal drop-and-execute drop-and-execute-bind-mount drop-and-execute-cgroup-v1
		drop-and-execute-cgroup-v1-kubernetes drop-and-execute-containerd drop-and-execute-crio
		drop-and-execute-docker-systemd drop-and-execute-download drop-and-execute-kubernetes
		drop-and-execute-kubernetes-systemd drop-and-execute-link drop-and-execute-metacopy drop-and-execute-podman
		drop-and-execute-privileged drop-and-execute-redirect-dir drop-and-execute-rename drop-and-execute-tmpfs
		drop-and-execute-userns execute-from-dev-shm execveat-memfd find-aws-credentials io-uring-clear-log
		io-uring-directory-traversal io-uring-read-sensitive io-uring-release-agent-escape kernel-module-injection
		memfd-execute netcat-rce openat2-clear-log openat2-directory-traversal openat2-read-sensitive
		openat2-release-agent-escape packet-socket ptrace-anti-debug ptrace-attach read-sensitive
		read-sensitive-trusted redirect-to-network release-agent-escape remove-bulk-data run-shell-untrusted
		search-private-keys ssh-non-standard-port system-user-interactive terminal-shell
	`)
	if !slices.Equal(names, want) {
		t.Errorf("scenarios %v, want %v", names, want)
	}
	if _, err := c.Get("drop-and-exec"); err == nil || !strings.Contains(err.Error(), `did you mean "drop-and-execute"?`) {
		t.Errorf("an unknown scenario: %v", err)
	}
	for glob, n := range map[string]int{"*": len(want), "all": len(want), "openat2-*": 4, "drop-and-execute": 1} {
		if got, err := c.Match(glob); err != nil || len(got) != n {
			t.Errorf("Match(%q) = %d, %v", glob, len(got), err)
		}
	}
	for _, glob := range []string{"none-*", "["} {
		if got, err := c.Match(glob); err == nil {
			t.Errorf("Match(%q) = %v", glob, got)
		}
	}
}

// A deed that was in time before its last system call may be late in it, and the alert then looks like a false alarm: what
// must not be older than that is asked once more when all is done.
func TestWhatMustBeInTimeIsAskedAtTheEnd(t *testing.T) {
	c, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	var look func(name string, steps []Step)
	look = func(name string, steps []Step) {
		for i, st := range steps {
			switch a := st.action.(type) {
			case As:
				look(name, a.steps())
			case Age:
				if end, ok := steps[len(steps)-1].action.(Age); a.AtMost != "" && (!ok || end.AtMost == "") {
					t.Errorf("%s: step %d must be done by %s, and nobody asks after the last step", name, i+1, a.AtMost)
				}
				seen++
			}
		}
	}
	for _, s := range c.All() {
		look(s.Name+"'s attack", s.Attack)
		look(s.Name+"'s twin", s.Twin)
	}
	if seen == 0 {
		t.Error("no scenario asks for an age")
	}
}
