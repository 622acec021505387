// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// watchGuests returns the largest peak of resident memory, in MiB, of any emulator that ran until done was closed. The
// kernel keeps the peak itself (VmHWM), so that looking twice a second misses only what a guest takes in its last half
// second.
func watchGuests(done <-chan struct{}) float64 {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	var peak float64
	for {
		select {
		case <-done:
			return peak
		case <-tick.C:
			peak = max(peak, guestPeak())
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
		for line := range strings.Lines(string(data)) {
			var kib float64
			if _, err := fmt.Sscanf(line, "VmHWM: %f kB", &kib); err == nil {
				peak = max(peak, kib/1024)
			}
		}
	}
	return peak
}
