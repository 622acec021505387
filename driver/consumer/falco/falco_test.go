// SPDX-License-Identifier: Apache-2.0

package falco

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/results/cause"
)

// No Falco binary is among the packages that tests can have. This one speaks as Falco's documentation says that Falco
// does, and misbehaves on demand: a wrapper starts the test's own binary with these arguments.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "fake-falco" {
		fake(os.Args[2], os.Args[3], os.Args[4:])
		return
	}
	os.Exit(m.Run())
}

// fake behaves as how says, and reports every opening of a file in dir by every rule.
func fake(how, dir string, args []string) {
	say := func(format string, a ...any) { fmt.Printf(format+"\n", a...) }
	say("Falco version: 0.0.0")
	var file string
	for i, a := range args {
		if a == "-r" {
			file = args[i+1]
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	var rules []struct{ Rule string }
	if err := yaml.Unmarshal(text, &rules); err != nil {
		panic(err)
	}
	switch how {
	case "dies":
		fmt.Fprintln(os.Stderr, "libpman: failed to load BPF object (errno: 22 | message: Invalid argument)")
		os.Exit(1)
	case "refuses":
		fmt.Fprintln(os.Stderr, "Runtime error: filter_check called with nonexistent field proc.nonsense")
		os.Exit(1)
	case "silent":
		time.Sleep(time.Hour)
	}
	in, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		panic(err)
	}
	if _, err := unix.InotifyAddWatch(in, dir, unix.IN_CREATE); err != nil {
		panic(err)
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	names := make(chan string)
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := unix.Read(in, buf)
			if err != nil {
				panic(err)
			}
			for at := 0; at+unix.SizeofInotifyEvent <= n; {
				size := int(buf[at+12]) | int(buf[at+13])<<8
				names <- strings.TrimRight(string(buf[at+unix.SizeofInotifyEvent:at+unix.SizeofInotifyEvent+size]), "\x00")
				at += unix.SizeofInotifyEvent + size
			}
		}
	}()
	metrics := time.NewTicker(50 * time.Millisecond)
	alerts := 0
	for {
		now := time.Now().UTC().Format(time.RFC3339Nano)
		select {
		case <-ended:
			if how != "hangs" {
				return
			}
		case name := <-names:
			for _, r := range rules {
				alerts++
				say(`{"rule":%q,"time":%q,"priority":"Critical","source":"syscall","output":"mews","output_fields":{"fd.name":%q,"evt.time":17,"proc.name":"open","proc.tty":null}}`,
					r.Rule, now, filepath.Join(dir, name))
			}
			switch how {
			case "garbage":
				say(`{"rule": "half an al`)
			case "endless":
				fmt.Printf("{%s", strings.Repeat("x", 4<<20))
			case "quits":
				return
			case "floods":
				for range 10_000 {
					say(`{"rule":%q,"time":%q,"output_fields":{"proc.name":"flood"}}`, rules[0].Rule, now)
				}
			case "drops":
				say(`{"rule":"Falco internal: syscall event drop","time":%q,"output_fields":{"n_drops":"7","n_evts":"9"}}`, now)
			}
		case <-metrics.C:
			if how != "no metrics" {
				say(`{"rule":"Falco internal: metrics snapshot","time":%q,"output_fields":{"scap.n_evts":%d,"scap.n_drops":2,"scap.n_drops_buffer_total":2,"scap.n_drops_buffer_open_exit":2,"falco.version":"0"}}`,
					now, 100+alerts)
			}
		}
	}
}

// supplied is a consumer of the fake.
func supplied(t *testing.T, how string) (*Consumer, *fence.Fence) {
	t.Helper()
	dir := t.TempDir()
	f, err := fence.In(filepath.Join(dir, "fence"))
	if err != nil {
		t.Fatal(err)
	}
	wrapper := filepath.Join(dir, "falco")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s fake-falco '%s' '%s' \"$@\"\n", self, how, filepath.Join(dir, "fence"))
	if err := os.WriteFile(wrapper, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return New(Options{Path: wrapper, Dir: dir, Fence: f}), f
}

var watches = []consumer.Watch{
	{Name: "one", Condition: "evt.type=execve", Fields: []string{"proc.name", "fd.name"}},
	{Name: "two: a name with a colon", Condition: "evt.type=open", Fields: []string{"fd.name"}},
}

