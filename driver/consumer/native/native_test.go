// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios/rules"
)

const (
	dockerID  = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	container = "/system.slice/docker-" + dockerID + ".scope"
)

// fakeDriver gives the events of a list, and then waits for its end.
type fakeDriver struct {
	events   []any // modern.Event or error
	stats    modern.Stats
	attach   error
	detached chan struct{}
	closed   chan struct{}
}

func newFakeDriver(events ...any) *fakeDriver {
	return &fakeDriver{events: events, detached: make(chan struct{}), closed: make(chan struct{})}
}

func (d *fakeDriver) Attach() error                { return d.attach }
func (d *fakeDriver) Flush() error                 { return nil }
func (d *fakeDriver) Detach() error                { close(d.detached); return nil }
func (d *fakeDriver) Close() error                 { close(d.closed); return nil }
func (d *fakeDriver) Stats() (modern.Stats, error) { return d.stats, nil }

func (d *fakeDriver) Read() (modern.Event, error) {
	if len(d.events) == 0 {
		<-d.detached
		return modern.Event{}, io.EOF
	}
	next := d.events[0]
	d.events = d.events[1:]
	switch next := next.(type) {
	case error:
		return modern.Event{}, next
	case modern.Event:
		return next, nil
	}
	panic(fmt.Sprintf("neither an event nor an error: %T", next))
}

// newConsumer is a consumer of a guest in which only process 1 runs.
func newConsumer(d Driver) *Consumer {
	c := New(d)
	c.hosts = "testdata/hosts"
	c.processes = modern.NewProcesses(fstest.MapFS{
		"1/status":  {Data: []byte("Name:\tagent\nPPid:\t0\n")},
		"1/cmdline": {Data: []byte("/sbin/agent\x00init\x00")},
		"1/exe":     {Data: []byte("/sbin/agent"), Mode: fs.ModeSymlink},
	})
	return c
}

// watchAll evaluates the watches on the events of d and returns the matches.
func watchAll(t *testing.T, d *fakeDriver, watches ...consumer.Watch) ([]consumer.Match, consumer.Stats, error) {
	t.Helper()
	c := newConsumer(d)
	if err := c.Start(t.Context(), watches); err != nil {
		t.Fatal(err)
	}
	stats, err := c.Stop(t.Context())
	var got []consumer.Match
	for m := range c.Matches() {
		got = append(got, m)
	}
	<-d.closed
	return got, stats, err
}

func execOf(path string, exe modern.Exe, cgroup string) modern.Event {
	return modern.Event{
		Kind: modern.Exec, Syscall: "execve", PID: 60, PPID: 1, VPID: 2, Comm: filepath.Base(path), Path: path, Name: path,
		Exe: exe, Args: []string{path, "-x", "y"}, Env: []string{"MEWS_ID=q7", "A=b=c"}, CgroupPath: cgroup,
	}
}

func openOf(name string, flags int, ret int64) modern.Event {
	return modern.Event{Kind: modern.Open, Syscall: "openat2", PID: 60, PPID: 1, VPID: 2, Comm: "cp", Name: name, Dir: "/etc/x", Flags: flags, Ret: ret}
}

