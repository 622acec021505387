// SPDX-License-Identifier: Apache-2.0

package sysdig_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"reflect"
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

// pretend is a process that talks like sysdig 0.41.4. How it misbehaves is the last word of its filter.
func pretend(args []string) int {
	filter := args[len(args)-1]
	_, dir, _ := strings.Cut(filter, "startswith ")
	dir = strings.TrimSuffix(dir, "/)")
	mode := strings.Fields(strings.TrimPrefix(filter, "("))[0]
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	fenced := func() { fmt.Printf(`{"evt.rawtime":1795305077010549472,"fd.name":"%s/abc"}`+"\n", dir) }
	totals := func() { fmt.Fprint(os.Stderr, "Driver Events:1154\nDriver Drops:3\nSuppressed by Comm:0\n") }
	switch mode {
	case "unknown.field=1)":
		fmt.Fprintln(os.Stderr, "filter_check called with nonexistent field unknown.field")
		return 1
	case "new.driver=1)":
		fmt.Fprintln(os.Stderr, "Driver supports API version 8.0.4, but running version needs 1.0.0")
		return 1
	case "old.driver=1)":
		fmt.Fprintln(os.Stderr, "Minimum API version supported by scap: 8.0.0, but the running driver uses 1.0.0")
		return 1
	case "mute=1)":
		<-interrupted
		totals()
	case "garbage=1)":
		fenced()
		fmt.Println("Unable to do something")
		<-interrupted
		totals()
	case "wordless=1)":
		fenced()
		<-interrupted
	case "deaf=1)":
		fenced()
		for {
			<-interrupted
		}
	default:
		fenced()
		fmt.Println(`{"evt.rawtime":1795305077174729035,"fd.name":"/etc/shadow","proc.env":"A=a b\nc","proc.args":null,"proc.is_exe_upper_layer":true,"fd.num":3}`)
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
	if want := (consumer.Stats{Events: 2308, Drops: 6, DropsBy: map[string]uint64{"w0": 3, "w1": 3}}); !reflect.DeepEqual(stats, want) {
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
		"unknown.field=1": {true, time.Minute, cause.ConsumerBroken, cause.Error, "nonexistent field unknown.field"},
		"new.driver=1":    {true, time.Minute, cause.APISchemaMismatch, cause.Fail, "but running version needs"},
		"old.driver=1":    {true, time.Minute, cause.APISchemaMismatch, cause.Fail, "supported by scap"},
		"mute=1":          {true, 500 * time.Millisecond, cause.NoEvents, cause.Fail, ""},
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

func TestArgs(t *testing.T) {
	got, err := sysdig.Args(consumer.Watch{Condition: "evt.type=open", Fields: []string{"proc.name", "proc.aname[2]", "proc.name", "evt.rawtime"}})
	want := []string{"--unbuffered", "-v", "-j", "-p", "*%evt.rawtime %proc.name %proc.aname[2]", "evt.type=open"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	for _, bad := range []string{"", "proc.name %evt.time", "-w/etc/passwd", "proc.aname[2", "proc name"} {
		if got, err := sysdig.Args(consumer.Watch{Fields: []string{bad}}); err == nil {
			t.Errorf("field %q gives %q", bad, got)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"evt.num":219,"evt.rawtime":1795305077010549472,"evt.res":"ENOENT","fd.name":null,"proc.is_exe_upper_layer":false}`))
	f.Add([]byte(`{"evt.rawtime":"1","evt.args":[{"a":1}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := sysdig.ParseLine(line, consumer.Watch{Name: "w"})
		if err == nil && (m.Watch != "w" || m.Fields == nil) {
			t.Errorf("match %+v", m)
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
