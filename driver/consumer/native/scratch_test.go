// SPDX-License-Identifier: Apache-2.0

package native

import (
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/scenarios/rules"
)

// stable are the rules of a file such as users have, as far as this consumer has the fields.
func stable(tb testing.TB) []consumer.Watch {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "scenarios", "rules", "testdata", "stable.yaml"))
	if err != nil {
		tb.Fatal(err)
	}
	set, err := rules.Load(rules.File{Name: "stable.yaml", Data: data})
	if err != nil {
		tb.Fatal(err)
	}
	var out []consumer.Watch
	for _, r := range set.Compile(Schema()) {
		switch r.State {
		case rules.Compiled:
			out = append(out, consumer.Watch{Name: r.Rule.Name, Condition: r.Rule.Expr.String()})
		case rules.Broken:
			tb.Errorf("%s: %v", r.Rule.Name, r.Reason)
		default:
			tb.Log(r.Rule.Name, r.State, r.Reason)
		}
	}
	return out
}

// dull are events that meet no rule.
func dull() map[string]modern.Event {
	events := map[string]modern.Event{
		"open":              openOf("/usr/lib/x86_64-linux-gnu/libc.so.6", unix.O_RDONLY|unix.O_CLOEXEC, 3),
		"open, relative":    openOf("../lib/./x", unix.O_RDWR|unix.O_CREAT, 3),
		"open, refused":     openOf("/etc/ld.so.preload", unix.O_RDONLY, -2),
		"exec":              execOf("/usr/bin/ls", modern.Exe{Inode: modern.Inode{Ino: 9}}, container),
		"exec, on the host": execOf("/usr/bin/ls", modern.Exe{Inode: modern.Inode{Ino: 9}}, "/init.scope"),
		"exit":              {Kind: modern.Exit, PID: 60, TID: 60, PPID: 1, VPID: 2, Comm: "ls"},
	}
	for _, tt := range callTests {
		events["call: "+tt.name] = tt.event
	}
	return events
}

func TestNoAllocationForAnEventThatMatchesNothing(t *testing.T) {
	watches := stable(t)
	// What fields are made of: each is written, and then found not to be what was asked for.
	for _, field := range []string{"proc.cmdline", "proc.args", "proc.cwd", "proc.env", "proc.pcmdline", "proc.aname", "proc.acmdline", "thread.cgroups", "thread.cap_permitted", "container.id",
		"fd.name", "fd.directory", "fd.filename", "fs.path.name", "fs.path.source", "fs.path.target", "evt.arg.flags", "evt.arg.res", "evt.arg.mode", "evt.arg.addr", "evt.arg.tuple", "evt.arg.dirfd", "evt.time"} {
		watches = append(watches, consumer.Watch{Name: field, Condition: field + " contains mews-nowhere"})
	}
	watches = append(watches, consumer.Watch{Name: "pids", Condition: "proc.apid = 77777"}, consumer.Watch{Name: "nets", Condition: "fd.net = 203.0.113.0/24"})
	for name, ev := range dull() {
		t.Run(name, func(t *testing.T) {
			c := newConsumer(newFakeDriver())
			if err := c.Start(t.Context(), watches); err != nil {
				t.Fatal(err)
			}
			c.driver.(*fakeDriver).Detach()
			<-c.done // from now on the events are ours
			known := execOf("/usr/bin/parent", modern.Exe{}, container)
			c.look(&known)
			if n := testing.AllocsPerRun(100, func() { c.look(&ev) }); n > allowed(ev) {
				t.Errorf("%.0f allocations, want %.0f", n, allowed(ev))
			}
		})
	}
}

// allowed: an exec makes a process, with its executable, which is kept. After an exit the process is unknown, and looked for.
func allowed(ev modern.Event) float64 {
	switch ev.Kind {
	case modern.Exec:
		return 2
	case modern.Exit:
		return 16
	}
	return 0
}

// A match outlives the memory that its fields were written in.
func TestFieldsOfAMatchStay(t *testing.T) {
	d := newFakeDriver(execOf("/usr/bin/cp", modern.Exe{}, container), openOf("one/./first", 0, 3), openOf("two/../second-that-is-longer", 0, 3))
	got, _, err := watchAll(t, d, consumer.Watch{Name: "w", Condition: "fd.name exists", Fields: []string{"fd.name", "proc.cmdline", "proc.aname", "fd.filename"}})
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	for i, want := range []string{"/etc/x/one/first cp -x y (agent) first", "/etc/x/second-that-is-longer cp -x y (agent) second-that-is-longer"} {
		f := got[i].Fields
		if has := strings.Join([]string{f["fd.name"], f["proc.cmdline"], f["proc.aname"], f["fd.filename"]}, " "); has != want {
			t.Errorf("match %d has %q, want %q", i, has, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, dir := range []string{"/", "/a", "/a/b/", "/..//a/./b"} {
		for _, name := range []string{"x", ".", "..", "../../..", "x/../../y", "/x//", "a/b/../c", "...", "x/..."} {
			f.Add(dir, name)
		}
	}
	f.Fuzz(func(t *testing.T, dir, name string) {
		if name == "" || !strings.HasPrefix(dir, "/") {
			return
		}
		var s scratch
		before := s.join("before", nil, "")
		if got, want := s.clean(dir, name), path.Join(dir, name); got != want || before != "before" {
			t.Errorf("%q and %q: got %q, want %q; before it stands %q", dir, name, got, want, before)
		}
	})
}

// The fields are those of libsinsp, of the same types; what the schema says beyond that, rules could not be written for.
func TestSchemaIsFalcos(t *testing.T) {
	for name, own := range Schema() {
		theirs, ok := rules.Falco.Field(name)
		switch {
		case !ok:
			t.Errorf("Falco has no field %s", name)
		case name == "proc.args": // the one whose argument this consumer does not read
		case own != theirs:
			t.Errorf("%s is %+v, and Falco's is %+v", name, own, theirs)
		}
	}
}
