// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// stable is the file of the kind that users have.
func stable(t testing.TB) *Set {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "stable.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(File{"stable.yaml", data})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStableFile(t *testing.T) {
	s := stable(t)
	if n := len(s.Rules()); n != 26 {
		t.Errorf("%d rules, want the 25 stable ones and another source's", n)
	}
	states := func(fields Schema) map[State][]string {
		out := map[State][]string{}
		for _, r := range s.Compile(fields) {
			if r.State == Unsupported || r.State == Broken {
				t.Log(r.Rule.Name, r.State, r.Reason)
			}
			if (r.State == Compiled) != (r.Program != nil) || (r.State == Unsupported || r.State == Broken) != (r.Reason != nil) {
				t.Errorf("%s is %s with program %v, reason %v", r.Rule.Name, r.State, r.Program, r.Reason)
			}
			out[r.State] = append(out[r.State], r.Rule.Name)
		}
		return out
	}
	all := states(Falco)
	if !slices.Equal(all[Unsupported], []string{"A pod is made"}) || !slices.Equal(all[Disabled], []string{"System user interactive"}) || len(all[Broken]) > 0 || len(all[Compiled]) != 24 {
		t.Errorf("with all of Falco's fields: %v", all)
	}
	// What needs the container's fields is unsupported without them, and nothing else is.
	sysdig := states(Sysdig041.Fields)
	for _, name := range sysdig[Unsupported] {
		r, err := s.Rule(name)
		if err != nil || r.Source == "syscall" && !slices.ContainsFunc(r.Fields(), pluginField) {
			t.Errorf("%s is unsupported for sysdig: %v", name, err)
		}
	}
	if len(sysdig[Compiled]) != 13 || len(sysdig[Broken]) > 0 {
		t.Errorf("with sysdig's fields %d compile: %v", len(sysdig[Compiled]), sysdig)
	}
}

func TestStableExpansion(t *testing.T) {
	s := stable(t)
	for rule, want := range map[string][]string{
		"Clear Log Activities": {
			`fd.directory pmatch (/var/log, /dev/log)`, `and not proc.name in () and not proc.name = logrotate`,
		},
		"Read sensitive file untrusted": {
			`and not proc.name startswith backup and not (proc.name in (iptables, ps) and fd.name startswith /etc/sudoers or proc.name in (anacron, cron, crond, crontab, fcron) and fd.name startswith /etc/pam.d)`,
			`and not proc.pname in (run-parts, "sh -c x") and not (proc.cmdline = "scan --all" and container.image.repository = "(registry/scanner, registry/other)" or proc.cmdline = other`,
			`"(systemd)"`, `zsh, dash, fish`, `proc.name = my-backup`,
		},
		"Run shell untrusted":                                      {`"sh -c uname -p 2> /dev/null"`, `"sh -c pwd"`, `"bash -c \"x\""`},
		"Disallowed SSH Connection Non Standard Port":              {`not fd.snet in (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16)`},
		"Read sensitive file trusted after startup":                {`sshd) or proc.name = my-server)`},
		"Redirect STDOUT/STDIN to Network Connection in Container": {`not fd.cip = val(fd.sip)`},
	} {
		r, err := s.Rule(rule)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(r.Expr.String(), w) {
				t.Errorf("%s has no %s:\n%s", rule, w, r.Expr)
			}
		}
		roundTrip(t, r.Expr)
	}
	r, err := s.Rule("Clear Log Activities")
	if err != nil || r.Output != "Log cleared | file=%fd.name and by whom=%user.name" || r.Priority != "Notice" || r.Tags[len(r.Tags)-1] != "my-own" {
		t.Errorf("%+v, %v", r, err)
	}
	if n := s.Requires(); n.Engine != "0.57.0" || len(n.Plugins) != 1 || len(n.Plugins[0]) != 2 {
		t.Errorf("%+v", n)
	}
}

// Each verdict says what is wrong, where, and leaves the rules beside it alone.
func TestVerdicts(t *testing.T) {
	one := func(name, cond string) string { return strings.Replace(rule(cond), "rule: R", "rule: "+name, 1) }
	s := load(t, "- macro: m\n  condition: proc.nam = x\n"+one("a", "evt.type = open and m")+one("b", "evt.type in (open, opem)")+one("c", "evt.type = open and container.id != host")+
		one("d", "evt.type = open and tolower(proc.pid) = x")+one("e", "evt.type = open")+one("f", "proc.pid = val(evt.num)")+one("g", "proc.aname[x] = y")+one("h", "proc.mine = y")+
		one("i", "fd.port = 3 and fd.ip in (1.2.3.4) and evt.arg.flags = x and thread.cgroup.cpu exists and evt.rawarg.res > 3"))
	own := Table{"proc.mine": {Kind: String}}
	for name, want := range map[string]string{
		"a": `broken: a.yaml:2:14: macro "m": condition:1:1: unknown field "proc.nam"; did you mean "proc.name"?`,
		"b": `broken: a.yaml:10:14: rule "b": condition:1:1: no type of event is named "opem"; did you mean "open"?`,
		"c": `unsupported: a.yaml:15:14: rule "c": condition:1:21: the consumer has no field container.id`,
		"d": `broken: a.yaml:20:14: rule "d": condition:1:21: tolower(proc.pid): tolower() does not take a number`,
		"e": `compiled`,
		"f": `broken: a.yaml:30:14: rule "f": condition:1:16: proc.pid is of type INT64 and cannot be compared with evt.num, of type UINT64`,
		"g": `broken: a.yaml:35:14: rule "g": condition:1:1: the argument of field proc.aname is a number, not "x"`,
		"h": `compiled`,
		"i": `compiled`,
	} {
		fields := both{Sysdig041.Fields, own}
		i := slices.IndexFunc(s.Compile(fields), func(r Result) bool { return r.Rule.Name == name })
		r := s.Compile(fields)[i]
		got := r.State.String()
		if r.Reason != nil {
			got += ": " + r.Reason.Error()
		}
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", name, got, want)
		}
		if wantField := map[string]string{"a": "proc.nam", "c": "container.id"}[name]; r.Reason != nil && r.Reason.Field != wantField {
			t.Errorf("%s lacks %q, want %q", name, r.Reason.Field, wantField)
		}
	}
	res := load(t, strings.Replace(rule("evt.type = open"), "o %proc.name", "o %proc.name %proc.cwd %proc.aname[2]", 1)).Compile(Table{"evt.type": {Kind: String}, "proc.aname": {Kind: List, Arg: ArgOptional}})
	if len(res) != 1 || res[0].State != Compiled || strings.Join(res[0].Lacks, " ") != "proc.cwd proc.name" {
		t.Errorf("%+v", res)
	}
}

// both is one vocabulary after the other.
type both [2]Schema

func (b both) Field(name string) (FieldType, bool) {
	if ft, ok := b[0].Field(name); ok {
		return ft, true
	}
	return b[1].Field(name)
}
