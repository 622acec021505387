// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// watchGuests returns the largest peak of resident memory, in MiB, of any emulator that ran until done was closed.
func watchGuests(done <-chan struct{}) float64 { return watch(done, guestPeak) }

// watch returns the largest of what look saw until done was closed. The kernel keeps a process' peak itself (VmHWM), so
// that looking twice a second misses only what is taken in its last half second.
func watch(done <-chan struct{}, look func() float64) float64 {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var peak float64
	for {
		select {
		case <-done:
			return peak
		case <-tick.C:
			peak = max(peak, look())
		}
	}
}

func guestPeak() float64 {
	procs, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return 0
	}
	var peak float64
	for _, p := range procs {
		data, err := os.ReadFile(p)
		if err != nil || !strings.HasPrefix(string(data), "Name:\tqemu-system") {
			continue // ended meanwhile, or somebody else
		}
		peak = max(peak, highWater(string(data)))
	}
	return peak
}

// peakOf is the peak of one process, in MiB; 0 when it has ended.
func peakOf(pid int) float64 {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return highWater(string(data))
}

// highWater reads the peak of resident memory, in MiB, out of a status file of /proc.
func highWater(status string) float64 {
	for line := range strings.Lines(status) {
		var kib float64
		if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
			return kib / 1024
		}
	}
	return 0
}