// within bounds a wait that ends by an event; it measures nothing.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestWatches(t *testing.T) {
	c, f := supplied(t, "well")
	got := make(chan []consumer.Match)
	go func() {
		var all []consumer.Match
		for m := range c.Matches() {
			all = append(all, m)
		}
		got <- all
	}()
	if err := c.Start(within(t, time.Minute), watches); err != nil {
		t.Fatal(err)
	}
	stats, err := c.Stop(within(t, time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	if stats.Drops != 2 || stats.Events <= 100 || stats.DropsBy["buffer_open_exit"] != 2 || len(stats.DropsBy) != 1 {
		t.Errorf("stats %+v", stats)
	}
	seen := map[string]int{}
	for _, m := range <-got {
		seen[m.Watch]++
		if _, ok := f.Token(m); !ok {
			t.Errorf("%+v is no fence", m)
		}
		if _, ok := m.Fields["proc.tty"]; ok || m.Watch == "two: a name with a colon" && m.Fields["proc.name"] != "" {
			t.Errorf("fields that nobody asked for: %v", m.Fields)
		}
	}
	if seen["one"] == 0 || seen["two: a name with a colon"] == 0 || len(seen) != 2 {
		t.Errorf("matches by watch: %v; Falco's words about itself are none", seen)
	}
}

func TestMisbehaves(t *testing.T) {
	for _, c := range []struct {
		how   string
		start cause.Cause // of Start; empty: it goes well
		stop  cause.Cause
	}{
		{"dies", cause.VerifierRejection, ""},
		{"refuses", cause.ConsumerBroken, ""},
		{"silent", cause.NoEvents, ""},
		{"quits", "", cause.ConsumerBroken},
		{"garbage", "", cause.ConsumerBroken},
		{"endless", "", cause.ConsumerBroken},
		{"hangs", "", cause.ConsumerBroken},
		{"no metrics", "", cause.ConsumerBroken},
	} {
		t.Run(c.how, func(t *testing.T) {
			f, _ := supplied(t, c.how)
			go func() {
				for range f.Matches() {
				}
			}()
			limit := time.Minute
			if c.how == "silent" {
				limit = time.Second // it ends by its deadline alone
			}
			err := f.Start(within(t, limit), watches)
			if got := causeOf(err); got != c.start {
				t.Fatalf("Start: %v, want %q", err, c.start)
			}
			if err != nil {
				return
			}
			if limit = time.Minute; c.how == "hangs" || c.how == "no metrics" {
				limit = time.Second
			}
			_, err = f.Stop(within(t, limit))
			if got := causeOf(err); got != c.stop {
				t.Errorf("Stop: %v, want %q", err, c.stop)
			}
			if !f.proc.Ended() {
				t.Error("it was left running")
			}
		})
	}
}

func causeOf(err error) cause.Cause {
	var e *cause.Err
	if errors.As(err, &e) {
		return e.Cause
	}
	return ""
}

// Nobody reads the matches of a flood, and Stop comes to an end nevertheless, with what was lost.
func TestFloodAndDrops(t *testing.T) {
	for how, drops := range map[string]uint64{"floods": 2, "drops": 7} {
		c, _ := supplied(t, how)
		ctx, cancel := context.WithCancel(within(t, time.Minute))
		go func() {
			for range c.Matches() {
			}
			cancel()
		}()
		if err := c.Start(ctx, watches); err != nil {
			t.Fatal(how, err)
		}
		stats, err := c.Stop(within(t, time.Minute))
		if err != nil || stats.Drops < drops {
			t.Errorf("%s: %+v, %v", how, stats, err)
		}
	}
}

func TestRulesFile(t *testing.T) {
	if _, err := rulesFile([]consumer.Watch{{Name: "a"}, {Name: "a"}}); err == nil {
		t.Error("two watches of one name were accepted")
	}
	if _, err := rulesFile([]consumer.Watch{{Name: "Falco internal: x"}}); err == nil {
		t.Error("a watch that would be ignored was accepted")
	}
}

func FuzzParseAlert(f *testing.F) {
	f.Add([]byte(`{"rule":"one","time":"2026-11-22T00:00:00.123456789Z","output_fields":{"fd.name":"/x","n":1,"l":[1,"a"],"z":null}}`))
	f.Add([]byte(`{"rule":"Falco internal: metrics snapshot","time":"2026-11-22T00:00:00Z","output_fields":{"scap.n_evts":5,"scap.n_drops":1e3}}`))
	f.Add([]byte("Falco version: 0.43.0"))
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAlert(line)
		if err != nil || a.notJSON {
			return
		}
		m := a.match([]string{"fd.name", "n", "l", "z"})
		for name, v := range m.Fields {
			if v == "" {
				t.Errorf("field %s is empty", name)
			}
		}
		if s, ok := a.snapshot(); ok && !a.internal() {
			t.Errorf("%+v is a snapshot of a rule that is not Falco's own", s)
		}
		a.drops()
	})
}
