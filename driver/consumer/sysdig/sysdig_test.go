// SPDX-License-Identifier: Apache-2.0

package sysdig_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/driver/consumer/fence"
	"github.com/mews-farm/mews/driver/consumer/sysdig"
	"github.com/mews-farm/mews/results/cause"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "--unbuffered" {
		os.Exit(pretend(os.Args))
	}
	os.Exit(m.Run())
}

// filterOf is what a chisel filters by.
var filterOf = regexp.MustCompile(`set_filter\("(.*)"\)`)

// pretend is a process that talks like sysdig 0.41.4 with a chisel for each watch. How it misbehaves is the filter of the last.
func pretend(args []string) int {
	var modes []string
	var dir string
	for i, a := range args {
		if a != "-c" {
			continue
		}
		lua, err := os.ReadFile(args[i+1] + ".lua")
		if err != nil {
			fmt.Fprintln(os.Stderr, "can't open file", args[i+1])
			return 1
		}
		filter := filterOf.FindStringSubmatch(string(lua))[1]
		_, dir, _ = strings.Cut(filter, "startswith ")
		dir = strings.TrimSuffix(dir, "/)")
		modes = append(modes, strings.Fields(strings.TrimPrefix(filter, "("))[0])
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	last := len(modes) - 1
	fenced := func(upTo int) {
		for i := range upTo + 1 {
			fmt.Printf(`%d {"evt.rawtime":1795305077010549472,"fd.name":"%s/abc"}`+"\n", i, dir)
		}
	}
	totals := func() { fmt.Fprint(os.Stderr, "Driver Events:1154\nDriver Drops:3\nSuppressed by Comm:0\n") }
	switch modes[last] {
	case "unknown.field=1)":
		fmt.Fprintf(os.Stderr, "invalid filter in chisel watch%d: filter_check called with nonexistent field unknown.field\nchisel error\n", last)
		return 1
	case "new.driver=1)":
		fmt.Fprintln(os.Stderr, "Driver supports API version 8.0.4, but running version needs 1.0.0")
		return 1
	case "old.driver=1)":
		fmt.Fprintln(os.Stderr, "Minimum API version supported by scap: 8.0.0, but the running driver uses 1.0.0")
		return 1
	case "mute=1)": // the other reports
		fenced(last - 1)
		<-interrupted
		totals()
	case "garbage=1)":
		fenced(last)
		fmt.Println("Unable to do something")
		<-interrupted
		totals()
	case "wordless=1)":
		fenced(last)
		<-interrupted
	case "deaf=1)":
		fenced(last)
		for {
			<-interrupted
		}
	default:
		fenced(last)
		for i := range modes {
			fmt.Printf(`%d {"evt.rawtime":1795305077174729035,"fd.name":"/etc/shadow","proc.env":"A=a b\nc","proc.args":null,"proc.is_exe_upper_layer":true,"fd.num":3}`+"\n", i)
		}
		<-interrupted
		totals()
	}
	return 0
}

// run starts a consumer with one watch per condition, and returns what it reported.
func run(t *testing.T, timeout time.Duration, conditions ...string) (got []consumer.Match, stats consumer.Stats, startErr, stopErr error) {
	t.Helper()
	f, err := fence.In(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var watches []consumer.Watch
	for i, c := range conditions {
		watches = append(watches, f.Guard(consumer.Watch{Name: fmt.Sprint("w", i), Condition: c, Fields: []string{"proc.env"}}))
	}
	c := sysdig.New(sysdig.Options{Path: self, Fence: f})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for m := range c.Matches() {
			if _, ok := f.Token(m); !ok {
				got = append(got, m)
			}
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if startErr = c.Start(ctx, watches); startErr != nil {
		return nil, consumer.Stats{}, startErr, nil
	}
	stats, stopErr = c.Stop(ctx)
	<-done
	return got, stats, nil, stopErr
}

func TestConsumer(t *testing.T) {
	got, stats, startErr, stopErr := run(t, time.Minute, "a=1", "b=1")
	if startErr != nil || stopErr != nil {
		t.Fatal(startErr, stopErr)
	}
	if want := (consumer.Stats{Events: 1154, Drops: 3, DropsBy: map[string]uint64{"driver": 3}}); !reflect.DeepEqual(stats, want) {
		t.Errorf("stats %+v, want %+v", stats, want)
	}
	if len(got) != 2 {
		t.Fatalf("matches %v, want one of each watch", got)
	}
	want := map[string]string{"fd.name": "/etc/shadow", "proc.env": "A=a b\nc", "proc.is_exe_upper_layer": "true", "fd.num": "3"}
	for _, m := range got {
		if !reflect.DeepEqual(m.Fields, want) || m.Time.UnixNano() != 1795305077174729035 {
			t.Errorf("match %+v, want fields %v", m, want)
		}
	}
	if got[0].Watch == got[1].Watch {
		t.Errorf("both matches are of watch %s", got[0].Watch)
	}
}

func TestConsumerBroken(t *testing.T) {
	for mode, want := range map[string]struct {
		atStart  bool
		timeout  time.Duration
		finding  cause.Cause
		state    cause.State
		evidence string
	}{
		"unknown.field=1": {true, time.Minute, cause.ConsumerBroken, cause.Error, "unknown.field sysdig's stderr: chisel error watch1.lua: w1: (unknown.field=1)"},
		"new.driver=1":    {true, time.Minute, cause.APISchemaMismatch, cause.Fail, "but running version needs"},
		"old.driver=1":    {true, time.Minute, cause.APISchemaMismatch, cause.Fail, "supported by scap"},
		"mute=1":          {true, 500 * time.Millisecond, cause.NoEvents, cause.Fail, ""}, // one of two
		"garbage=1":       {false, time.Minute, cause.ConsumerBroken, cause.Error, "Unable to do something"},
		"wordless=1":      {false, time.Minute, cause.ConsumerBroken, cause.Error, "Driver Events:"},
		"deaf=1":          {false, 2 * time.Second, cause.ConsumerBroken, cause.Error, "does not end"},
	} {
		t.Run(mode, func(t *testing.T) {
			_, _, startErr, stopErr := run(t, want.timeout, "fine=1", mode)
			err := stopErr
			if want.atStart {
				err = startErr
			}
			f := cause.Of(err)
			if f.Cause != want.finding || f.State != want.state || !strings.Contains(fmt.Sprintf("%v", f.Evidence), want.evidence) {
				t.Errorf("start: %v, stop: %v: got %+v", startErr, stopErr, f)
			}
		})
	}
}

func TestChisel(t *testing.T) {
	w := consumer.Watch{Condition: "evt.type=open and fd.name=\"a\\b\xff\n\"", Fields: []string{"proc.name", "proc.aname[2]", "proc.name", "evt.rawtime"}}
	got, err := sysdig.Chisel(w, "7 ")
	const want = `description, short_description, category, args = "a watch", "a watch", "mews", {}
function on_init()
	chisel.set_filter("evt.type=open and fd.name=\034a\092b\255\010\034")
	chisel.set_event_formatter("*%evt.rawtime %proc.name %proc.aname[2]")
	return true
end
function on_event()
	io.write("7 ")
	return true
end
`
	if err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, bad := range []string{"", "proc.name %evt.time", "-w/etc/passwd", "proc.aname[2", "proc name"} {
		if got, err := sysdig.Chisel(consumer.Watch{Fields: []string{bad}}, "0 "); err == nil {
			t.Errorf("field %q gives %q", bad, got)
		}
	}
}

func TestFilter(t *testing.T) {
	watch := func(c string) consumer.Watch { return consumer.Watch{Condition: c} }
	for _, tc := range []struct {
		want       string
		conditions []string
	}{
		{"evt.type in (execve, open)", []string{"evt.type=open", "evt.type=execve and proc.name=a"}},
		{"(evt.type=open) or (proc.name=a)", []string{"evt.type=open", "proc.name=a"}}, // of any type
		{"", []string{"evt.type=open", "evt.type=execve and"}},
	} {
		var watches []consumer.Watch
		for _, c := range tc.conditions {
			watches = append(watches, watch(c))
		}
		if got := sysdig.Filter(watches); got != tc.want {
			t.Errorf("%q are filtered by %q, want %q", tc.conditions, got, tc.want)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`0 {"evt.num":219,"evt.rawtime":1795305077010549472,"evt.res":"ENOENT","fd.name":null,"proc.is_exe_upper_layer":false}`))
	f.Add([]byte(`1 {"evt.rawtime":"1","evt.args":[{"a":1}]}`))
	f.Add([]byte(`{"evt.rawtime":"1"}`))
	f.Add([]byte(`2 {"evt.rawtime":"1"}`))
	f.Add([]byte(`0 null`))
	watches := []consumer.Watch{{Name: "0"}, {Name: "1"}}
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := sysdig.ParseLine(line, watches)
		if err == nil && (m.Fields == nil || strings.TrimLeft(strings.Fields(string(line))[0], "+0") != strings.TrimLeft(m.Watch, "0")) {
			t.Errorf("%q is match %+v", line, m)
		}
	})
}

func TestParseTotals(t *testing.T) {
	events, drops, err := sysdig.ParseTotals("Driver Events:1154\nDriver Drops:7\nSuppressed by Comm:0\nElapsed time: 0.135, Captured Events: 18, 132.91 eps\n")
	if events != 1154 || drops != 7 || err != nil {
		t.Errorf("%d, %d, %v", events, drops, err)
	}
	for _, bad := range []string{"", "Driver Events:1", "Driver Events:x\nDriver Drops:1", "Driver Events:1\nDriver Drops:99999999999999999999"} {
		if _, _, err := sysdig.ParseTotals(bad); err == nil {
			t.Errorf("%q has totals", bad)
		}
	}
}
