// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/results/rundir"
)

// A night's matrix is the newest kernels of these lines, each with these drivers and as many of the stable rules' scenarios.
var (
	nightLines   = []string{"debian-5.10", "debian-6.1", "debian-6.12", "debian-7"}
	nightDrivers = []string{"falco-kmod", "mews-modern", "mews-ptrace"}
)

const (
	nightScenarios  = 25
	nightCandidates = 40 // kernels of a line, of which a mirror may have lost some
)

// nightKernels is how many kernels the matrix has: a smaller one tries the row.
var nightKernels = 12

// wholeNight runs the matrix of a night from a filled archive, once, and says how busy it kept the machine.
func wholeNight(ctx context.Context, _ int) ([]figure, error) {
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	chosen, err := chooseNight(ctx)
	if err != nil {
		return nil, err
	}
	file, names, err := writeNight(".", chosen)
	if err != nil {
		return nil, err
	}
	defer os.Remove(file)
	kernels, err := fillFor(ctx, file)
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "run")
	before, err := readBusy()
	if err != nil {
		return nil, err
	}
	u, err := use(ctx, "run", "--offline", "-f", file, "--profile", "night", "--out", out)
	if err != nil {
		return nil, err
	}
	after, err := readBusy()
	if err != nil {
		return nil, err
	}
	r, err := rundir.Load(out)
	if err != nil {
		return nil, err
	}
	for _, c := range r.Cells {
		if c.State != cause.Pass { // a cell that ended early would have cost less
			return nil, fmt.Errorf("cell %s is %s %s", c.ID, c.State, c.Cause)
		}
	}
	name := fmt.Sprintf("matrix of %d kernels x %d drivers x %d scenarios, filled archive (once)", kernels, len(nightDrivers), len(names))
	return []figure{
		{name, u.wall / 60, "min", 15, "estimate before it began, min", estimated(r)},
		{"processors idle during it", 100 * after.idleSince(before), "%", 10, "processor time of mews itself, % of one", 100 * u.own / u.wall},
	}, nil
}

func estimated(r results.Run) float64 {
	if r.Estimate == nil {
		return 0
	}
	return r.Estimate.Seconds / 60
}

// nightKernel is one of a night, of a line of the matrix.
type nightKernel struct {
	release string
	line    matrix.Kernel
}

// chooseNight finds the newest kernels of each line that the mirror holds: an index may name what its pool has lost.
func chooseNight(ctx context.Context) ([]nightKernel, error) {
	shop, _, err := workshop(false)
	if err != nil {
		return nil, err
	}
	lines := nightLines[:min(nightKernels, len(nightLines))]
	var out []nightKernel
	for i, name := range lines {
		line, _ := shop.Matrix.Kernels.Get(name)
		found, err := shop.Debian.Resolve(ctx, matrix.Values(line.Suites), line.Match.V, nightCandidates)
		if err != nil {
			return nil, err
		}
		want := (i+1)*nightKernels/len(lines) - len(out)
		for _, r := range found {
			if want == 0 {
				break
			}
			_, err := shop.Kernel(ctx, r)
			switch {
			case cause.Of(err).Cause == cause.PackageMissing:
				fmt.Fprintln(os.Stderr, "bench: left out:", err)
			case err != nil:
				return nil, err
			default:
				out, want = append(out, nightKernel{r.Kernel.Release, line}), want-1
			}
		}
	}
	if len(out) < nightKernels {
		return nil, fmt.Errorf("the mirror holds %d kernels of %s, of %d that the matrix is to have", len(out), strings.Join(lines, ", "), nightKernels)
	}
	return out, nil
}