func TestFields(t *testing.T) {
	start := execOf("/usr/bin/cp", modern.Exe{Inode: modern.Inode{Ino: 42, CTime: 1_700_000_000_000_000_001, MTime: 1_600_000_000_000_000_002}, Writable: true, UpperLayer: true}, container)
	start.Dir, start.Time = "/home/u", 18*time.Second
	tests := map[string]map[string]string{
		"exec": {
			"evt.type": "execve", "evt.num": "1", "evt.res": "SUCCESS", "evt.arg.flags": "EXE_WRITABLE|EXE_UPPER_LAYER",
			"proc.name": "cp", "proc.exe": "/usr/bin/cp", "proc.exepath": "/usr/bin/cp", "proc.args": "-x y", "proc.cmdline": "cp -x y",
			"proc.pid": "60", "proc.vpid": "2", "proc.ppid": "1", "proc.duration": "5660000000", "proc.pname": "agent", "proc.pcmdline": "agent init", "proc.pexe": "/sbin/agent", "proc.aname": "(agent)", "proc.aname[0]": "cp", "proc.aname[1]": "agent",
			"proc.pexepath": "/sbin/agent", "proc.pvpid": "1", "proc.aexe[1]": "/sbin/agent", "proc.aexepath": "(/sbin/agent)", "proc.acmdline[1]": "agent init", "proc.apid[1]": "1", "proc.apid": "(1)",
			"evt.arg.filename": "/usr/bin/cp", "evt.arg.exe": "/usr/bin/cp", "proc.cwd": "/home/u/",
			"proc.env": "MEWS_ID=q7 A=b=c", "proc.env[A]": "b=c", "proc.exe_ino": "42",
			"proc.exe_ino.ctime": "1700000000000000001", "proc.exe_ino.mtime": "1600000000000000002",
			"proc.is_exe_upper_layer": "true", "proc.is_exe_writable": "true", "proc.is_exe_from_memfd": "false",
			"user.uid": "0", "container.id": "0123456789ab", "thread.cgroups": "unified=" + container,
			// What an exec or this process does not have is absent:
			"fd.name": "", "fd.num": "", "evt.is_open_read": "", "proc.aname[2]": "", "proc.env[B]": "",
		},
		"open": {
			"evt.type": "openat2", "evt.num": "2", "evt.res": "SUCCESS", "evt.arg.flags": "O_TRUNC|O_CREAT|O_WRONLY|O_CLOEXEC",
			"evt.is_open_read": "false", "evt.is_open_write": "true",
			"fd.name": "/etc/shadow", "fd.nameraw": "../shadow", "fd.directory": "/etc", "fd.filename": "shadow", "fd.num": "5", "fd.typechar": "f",
			"proc.exepath": "/usr/bin/cp", "proc.exe_ino": "42", "proc.is_exe_upper_layer": "true", "proc.env[MEWS_ID]": "q7", "container.id": "0123456789ab",
		},
		"refused": {
			"evt.num": "3", "evt.res": "EACCES", "fd.num": "-1", "fd.name": "/shadow", "fd.directory": "/", "evt.is_open_read": "true", "evt.is_open_write": "true",
			"evt.arg.flags": "O_SYNC|O_RDWR", "fd.typechar": "f", "fd.type": "", "fd.filename": "",
		},
		"directory":                     {"evt.num": "4", "fd.typechar": "d", "fd.name": "/etc", "evt.arg.flags": "O_DIRECTORY|O_RDONLY"},
		"started before anybody looked": {"evt.num": "5", "proc.name": "cat", "proc.is_exe_upper_layer": "", "proc.exepath": "", "proc.exe": "", "proc.duration": "", "container.id": "host", "thread.cgroups": ""},
	}
	order := []string{"exec", "open", "refused", "directory", "started before anybody looked"}
	old := openOf("/etc/x", 0, 3)
	old.PID, old.Comm = 70, "cat"
	fork := modern.Event{Kind: modern.Fork, Time: 12340 * time.Millisecond, PID: 60, PPID: 1, Origin: 1}
	d := newFakeDriver(fork, start,
		openOf("../shadow", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_CLOEXEC, 5),
		openOf("//x/../shadow", unix.O_RDWR|unix.O_SYNC, -int64(unix.EACCES)),
		openOf("/etc/", unix.O_DIRECTORY, 6), old)
	for _, tt := range callTests {
		d.events = append(d.events, tt.event)
		order = append(order, tt.name)
		tests[tt.name] = tt.want
	}

	var all []string
	for f := range Schema() {
		all = append(all, f)
	}
	all = append(all, "proc.aexe[1]", "proc.acmdline[1]", "proc.apid[1]", "proc.aname[0]", "proc.aname[1]", "proc.aname[2]", "proc.env[A]", "proc.env[B]", "proc.env[MEWS_ID]")
	got, stats, err := watchAll(t, d, consumer.Watch{Name: "all", Condition: "evt.num > 0", Fields: all})
	if err != nil || len(got) != len(order) || stats.Events != uint64(len(order)) {
		t.Fatalf("%d matches of %d events, want %d of each: %v", len(got), stats.Events, len(order), err)
	}
	for i, name := range order {
		for field, want := range tests[name] {
			value, present := got[i].Fields[field]
			if value != want || present != (want != "") {
				t.Errorf("%s: %s is %q (present: %t), want %q", name, field, value, present, want)
			}
		}
	}
	for field := range Schema() {
		seen := false
		for _, m := range got {
			seen = seen || m.Fields[field] != ""
		}
		// Its executable is older than this boot, and so than every pid namespace: TestChangeOfTheExecutable.
		seen = seen || field == "proc.exe_ino.ctime_duration_pidns_start"
		if !seen {
			t.Errorf("no event has field %s", field)
		}
	}
}

