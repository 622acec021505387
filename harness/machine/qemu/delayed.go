// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/harness/machine"
)

var _ machine.Delayed = (*guest)(nil)

// Delayed implements [machine.Delayed]: of QEMU's threads the one that waited longest counts, for they wait side by side.
func (g *guest) Delayed() time.Duration {
	if g.proc.pid == 0 {
		return 0
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", g.proc.pid))
	if err != nil {
		return 0
	}
	var most time.Duration
	for _, t := range threads {
		text, err := os.ReadFile(t)
		if err != nil {
			continue // the thread has ended
		}
		most = max(most, runDelay(string(text)))
	}
	return most
}

// runDelay reads a thread's schedstat: nanoseconds on a processor, nanoseconds in which it could have been on one, and how
// often it was (Documentation/scheduler/sched-stats.rst). A kernel that keeps no such account has zeros there.
func runDelay(text string) time.Duration {
	var ran, waited int64
	if n, _ := fmt.Sscan(text, &ran, &waited); n != 2 || waited < 0 {
		return 0
	}
	return time.Duration(waited)
}
