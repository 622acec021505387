// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPeriodOf(t *testing.T) {
	for _, c := range []struct {
		name string
		seen []int64
		want int64
	}{
		{"regular", []int64{4e6, 8e6, 12e6, 16e6, 20e6, 24e6}, 4e6},
		{"late by some", []int64{4e6 + 900, 8e6 + 12e3, 12e6, 16e6 + 300, 20e6 + 5e3, 24e6}, 4e6},
		{"others between", []int64{4e6, 5.8e6, 8e6, 12e6, 13.1e6, 16e6, 20e6, 22.5e6}, 4e6},
		{"1000 a second", []int64{1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6}, 1e6},
		{"none", nil, 0},
		{"two prove nothing", []int64{4e6, 8e6}, 0},
	} {
		got := periodOf(c.seen)
		if d := got.period - c.want; d < -2*jitter || d > 2*jitter {
			t.Errorf("%s: period %d, want %d", c.name, got.period, c.want)
		}
	}
}

// A batch begins after the consumer's pause, right after an interrupt.
func TestAfter(t *testing.T) {
	k := ticker{last: 100e6, period: 4e6}
	for _, at := range []int64{100e6, 101e6, 103999999, 250e6} {
		got := k.after(at, pause)
		if since := (got - k.last) % k.period; since != settled || got < at+pause || got > at+pause+k.period+settled {
			t.Errorf("after %d: %d, %d after an interrupt", at, got, since)
		}
	}
	if got := (ticker{}).after(7, pause); got != 7+pause {
		t.Errorf("without a period: %d", got)
	}
}

func TestLeft(t *testing.T) {
	k := ticker{last: 100e6, period: 4e6}
	for at, want := range map[int64]int64{
		100e6:           -settled,
		100e6 + settled: 4e6 - settled,
		103e6:           1e6,
		104e6 - 1:       1,
		104e6:           -settled,
		98e6:            2e6,
	} {
		if got := k.left(at); got != want {
			t.Errorf("at %d: %d, want %d", at, got, want)
		}
	}
}

func TestSmallestProgramRuns(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("there is one for amd64 only")
	}
	if _, err := elf.NewFile(bytes.NewReader(smallest())); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "nothing")
	if err := os.WriteFile(path, smallest(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command(path).Run(); err != nil {
		t.Fatal(err)
	}
}

// Every path can be walked, again and again, and leaves nothing behind.
func TestPaths(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("calls are made on amd64 only")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	fds := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	for _, p := range all {
		dir := t.TempDir()
		before := fds()
		call, undo, err := p.prepare(dir)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		for range 3 {
			if errno := call(); errno != 0 {
				t.Errorf("%s: %v", p.name, errno)
			}
		}
		if undo != nil {
			undo()
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || fds() != before {
			t.Errorf("%s leaves %v and %d descriptors behind (%v)", p.name, left, fds()-before, err)
		}
	}
}

func TestCostSaysWhatIsLacking(t *testing.T) {
	for _, c := range []struct {
		errno   unix.Errno
		lacking bool
	}{{unix.ENOSYS, true}, {unix.EPERM, false}} {
		p := path{"broken", 1, false, func(string) (func() unix.Errno, func(), error) {
			return func() unix.Errno { return c.errno }, nil, nil
		}}
		got := p.cost(Plan{Repeats: 1, Batches: 1}, ticker{}, t.TempDir())
		if got.Failure == "" || got.Lacking != c.lacking || got.Ticks != nil {
			t.Errorf("%v: %+v", c.errno, got)
		}
	}
	p := path{"unprepared", 1, false, func(string) (func() unix.Errno, func(), error) { return nil, nil, errors.New("no") }}
	if got := p.cost(Plan{Repeats: 1, Batches: 1}, ticker{}, t.TempDir()); got.Failure != "no" {
		t.Errorf("%+v", got)
	}
}

func TestRunRefuses(t *testing.T) {
	for _, plan := range []string{`{"repeats":0,"batches":5}`, `{"repeats":1000,"batches":5}`, `{"repeats":1,"batches":100000}`, `[`} {
		if err := Run(t.TempDir(), strings.NewReader(plan), nil); err == nil {
			t.Errorf("%s is accepted", plan)
		}
	}
	if _, err := measure(Plan{Paths: []string{"nowhere"}}, all, t.TempDir()); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("an unknown path: %v", err)
	}
}

// Of calls of which six in seven take memory from the next slab, the figure is the price of the others; one that all of them
// pay shows whole.
func TestSwift(t *testing.T) {
	var calls, dearer []uint64
	for i := range 90 {
		c := uint64(192706)
		switch {
		case i%7 == 6:
			c += 3126
		case i%7 > 0:
			c += 1171
		}
		calls, dearer = append(calls, c), append(dearer, c+1927)
	}
	if got := swift(calls); got != 192706 {
		t.Errorf("%g", got)
	}
	if got := swift(dearer); got != 192706+1927 {
		t.Errorf("each dearer: %g", got)
	}
	if got := swift([]uint64{7}); got != 7 {
		t.Errorf("one call: %g", got)
	}
}

func TestRunning(t *testing.T) {
	for text, want := range map[string]int{
		"0.20 0.18 0.12 1/81 11206\n":   1,
		"10.20 8.18 6.12 17/81 11206\n": 17,
		"0.20 0.18 0.12":                0,
		"0.20 0.18 0.12 x/81 11206":     0,
		"":                              0,
	} {
		if got := running([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestTypical(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{7, 7, 7, 9000}, 7},
		{[]float64{5, 6, 6, 6, 6, 6, 900, 900, 900, 900}, 6},
		{[]float64{10, 20, 10, 20, 10, 20, 10, 20, 10, 20}, 12},
	} {
		if got := typical(c.in); got != c.want {
			t.Errorf("%v: %g, want %g", c.in, got, c.want)
		}
	}
}
