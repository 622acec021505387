// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ownTime is the processor time of mews itself while it runs the profile quick from a filled archive, of one processor's. What
// it starts is not in it: emulators, compilers.
func ownTime(ctx context.Context, rounds int) ([]figure, error) {
	var shares, walls []float64
	for range rounds {
		dir, err := os.MkdirTemp("", "mews-bench-")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		u, err := use(ctx, "run", "--profile", "quick", "--offline", "--out", filepath.Join(dir, "run"))
		if err != nil {
			return nil, err
		}
		shares, walls = append(shares, u.own/u.wall), append(walls, u.wall)
	}
	return []figure{{"processor time of mews itself in profile quick, filled archive, of one processor", 100 * median(shares), "%", 5,
		"how long such a run takes, s", median(walls)}}, nil
}

// usage is what a run of mews took, in seconds.
type usage struct {
	wall float64
	own  float64 // processor time of its own, user and system
}

// use runs mews, which must exit 0.
func use(ctx context.Context, args ...string) (usage, error) {
	cmd := exec.Command("bin/mews", args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return usage{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(os.Interrupt) })
	defer stop()
	// As long as nobody has waited for it, what has ended can be asked: rusage would have those in it that it waited for.
	var own float64
	err := waitable(cmd.Process.Pid)
	wall := time.Since(began).Seconds()
	if err == nil {
		own, err = ownOf(cmd.Process.Pid)
	}
	if err = errors.Join(cmd.Wait(), err); err != nil {
		return usage{}, fmt.Errorf("mews %q: %w\n%s", args, err, &said)
	}
	return usage{wall, own}, nil
}

// waitable returns when a child has ended, and leaves it there.
func waitable(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// ticks are those of /proc, a second: USER_HZ is 100 on every architecture that mews runs on.
const ticks = 100

// ownOf is the processor time of a process without its children, in seconds.
func ownOf(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return statTime(string(text))
}

// statTime reads utime and stime, the 14th and the 15th field; the second, in parentheses, may hold anything.
func statTime(stat string) (float64, error) {
	fields := bytes.Fields([]byte(stat[bytes.LastIndexByte([]byte(stat), ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("a process that has no times: %q", stat)
	}
	var sum float64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseFloat(string(f), 64)
		if err != nil {
			return 0, fmt.Errorf("the times of a process: %w", err)
		}
		sum += n
	}
	return sum / ticks, nil
}
