// SPDX-License-Identifier: Apache-2.0

package grid

import (
	"bufio"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// slotMemory is what a compiler of a build may need, in bytes: cc1 takes up to 400 MiB for Falco's module, and clang as
// much for the legacy probe, with make, the shell's tools and the page cache beside it.
const slotMemory = 700 << 20

// Slots says how many cells are built at once, and at how many jobs make runs in each. A build of one job is the
// cheapest: so processors go to cells first, and to make only where there are fewer cells than processors.
// memory is in bytes, 0 where it is not known.
func slots(jobs, cells, processors int, memory int64) (parallel, each int) {
	limit := processors
	if memory > 0 {
		limit = min(limit, int(memory/slotMemory))
	}
	limit = max(1, limit)
	parallel = max(1, min(jobs, cells, limit))
	return parallel, max(1, limit/parallel)
}

// machine is how many processors there are, and how much memory is free.
func machine() (processors int, memory int64) {
	processors = runtime.NumCPU()
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return processors, 0
	}
	defer f.Close()
	return processors, available(f)
}

// available reads MemAvailable of /proc/meminfo, in bytes; 0 where there is none.
func available(meminfo io.Reader) int64 {
	in := bufio.NewScanner(io.LimitReader(meminfo, 64<<10))
	for in.Scan() {
		rest, ok := strings.CutPrefix(in.Text(), "MemAvailable:")
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 53)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