// TestChangeOfTheExecutable: how long it was from a change of the file to the fork of whoever executed it, and from the beginning
// of the pid namespace to that change. Dates of hours since boot are compared by the minute: each is made by reading two clocks.
func TestChangeOfTheExecutable(t *testing.T) {
	const proc, pidns = "proc.exe_ino.ctime_duration_proc_start", "proc.exe_ino.ctime_duration_pidns_start"
	for _, tt := range []struct {
		name               string
		fork, change, boot time.Duration // since boot; 0 is unknown, but of change
		proc, pidns        time.Duration // 0 is absent
	}{
		{"changed in the container", 9 * time.Hour, 4 * time.Hour, time.Hour, 5 * time.Hour, 3 * time.Hour},
		{"changed before the container", 9 * time.Hour, 4 * time.Hour, 6 * time.Hour, 5 * time.Hour, 0},
		{"changed after the fork", 9 * time.Hour, 12 * time.Hour, time.Hour, 0, 11 * time.Hour},
		{"before this boot", 9 * time.Hour, -4 * time.Hour, time.Hour, 13 * time.Hour, 0},
		{"nobody saw the fork", 0, 4 * time.Hour, time.Hour, 0, 3 * time.Hour},
		{"nobody knows the namespace", 9 * time.Hour, 4 * time.Hour, 0, 5 * time.Hour, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			started := execOf("/usr/bin/cp", modern.Exe{Inode: modern.Inode{Ino: 42, CTime: wallClock(tt.change).UnixNano()}}, container)
			started.Time, started.PIDNSStart = 20*time.Hour, tt.boot
			events := []any{started}
			if tt.fork != 0 {
				events = []any{modern.Event{Kind: modern.Fork, Time: tt.fork, PID: 60, PPID: 1, Origin: 1}, started}
			}
			got, _, err := watchAll(t, newFakeDriver(events...), consumer.Watch{Name: "w", Condition: "evt.type = execve", Fields: []string{proc, pidns}})
			if err != nil || len(got) != 1 {
				t.Fatalf("%d matches: %v", len(got), err)
			}
			for field, want := range map[string]time.Duration{proc: tt.proc, pidns: tt.pidns} {
				text, present := got[0].Fields[field]
				n, _ := strconv.ParseInt(text, 10, 64)
				if present != (want != 0) || (time.Duration(n)-want).Abs() > time.Minute {
					t.Errorf("%s is %q, want about %d", field, text, want)
				}
			}
		})
	}
}

