// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"path"
	"strings"
	"syscall"
	"testing"
	"time"
)

// call is an event as a consumer has it: values are made when they are asked for.
type call struct {
	typ, name, comm, exe, args, parent string
	fd, uid                            int64
	read, write                        bool
}

func (c *call) Field(name, arg string) (Value, bool) {
	switch name {
	case "evt.type":
		return StringValue(c.typ), true
	case "evt.num":
		return NumberValue(1), true
	case "evt.is_open_read":
		return BoolValue(c.read), strings.HasPrefix(c.typ, "open")
	case "evt.is_open_write":
		return BoolValue(c.write), strings.HasPrefix(c.typ, "open")
	case "evt.res":
		return StringValue("SUCCESS"), true
	case "fd.name":
		return StringValue(c.name), c.name != ""
	case "fd.nameraw":
		return StringValue(c.name), c.name != ""
	case "fd.directory":
		return StringValue(path.Dir(c.name)), c.name != ""
	case "fd.filename":
		return StringValue(path.Base(c.name)), c.name != ""
	case "fd.typechar":
		return StringValue("f"), c.name != ""
	case "fd.num":
		return NumberValue(c.fd), c.name != ""
	case "proc.name":
		return StringValue(c.comm), true
	case "proc.exe", "proc.exepath":
		return StringValue(c.exe), true
	case "proc.args", "proc.cmdline":
		return StringValue(c.args), true
	case "proc.cwd":
		return StringValue("/srv/"), true
	case "proc.pname":
		return StringValue(c.parent), true
	case "proc.aname":
		return ListValue(ancestors...), arg == ""
	case "proc.tty":
		return NumberValue(0), true
	case "user.uid":
		return NumberValue(c.uid), true
	case "proc.is_exe_upper_layer", "proc.is_exe_from_memfd":
		return BoolValue(false), true
	case "container.id":
		return StringValue("0123456789ab"), true
	}
	return Value{}, false
}

var ancestors = []string{"worker", "supervisor", "systemd"}

// busy is what a busy machine does, in the proportions of one that serves: half of the events are opens, and each gets
// as far into the rules as such events do. Nothing of it matches.
var busy = []Event{
	&call{typ: "openat", name: "/etc/ld.so.cache", comm: "Worker", exe: "/usr/bin/worker", args: "--serve", fd: 3, read: true},
	&call{typ: "openat", name: "/srv/data/2026/11/22/index.html", comm: "nginx", exe: "/usr/sbin/nginx", fd: 9, read: true},
	&call{typ: "openat2", name: "/var/lib/containers/x/y", comm: "runc", exe: "/usr/bin/runc", fd: 7, read: true},
	&call{typ: "openat", name: "/tmp/upload", comm: "Worker", exe: "/usr/bin/worker", fd: 5, write: true},
	&call{typ: "openat", name: "/usr/share/none", comm: "Worker", exe: "/usr/bin/worker", fd: -1, read: true},
	&call{typ: "execve", comm: "date", exe: "/usr/bin/date", args: "+%s --Utc", parent: "cron"},
	&call{typ: "execve", comm: "sh", exe: "/bin/sh", args: "-c true", parent: "supervisor"},
	&call{typ: "connect", comm: "Worker", exe: "/usr/bin/worker"},
	&call{typ: "dup2", comm: "sh", exe: "/bin/sh"},
	&call{typ: "clone", comm: "Worker", exe: "/usr/bin/worker"},
}

// evaluator is the 25 stable rules, each compiled: those that need what no consumer of a test has are compiled too.
func evaluator(t testing.TB) *Matcher {
	t.Helper()
	var programs []*Program
	for _, r := range stable(t).Rules() {
		if r.Source != "syscall" {
			continue
		}
		p, err := Compile(r.Expr, Falco)
		if err != nil {
			t.Fatal(err)
		}
		programs = append(programs, p)
	}
	if len(programs) != 25 {
		t.Fatalf("%d rules, want 25", len(programs))
	}
	return NewMatcher(programs...)
}

func TestEvaluateDoesNotAllocate(t *testing.T) {
	m := evaluator(t)
	hits := make([]int, 0, 25)
	for _, ev := range busy {
		if hits = m.Match(ev, hits[:0]); len(hits) > 0 {
			t.Errorf("%+v matches %v", ev, hits)
		}
		if n := testing.AllocsPerRun(200, func() { hits = m.Match(ev, hits[:0]) }); n > 0 {
			t.Errorf("%v allocations for %+v, which matches nothing", n, ev)
		}
	}
	shadow := &call{typ: "openat2", name: "/etc/shadow", comm: "thief", fd: 3, read: true}
	if hits = m.Match(shadow, hits[:0]); len(hits) != 1 {
		t.Errorf("%+v matches %v, want one", shadow, hits)
	}
}

// BenchmarkEvaluate25 is one event against 25 rules, of the events of a busy machine.
func BenchmarkEvaluate25(b *testing.B) {
	m := evaluator(b)
	hits := make([]int, 0, 25)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if hits = m.Match(busy[i%len(busy)], hits[:0]); len(hits) > 0 {
			b.Fatal("matched", hits)
		}
	}
}

// BenchmarkMillionEvents is a million events against 25 rules, and the processor time that they take.
func BenchmarkMillionEvents(b *testing.B) {
	m := evaluator(b)
	hits := make([]int, 0, 25)
	start := spent(b)
	for b.Loop() {
		for i := range 1_000_000 {
			hits = m.Match(busy[i%len(busy)], hits[:0])
		}
	}
	b.ReportMetric((spent(b)-start).Seconds()/float64(b.N), "cpu-s/op")
}

// spent is the processor time of this process so far.
func spent(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
