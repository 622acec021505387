// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
)

func TestNightIsAMatrix(t *testing.T) {
	shipped, _, err := parts.Load("../../matrix.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kernels []nightKernel
	for _, name := range nightLines {
		line, ok := shipped.Kernels.Get(name)
		if !ok {
			t.Fatalf("the matrix has no kernels %s", name)
		}
		kernels = append(kernels, nightKernel{"1.2-" + name, line}, nightKernel{"1.3-" + name, line})
	}
	file, names, err := writeNight("../..", kernels)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := parts.Load(file)
	os.Remove(file)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := m.Profiles.Get("night")
	if !ok || len(p.Kernels) != len(kernels) || len(p.Drivers) != 3 || len(p.Scenarios) != 25 || len(names) != 25 {
		t.Errorf("the night has %d kernels, %d drivers, %d scenarios", len(p.Kernels), len(p.Drivers), len(p.Scenarios))
	}
	for i, k := range kernels {
		got, ok := m.Kernels.Get(p.Kernels[i].V)
		if !ok || got.Match.V != k.release || !slices.Equal(matrix.Values(got.Suites), matrix.Values(k.line.Suites)) || !slices.Equal(matrix.Values(got.Build), matrix.Values(k.line.Build)) {
			t.Errorf("kernel %d is %+v", i, got)
		}
	}
}

func TestBusy(t *testing.T) {
	before, err := busyOf("cpu  100 0 50 1000 50 0 0 0 30 0\ncpu0 1 1\n")
	if err != nil {
		t.Fatal(err)
	}
	after, err := busyOf("cpu  180 0 60 1008 52 0 0 0 90 0\n")
	if err != nil {
		t.Fatal(err)
	}
	if idle := after.idleSince(before); idle != 0.1 {
		t.Errorf("idle %v of the time, not a tenth", idle)
	}
	if _, err := busyOf("intr 1 2 3"); err == nil {
		t.Error("what is no line of processors is read as one")
	}
}

// A child's time is in its parent's only when it was waited for, and not in its own.
func TestOwnTime(t *testing.T) {
	if s, err := statTime("7 (a) b (c)) S 1 7 7 0 -1 4 5 6 7 8 150 50 9000 9000 20 0"); err != nil || s != 2 {
		t.Errorf("%v s, %v", s, err)
	}
	if _, err := statTime("7 (a) S"); err == nil {
		t.Error("a process without times has some")
	}
	cmd := exec.Command("sh", "-c", "sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done'; exit 3")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := waitable(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	own, err := ownOf(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("then it is waited for: %v", err)
	}
	if all := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds(); own > all/2 {
		t.Errorf("%.2f s of %.2f are its own, which are its child's", own, all)
	}
}
