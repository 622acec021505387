// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/accel"
	"github.com/mews-farm/mews/harness/machine/qemu/bootbench"
)

// bootRatio compares a cold boot to the agent's answer with a bare boot of the same kernel to a static init.
func bootRatio(ctx context.Context, rounds int) ([]figure, error) {
	shop, plan, err := offline(ctx, "")
	if err != nil {
		return nil, err
	}
	var out []figure
	for _, c := range plan.Cells {
		files, err := shop.Kernel(ctx, c.Resolved)
		if err != nil {
			return out, err
		}
		initrd, err := shop.Initramfs(ctx, files)
		if err != nil {
			return out, err
		}
		acc, err := accel.Prober{Kernel: files.Image, CacheDir: shop.Dir}.Probe(ctx)
		if err != nil {
			return out, err
		}
		ours, bare, err := bootbench.BootRatio(ctx, bootbench.Options{
			Starter: qemu.Starter{Accel: acc}, Kernel: files.Image, Initrd: initrd, Answer: answers, Runs: max(rounds, 3),
		})
		if err != nil {
			return out, fmt.Errorf("boot %s: %w", c.Resolved.Kernel.Release, err)
		}
		out = append(out, figure{
			Name:  "cold boot to the agent's answer, " + c.Resolved.Kernel.Release,
			Value: ours.Seconds() / bare.Seconds(), Unit: "x", Goal: 1.15,
			Reference: "a bare boot of the kernel to a static init, s", ReferenceValue: bare.Round(time.Millisecond).Seconds(),
		})
	}
	return out, nil
}

// answers returns when the agent has greeted.
func answers(ctx context.Context, conn net.Conn) error {
	c, err := agent.Dial(ctx, conn)
	if err != nil {
		return err
	}
	return c.Close()
}
