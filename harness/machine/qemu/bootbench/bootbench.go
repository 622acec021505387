// SPDX-License-Identifier: Apache-2.0

// Package bootbench knows what booting to an agent costs beside a bare boot of the same kernel.
package bootbench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/bareinit"
)

// Options say what is measured.
type Options struct {
	Starter qemu.Starter
	Kernel  string // a vendor's boot image
	Initrd  string // the agent's, with its modules
	// Answer returns when the agent has answered on conn.
	Answer  func(ctx context.Context, conn net.Conn) error
	Cmdline []string // for the agent's boot only
	Runs    int      // of each kind, one after the other; 0 means 5
}

// memoryMiB is the same for both, as the kernel initialises its memory map in a time that grows with it.
const memoryMiB = 640

// BootRatio returns the median time from the start of QEMU to the agent's answer, and from the start of a bare
// QEMU to the first line of a static PID 1 that does nothing else. The bare QEMU has the same accelerator, CPU
// and memory and no device but a serial port, and its kernel's arguments are console=ttyS0 quiet panic=-1. The
// two kinds take turns, so that a load that comes and goes burdens both.
func BootRatio(ctx context.Context, o Options) (agent, bare time.Duration, err error) {
	if o.Runs == 0 {
		o.Runs = 5
	}
	dir, err := os.MkdirTemp("", "mews-bootbench-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(dir)
	var image bytes.Buffer
	if err := initramfs.Write(&image, bareinit.ELF(), nil); err != nil {
		return 0, 0, err
	}
	bareInitrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(bareInitrd, image.Bytes(), 0o600); err != nil {
		return 0, 0, err
	}
	var agents, bares []time.Duration
	for range o.Runs {
		b, err := o.bareBoot(ctx, bareInitrd)
		if err != nil {
			return 0, 0, fmt.Errorf("bare boot: %w", err)
		}
		a, err := o.agentBoot(ctx, dir)
		if err != nil {
			return 0, 0, fmt.Errorf("boot to the agent: %w", err)
		}
		bares, agents = append(bares, b), append(agents, a)
	}
	return median(agents), median(bares), nil
}

func (o Options) agentBoot(ctx context.Context, dir string) (time.Duration, error) {
	start := time.Now()
	m, err := o.Starter.Start(ctx, machine.Spec{
		Name: "bench", Kernel: o.Kernel, Initrd: o.Initrd, Cmdline: o.Cmdline, MemoryMiB: memoryMiB, Dir: dir,
	})
	if err != nil {
		return 0, err
	}
	if err := o.Answer(ctx, m.Agent()); err != nil {
		m.Stop(ctx)
		return 0, fmt.Errorf("no answer: %w (machine: %v)", err, m.Err())
	}
	took := time.Since(start)
	return took, m.Stop(ctx)
}

func (o Options) bareBoot(ctx context.Context, initrd string) (time.Duration, error) {
	program := o.Starter.Program
	if program == "" {
		program = qemu.Program
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program,
		"-M", "q35", "-accel", o.Starter.Accel.Name(), "-cpu", "max", "-m", strconv.Itoa(memoryMiB),
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio",
		"-kernel", o.Kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	console, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	var took time.Duration
	for lines := bufio.NewScanner(console); took == 0 && lines.Scan(); {
		if strings.Contains(lines.Text(), bareinit.Marker) {
			took = time.Since(start)
		}
	}
	cancel()
	err = cmd.Wait() // killed: that is how it ends
	if took == 0 {
		return 0, fmt.Errorf("no init within two minutes: %w", err)
	}
	return took, nil
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}
