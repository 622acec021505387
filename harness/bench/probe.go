// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/scenarios"
)

// paceOpens is how many files a shell opens as fast as the guest can: more events than the ring buffer holds at once.
const paceOpens = 8000

// probeLoad measures how long our probe takes to load, and what it loses at the guest's own pace. The guest is of 6.1.
func probeLoad(ctx context.Context, rounds int) ([]figure, error) {
	c, stop, err := bootProbed(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	var took []float64
	lost := uint64(0)
	for range rounds {
		r, err := c.LoadProbe(ctx, agent.Probe{})
		if err != nil {
			return nil, err
		}
		took = append(took, r.Took.Seconds())
		n, err := pace(ctx, c)
		if err != nil {
			return nil, err
		}
		lost = max(lost, n)
		if err := c.UnloadProbe(ctx); err != nil {
			return nil, err
		}
	}
	return []figure{
		{"load of mews-modern in an emulated guest", median(took), "s", 10, "limit", 10},
		{fmt.Sprintf("mews-modern: of %d opens at the guest's own pace, ring of 8 MiB, lost (the most of all rounds)", paceOpens), float64(lost), "", 0, "limit", 0},
	}, nil
}

// pace is how many of a shell's opens were not seen.
func pace(ctx context.Context, c *agent.Client) (lost uint64, err error) {
	const file = "/etc/debian_version"
	watch := consumer.Watch{Name: "opens", Condition: "evt.type=openat and proc.name=dash and fd.name=" + file, Fields: []string{"fd.name"}}
	if _, err := c.StartConsumer(ctx, agent.ConsumerSpec{Kind: agent.Native, Watches: []consumer.Watch{watch}, Bare: true}); err != nil {
		return 0, err
	}
	id := scenarios.NewID()
	script := fmt.Sprintf("i=0; while [ $i -lt %d ]; do : <%s; i=$((i+1)); done", paceOpens, file)
	request, err := json.Marshal(map[string]any{"id": id, "context": agent.InContainer,
		"steps": []any{map[string]any{"exec": map[string]any{"path": "/bin/dash", "args": []string{"-c", script}}}}})
	if err != nil {
		return 0, err
	}
	r, err := c.RunDeed(ctx, agent.Deed{ID: id, Context: agent.InContainer, Request: request})
	switch {
	case err != nil:
	case !r.Fence || !strings.Contains(string(r.Result), `"ok":true`):
		err = fmt.Errorf("the shell did not come to its end: %s: %v", r.Result, r.Failure)
	default:
		lost = paceOpens - min(paceOpens, uint64(len(r.Matches))+r.Beyond)
	}
	stats, stopErr := c.StopConsumer(ctx)
	return max(lost, stats.Drops), errors.Join(err, stopErr)
}

// bootProbed boots 6.1 with its disks.
func bootProbed(ctx context.Context) (*agent.Client, func(), error) {
	shop, plan, err := offline(ctx, "debian-6.1")
	if err != nil {
		return nil, nil, err
	}
	shop.Image = plan.Image
	cell := plan.Cells[0]
	files, err := shop.Kernel(ctx, cell.Resolved)
	if err != nil {
		return nil, nil, err
	}
	initrd, err := shop.Initramfs(ctx, files)
	if err != nil {
		return nil, nil, err
	}
	disks, err := shop.Disks(ctx, cell)
	if err != nil {
		return nil, nil, err
	}
	dir, err := os.MkdirTemp("", "mews-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir) // the console's log stays open as long as it is written to
	m, err := qemu.Starter{}.Start(ctx, machine.Spec{Name: "bench", Kernel: files.Image, Initrd: initrd, MemoryMiB: 640, Disks: disks, Dir: dir})
	if err != nil {
		return nil, nil, err
	}
	c, err := agent.Dial(ctx, m.Agent())
	if err != nil {
		return nil, nil, errors.Join(err, m.Stop(context.Background()))
	}
	return c, func() { m.Stop(context.Background()) }, nil
}
