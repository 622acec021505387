// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/mews-farm/mews/builders/grid"
	"github.com/mews-farm/mews/kernels"
)

// The neighbours are the newest kernels of one line whose headers its suites hold: two of each release, as a rule.
var neighbourSuites = []string{"trixie-security", "trixie"}

const neighbourPattern = "6.12.*amd64"

// neighbourCount is how many there are, unless -neighbours says another number.
var neighbourCount = 15

// neighbours compares the processor time of one grid of neighbouring kernels with that of building for each by itself. Both
// begin with the packages and nothing made of them. It is taken once: it is a quarter of an hour of two processors.
func neighbours(ctx context.Context, count, rounds int) ([]figure, error) {
	ks, err := fetchNeighbours(ctx, count)
	if err != nil {
		return nil, err
	}
	var alone []float64
	for i := range rounds {
		k := ks[i*(len(ks)-1)/max(rounds-1, 1)] // the newest, the oldest, and some between
		b, err := coldGrid(ctx, []string{k})
		if err != nil {
			return nil, err
		}
		alone = append(alone, b.cpu)
	}
	all, err := coldGrid(ctx, ks)
	if err != nil {
		return nil, err
	}
	whole := float64(len(ks)) * median(alone)
	return []figure{
		{fmt.Sprintf("%d neighbouring kernels x %s, processor time (once)", len(ks), driverName), all.cpu / whole, "x", 0.5,
			fmt.Sprintf("%d times a cold build by itself (median of %d), s", len(ks), rounds), whole},
		{"memory of mews while it builds those, peak", all.peak, "MiB", 200, "limit", 200},
	}, nil
}

// fetchNeighbours brings the kernels' headers into the archive, and says their names.
func fetchNeighbours(ctx context.Context, count int) ([]string, error) {
	shop, _, err := workshop(false)
	if err != nil {
		return nil, err
	}
	found, err := shop.Debian.Resolve(ctx, neighbourSuites, neighbourPattern, count)
	if err != nil {
		return nil, err
	}
	if len(found) < count {
		return nil, fmt.Errorf("the suites hold headers of %d kernels %s alone", len(found), neighbourPattern)
	}
	var names []string
	for _, r := range found {
		if err := fetchAll(ctx, shop.Debian, r.Headers); err != nil {
			return nil, err
		}
		names = append(names, "debian:"+r.Kernel.Release)
	}
	return names, nil
}

func fetchAll(ctx context.Context, f kernels.Fetcher, pkgs []kernels.Package) error {
	for _, p := range pkgs {
		if _, err := f.Fetch(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// cost is what a run of mews took.
type cost struct {
	seconds float64
	cpu     float64 // seconds, of mews and all that it started
	peak    float64 // MiB, of mews itself
	origins map[grid.Origin]int
}

// coldGrid builds the driver for kernels with a mews that has the packages and indexes and nothing else, as on a new machine
// when all is downloaded: the indexes are read, and a build root made.
func coldGrid(ctx context.Context, ks []string) (cost, error) {
	home, err := unknowing(slices.Concat(outcomes, read)...)
	if err != nil {
		return cost{}, err
	}
	defer os.RemoveAll(home)
	c, err := build(ctx, append(os.Environ(), "XDG_CACHE_HOME="+home), filepath.Join(home, "out"), ks, []string{driverName})
	if err == nil && c.origins[grid.Built] != len(ks) {
		err = fmt.Errorf("of %d cells %d were built: %v", len(ks), c.origins[grid.Built], c.origins)
	}
	return c, err
}

// build runs mews build, which must exit 0.
func build(ctx context.Context, environ []string, out string, ks, ds []string) (cost, error) {
	argv := []string{"build", "--offline", "--builder", "local", "-o", "json", "--out", out}
	for _, k := range ks {
		argv = append(argv, "--kernel", k)
	}
	for _, d := range ds {
		argv = append(argv, "--driver", d)
	}
	cmd := exec.CommandContext(ctx, "bin/mews", argv...)
	var said, told bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = environ, &told, &said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return cost{}, err
	}
	peak := make(chan float64)
	done := make(chan struct{})
	go func() { peak <- watch(done, func() float64 { return peakOf(cmd.Process.Pid) }) }()
	err := cmd.Wait()
	close(done)
	c := cost{seconds: time.Since(began).Seconds(), peak: <-peak, origins: map[grid.Origin]int{}}
	if err != nil {
		return c, fmt.Errorf("mews build: %w\n%s", err, &said)
	}
	c.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	var record struct{ Cells []grid.Result }
	if err := json.Unmarshal(told.Bytes(), &record); err != nil {
		return c, fmt.Errorf("mews build -o json: %w", err)
	}
	for _, r := range record.Cells {
		c.origins[r.Origin]++
	}
	return c, nil
}