// writeNight writes the shipped matrix with a profile more beside it, where its paths begin, and returns the names of its
// scenarios.
func writeNight(dir string, kernels []nightKernel) (file string, names []string, err error) {
	shipped := filepath.Join(dir, "matrix.yaml")
	text, err := os.ReadFile(shipped)
	if err != nil {
		return "", nil, err
	}
	m, _, err := parts.Load(shipped)
	if err != nil {
		return "", nil, err
	}
	if names, err = stableScenarios(m); err != nil {
		return "", nil, err
	}
	f, err := os.CreateTemp(dir, ".bench-night-*.yaml")
	if err != nil {
		return "", nil, err
	}
	_, err = f.WriteString(nightMatrix(string(text), names, kernels))
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
	}
	return f.Name(), names, err
}

// stableScenarios are the first of profile stable, which are of as many rules as there are.
func stableScenarios(m *matrix.Matrix) (names []string, err error) {
	stable, _ := m.Profiles.Get("stable")
	for _, s := range stable.Scenarios {
		if len(names) < nightScenarios {
			names = append(names, s.V)
		}
	}
	if len(names) < nightScenarios {
		err = fmt.Errorf("profile stable has %d scenarios, of %d that are measured", len(names), nightScenarios)
	}
	return names, err
}

// nightMatrix is a matrix with the profile night, of these kernels.
func nightMatrix(text string, scenarios []string, kernels []nightKernel) string {
	list := func(s []string) string { return "[" + strings.Join(s, ", ") + "]" }
	var entries strings.Builder
	var names []string
	for i, k := range kernels {
		names = append(names, fmt.Sprintf("night-%d", i+1))
		fmt.Fprintf(&entries, "  %s: {distro: %s, suites: %s, match: %q, build: %s}\n", names[i], k.line.Distro.V, list(matrix.Values(k.line.Suites)), k.release, list(matrix.Values(k.line.Build)))
	}
	text = strings.Replace(text, "\nkernels:\n", "\nkernels:\n"+entries.String(), 1)
	return fmt.Sprintf("%s\n  night:\n    kernels: %s\n    drivers: %s\n    scenarios: %s\n    image: tools\n", strings.TrimRight(text, "\n"), list(names), list(nightDrivers), list(scenarios))
}

// fillFor brings all packages of the profile night into the archive, and says how many kernels it has.
func fillFor(ctx context.Context, file string) (int, error) {
	m, cat, err := parts.Load(file)
	if err != nil {
		return 0, err
	}
	warn := func(text string) { fmt.Fprintln(os.Stderr, "bench: warning:", text) }
	shop, err := parts.Open(parts.Options{Matrix: m, Agent: "bin/mews-agent", Warn: warn})
	if err != nil {
		return 0, err
	}
	plan, err := harness.MakePlan(ctx, m, harness.Selection{Profile: "night"}, cat, shop)
	if err != nil {
		return 0, err
	}
	shop.Image = plan.Image
	kernels := map[string]bool{}
	for _, c := range plan.Cells {
		if c.Err != nil {
			return 0, c.Err
		}
		files, err := shop.Kernel(ctx, c.Resolved)
		if err != nil {
			return 0, err
		}
		kernels[files.Kernel.Release] = true
		if err := shop.Source(ctx, c); err != nil {
			return 0, err
		}
		if _, err := shop.Disks(ctx, c); err != nil {
			return 0, err
		}
	}
	return len(kernels), nil
}

// busy is what the machine's processors did since it was started, in ticks of all of them together.
type busy struct{ idle, all float64 }

func readBusy() (busy, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return busy{}, err
	}
	return busyOf(string(text))
}

// busyOf reads the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; what is done for guests
// of KVM is in user already. To wait for a disk is to be idle.
func busyOf(stat string) (b busy, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	var v [8]float64
	if n, err := fmt.Sscanf(line, "cpu %f %f %f %f %f %f %f %f", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]); n < len(v) {
		return b, fmt.Errorf("/proc/stat: %q: %w", line, err)
	}
	for _, t := range v {
		b.all += t
	}
	b.idle = v[3] + v[4]
	return b, nil
}

// idleSince is the share of the time since before in which processors were idle, 0 to 1.
func (b busy) idleSince(before busy) float64 { return (b.idle - before.idle) / (b.all - before.all) }
