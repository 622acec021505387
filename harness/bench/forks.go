// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/accel"
)

// atOnce is how many clones are taken up side by side.
const atOnce = 8

// clones measures how long a guest that goes on from a booted kernel takes to its agent's answer, beside that kernel's boot.
func clones(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "debian-6.1")
	if err != nil {
		return nil, err
	}
	c := plan.Cells[0]
	files, err := shop.Kernel(ctx, c.Resolved)
	if err != nil {
		return nil, err
	}
	initrd, err := shop.Initramfs(ctx, files)
	if err != nil {
		return nil, err
	}
	disks, err := shop.Disks(ctx, c)
	if err != nil {
		return nil, err
	}
	acc, err := accel.Prober{Kernel: files.Image, CacheDir: shop.Dir}.Probe(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f := forkBench{qemu.Starter{Accel: acc}, machine.Spec{Name: "bench", Kernel: files.Image, Initrd: initrd, Disks: disks}, dir}

	var colds, ones, many, saves []float64
	for range max(rounds, 3) {
		began := time.Now()
		spec := f.spec
		spec.Saved, spec.Dir = true, dir
		m, err := f.starter.Start(ctx, spec)
		if err != nil {
			return nil, err
		}
		c, err := agent.Dial(ctx, m.Agent())
		if err != nil {
			m.Stop(ctx)
			return nil, err
		}
		colds = append(colds, time.Since(began).Seconds())
		began = time.Now()
		s, err := m.(machine.Saver).Save(ctx)
		c.Close() // not before: an agent whose controller hangs up may end before the guest is stopped
		if err != nil {
			return nil, err
		}
		saves = append(saves, time.Since(began).Seconds())
		defer s.Close()
		for range 3 {
			one, err := f.answer(ctx, s, 1)
			if err != nil {
				return nil, err
			}
			ones = append(ones, one)
		}
		all, err := f.answer(ctx, s, atOnce)
		if err != nil {
			return nil, err
		}
		many = append(many, all)
	}
	cold, one := median(colds), median(ones)
	name := files.Kernel.Release
	return []figure{
		{"clone to the agent's answer, one at a time, " + name, one, "s", 0.15, "limit", 0.15},
		{"clone to the agent's answer, one at a time, of that kernel's cold boot", one / cold, "x", 1. / 20, "cold boot to the agent's answer, s", cold},
		{fmt.Sprintf("%d clones at once, until all have answered", atOnce), median(many), "s", 1.2, "limit", 1.2},
		{"a booted kernel saved", median(saves), "s", 0.5, "cold boot to the agent's answer, s", cold},
	}, nil
}

type forkBench struct {
	starter qemu.Starter
	spec    machine.Spec
	dir     string
}

// answer is the time until n clones that were started at once have all answered.
func (f forkBench) answer(ctx context.Context, s *machine.Snapshot, n int) (float64, error) {
	machines := make([]machine.Machine, n)
	defer func() {
		for _, m := range machines {
			if m != nil {
				m.Stop(ctx)
			}
		}
	}()
	var g errgroup.Group
	began := time.Now()
	for i := range n {
		g.Go(func() error {
			spec := f.spec
			spec.From, spec.Dir = s, filepath.Join(f.dir, strconv.Itoa(i))
			if err := os.MkdirAll(spec.Dir, 0o700); err != nil {
				return err
			}
			m, err := f.starter.Start(ctx, spec)
			if err != nil {
				return err
			}
			machines[i] = m
			c, err := agent.Wake(ctx, m.Agent(), "bench-"+strconv.Itoa(i))
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
	err := g.Wait()
	return time.Since(began).Seconds(), err
}

// manyScenarios compares a cell of the scenarios of stable rules with the first of them flown by itself in a boot of its own.
func manyScenarios(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "debian-6.1")
	if err != nil {
		return nil, err
	}
	names, err := stableScenarios(shop.Matrix)
	if err != nil {
		return nil, err
	}
	const kernel = "debian-6.1"
	driver := plan.Cells[0].Driver.Name
	run := func(more ...string) (float64, error) {
		dir, err := os.MkdirTemp("", "mews-bench-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		args := append([]string{"run", "--jobs", "1", "--kernel", kernel, "--driver", driver, "--out", filepath.Join(dir, "run")}, more...)
		cmd := exec.CommandContext(ctx, "bin/mews", args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		began := time.Now()
		if text, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("mews %q: %w\n%s", args, err, text)
		}
		return time.Since(began).Seconds(), nil
	}
	alone, all := []string{"--no-fork", "--scenario", names[0]}, []string{"--offline"}
	for _, n := range names {
		all = append(all, "--scenario", n)
	}
	if _, err := run(alone...); err != nil { // what it takes is in the archive afterwards
		return nil, err
	}
	alone = append(alone, "--offline")
	var many, one []float64
	for range rounds {
		o, err := run(alone...)
		if err != nil {
			return nil, err
		}
		m, err := run(all...)
		if err != nil {
			return nil, err
		}
		one, many = append(one, o), append(many, m)
	}
	return []figure{{fmt.Sprintf("%d scenarios with twins on one kernel x %s, each in a clone", len(names), driver), median(many) / median(one), "x", 2.5,
		"one scenario in a boot of its own, s", median(one)}}, nil
}