// Of a file that nobody could look at there is no time either, least of all one since 1970.
func TestExecutableUnknown(t *testing.T) {
	started := execOf("/usr/bin/cp", modern.Exe{}, container)
	started.PIDNSStart = time.Hour
	fields := []string{"proc.exe_ino", "proc.exe_ino.ctime", "proc.exe_ino.mtime", "proc.exe_ino.ctime_duration_proc_start", "proc.exe_ino.ctime_duration_pidns_start"}
	fork := modern.Event{Kind: modern.Fork, Time: 9 * time.Hour, PID: 60, PPID: 1, Origin: 1}
	got, _, err := watchAll(t, newFakeDriver(fork, started), consumer.Watch{Name: "w", Condition: "evt.type = execve", Fields: fields})
	if err != nil || len(got) != 1 || len(got[0].Fields) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// TestFalcoRules holds the consumer and the shipped rules together: each fires for its attack and not for its twin.
func TestFalcoRules(t *testing.T) {
	var files []rules.File
	for _, name := range []string{"falco.yaml", "native.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "scenarios", "rules", name))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rules.File{Name: name, Data: data})
	}
	set, err := rules.Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	const drop, read = "Drop and execute new binary in container", "Read sensitive file untrusted"
	var watches []consumer.Watch
	for _, name := range []string{drop, read} {
		r, err := set.Rule(name)
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, consumer.Watch{Name: name, Condition: r.Expr.String(), Fields: r.Fields()})
	}
	byOther := openOf("/etc/shadow", 0, 3)
	byOther.Comm = "mews-deed"
	for _, tt := range []struct {
		name, want string
		events     []any
	}{
		{"dropped in a container", drop, []any{execOf("/usr/local/bin/dropped", modern.Exe{UpperLayer: true}, container)}},
		{"the image's own", "", []any{execOf("/usr/bin/true", modern.Exe{}, container)}},
		{"dropped on the host", "", []any{execOf("/usr/local/bin/dropped", modern.Exe{UpperLayer: true}, "/init.scope")}},
		{"shadow read", read, []any{execOf("/x/mews-deed", modern.Exe{}, "/"), byOther}},
		{"shadow not there", "", []any{execOf("/x/mews-deed", modern.Exe{}, "/"), openOf("/etc/shadow", 0, -2)}},
		{"harmless read", "", []any{execOf("/x/mews-deed", modern.Exe{}, "/"), openOf("/etc/hostname", 0, 3)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := watchAll(t, newFakeDriver(tt.events...), watches...)
			if err != nil {
				t.Fatal(err)
			}
			var fired []string
			for _, m := range got {
				fired = append(fired, m.Watch)
			}
			if s := strings.Join(fired, ","); s != tt.want {
				t.Errorf("fired %q, want %q", s, tt.want)
			}
		})
	}
}

func TestStartRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		watch      consumer.Watch
	}{
		{"an unknown field", "proc.nam", consumer.Watch{Condition: "proc.nam = x"}},
		{"an unknown operator", "resembles", consumer.Watch{Condition: "proc.name resembles x"}},
		{"an operator of another type", "proc.pid", consumer.Watch{Condition: "proc.pid contains 1"}},
		{"an unknown field to report", "fd.nam", consumer.Watch{Condition: "proc.pid > 0", Fields: []string{"fd.nam"}}},
		{"a condition to report", "not a single field", consumer.Watch{Condition: "proc.pid > 0", Fields: []string{"fd.name exists or fd.num"}}},
		{"a number that is none", "proc.aname", consumer.Watch{Condition: "proc.aname[x] = y"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := newConsumer(newFakeDriver()).Start(t.Context(), []consumer.Watch{tt.watch})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want one with %q", err, tt.want)
			}
			if f := cause.Of(err); f.Cause != cause.ScenarioBroken {
				t.Errorf("cause %s", f.Cause)
			}
		})
	}
	twice := []consumer.Watch{{Name: "w", Condition: "proc.pid > 0"}, {Name: "w", Condition: "proc.pid > 1"}}
	if err := newConsumer(newFakeDriver()).Start(t.Context(), twice); err == nil {
		t.Error("two watches of one name are taken")
	}
}

