// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/facts"
	"github.com/mews-farm/mews/scenarios"
)

// unpacking compares the processor time of fetching (from a warm archive) and unpacking a cloud kernel with its headers to
// that of `dpkg-deb -x` of the same packages, and takes the kernel's facts.
func unpacking(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "debian-6.1")
	if err != nil {
		return nil, err
	}
	r := plan.Cells[0].Resolved
	var ours, dpkg, looks []float64
	for range rounds {
		dir, err := os.MkdirTemp("", "mews-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		trees := &kernels.Trees{Dir: filepath.Join(dir, "ours"), Fetcher: shop.Debian}
		var files *kernels.Files
		t, err := cpu(syscall.RUSAGE_SELF, func() error { files, err = trees.Files(ctx, r); return err })
		if err != nil {
			return nil, err
		}
		ours = append(ours, t)
		if t, err = cpu(syscall.RUSAGE_CHILDREN, func() error { return dpkgAll(ctx, shop, r, filepath.Join(dir, "dpkg")) }); err != nil {
			return nil, err
		}
		dpkg = append(dpkg, t)
		if t, err = cpu(syscall.RUSAGE_SELF, func() error { _, err := facts.Of(ctx, files); return err }); err != nil {
			return nil, err
		}
		looks = append(looks, t)
	}
	name := r.Kernel.Release
	return []figure{
		{"fetch from a warm archive and unpack with headers, processor time, " + name, median(ours) / median(dpkg), "x", 1.3, "dpkg-deb -x of the same packages, s", median(dpkg)},
		{"facts of a kernel, processor time, " + name, median(looks), "s", 1, "limit", 1},
	}, nil
}

func dpkgAll(ctx context.Context, shop *parts.Workshop, r *kernels.Resolved, dir string) error {
	for _, p := range append(append([]kernels.Package{}, r.Image...), r.Headers...) {
		deb, err := shop.Debian.Fetch(ctx, p)
		if err != nil {
			return err
		}
		if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", deb, dir).CombinedOutput(); err != nil {
			return fmt.Errorf("dpkg-deb -x %s: %w: %s", p.Name, err, out)
		}
	}
	return nil
}

// cpu is the processor time, user and system, in seconds, that f takes of who.
func cpu(who int, f func() error) (float64, error) {
	var before, after syscall.Rusage
	if err := syscall.Getrusage(who, &before); err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	if err := syscall.Getrusage(who, &after); err != nil {
		return 0, err
	}
	spent := time.Duration(after.Utime.Nano() - before.Utime.Nano() + after.Stime.Nano() - before.Stime.Nano())
	return spent.Seconds(), nil
}

// workshop is what the matrix's parts are made in.
func workshop(offline bool) (*parts.Workshop, *scenarios.Catalog, error) {
	m, cat, err := parts.Load("matrix.yaml")
	if err != nil {
		return nil, nil, err
	}
	warn := func(text string) { fmt.Fprintln(os.Stderr, "bench: warning:", text) }
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: "bin/mews-agent", Offline: offline, Warn: warn})
	return shop, cat, err
}

// offline plans the modern cell of one kernel from the archive.
func offline(ctx context.Context, kernel string) (*parts.Workshop, *harness.Plan, error) {
	shop, cat, err := workshop(true)
	if err != nil {
		return nil, nil, err
	}
	sel := harness.Selection{Profile: harness.Default, Drivers: []string{"mews-modern"}}
	if kernel != "" {
		sel.Kernels = []string{kernel}
	}
	plan, err := harness.MakePlan(ctx, shop.Matrix, sel, cat, shop)
	if err != nil {
		return nil, nil, err
	}
	shop.Image = plan.Image
	for _, c := range plan.Cells {
		if c.Err != nil {
			return nil, nil, c.Err
		}
	}
	return shop, plan, nil
}

// goBench is the figure of a Go benchmark in one of the packages: the processor seconds of 100 MB, or of one operation,
// where it says so, else the seconds of one operation.
func goBench(ctx context.Context, pkg, bench string, f figure, rounds int) ([]figure, error) {
	var values []float64
	for range rounds {
		out, err := exec.CommandContext(ctx, "go", "test", pkg, "-run", "^$", "-bench", bench, "-benchtime", "1x", "-timeout", "10m").CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("go test -bench %s %s: %w\n%s", bench, pkg, err, out)
		}
		v, err := parseBench(string(out))
		if err != nil {
			return nil, fmt.Errorf("go test -bench %s %s: %w", bench, pkg, err)
		}
		values = append(values, v)
	}
	f.Value = median(values)
	return []figure{f}, nil
}

var (
	perOp  = regexp.MustCompile(`\s([0-9.]+) ns/op`)
	perCPU = regexp.MustCompile(`\s([0-9.]+) cpu-s/(?:100MB|op)`)
)

func parseBench(out string) (float64, error) {
	if m := perCPU.FindStringSubmatch(out); m != nil {
		return strconv.ParseFloat(m[1], 64)
	}
	if m := perOp.FindStringSubmatch(out); m != nil {
		v, err := strconv.ParseFloat(m[1], 64)
		return v / 1e9, err
	}
	return 0, fmt.Errorf("no figure in:\n%s", out)
}