func TestLossIsTold(t *testing.T) {
	bad := fmt.Errorf("%w: cut off", modern.ErrRecord)
	d := newFakeDriver(openOf("/a", 0, 3), bad, openOf("/b", 0, 3), bad)
	d.stats.DropsBy = map[string]uint64{"open": 3}
	got, stats, err := watchAll(t, d, consumer.Watch{Name: "w", Condition: "fd.name exists", Fields: []string{"fd.name"}})
	if len(got) != 2 || got[1].Fields["fd.name"] != "/b" {
		t.Errorf("after a bad record the consumer goes on: got %v", got)
	}
	if stats.Drops != 5 || stats.DropsBy[malformed] != 2 || stats.DropsBy["open"] != 3 {
		t.Errorf("lost %d, %v; want 3 of the driver and 2 malformed", stats.Drops, stats.DropsBy)
	}
	if !errors.Is(err, modern.ErrRecord) {
		t.Errorf("Stop says %v", err)
	}
}

// Of a driver of another schema nothing is evaluated, and that is its name.
func TestDriverOfAnotherSchema(t *testing.T) {
	_, bad := modern.Decode(make([]byte, 1024))
	got, stats, err := watchAll(t, newFakeDriver(bad, openOf("/a", 0, 3)), consumer.Watch{Name: "w", Condition: "fd.name exists"})
	if f := cause.Of(err); f.Cause != cause.APISchemaMismatch || f.State != cause.Fail || f.Fault != cause.FaultDriver {
		t.Errorf("Stop says %v", err)
	}
	if len(got) != 0 || stats.Events != 0 {
		t.Errorf("%d matches of %d events after that", len(got), stats.Events)
	}
}

func TestDeadDriverIsTold(t *testing.T) {
	dead := errors.New("the ring is gone")
	c := newConsumer(newFakeDriver(dead))
	if err := c.Start(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, open := <-c.Matches(); open {
		t.Error("a match of no event")
	}
	if _, err := c.Stop(t.Context()); !errors.Is(err, dead) {
		t.Errorf("Stop says %v, want the reason", err)
	}
}

func TestStopDoesNotWaitForeverForAReader(t *testing.T) {
	var many []any
	for range 2 * matchBuffer {
		many = append(many, openOf("/a", 0, 3))
	}
	c := newConsumer(newFakeDriver(many...))
	if err := c.Start(t.Context(), []consumer.Watch{{Name: "w", Condition: "fd.name exists"}}); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Stop(over); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop says %v", err)
	}
}

func TestWallClock(t *testing.T) {
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if d := wallClock(time.Duration(boot.Nano()) - time.Hour).Sub(now.Add(-time.Hour)); d.Abs() > time.Minute {
		t.Errorf("an hour ago is off by %s", d)
	}
}

func TestContainerID(t *testing.T) {
	const id, short = dockerID, "0123456789ab"
	for cgroup, want := range map[string]string{
		"":                            host,
		"/":                           host,
		"/user.slice/session-1.scope": host,
		"/" + id:                      host, // nobody says that it is a container
		"/docker/" + id[:12]:          host,
		"/docker/" + id:               short,
		"/docker/" + id + "/init":     short,
		container:                     short,
		"/system.slice/system-libpod.slice/libpod-" + id + ".scope":                 short,
		"/machine.slice/libpod-" + id + ".scope/container":                          short,
		"/libpod_parent/libpod-" + id:                                               short,
		"/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + id + ".scope":       short,
		"/kubepods/burstable/pod6d1d0e1e-0000-4000-8000-000000000000/" + id:         short,
		"/kubepods.slice/kubepods-besteffort.slice/crio-" + id + ".scope":           short,
		"/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" + id: short,
		"/system.slice/unknown-" + id + ".scope":                                    host,
	} {
		if got := containerID(cgroup); got != want {
			t.Errorf("container of %q is %s, want %s", cgroup, got, want)
		}
	}
}
