// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
)

// berths are the places that a host has for guests: as many as are to run at once, and fewer while its memory does not hold
// them. A guest that runs never waits for another's berth, so that there is always one that comes free.
type berths struct {
	need      int64        // bytes that a guest may come to take
	available func() int64 // bytes that the host can give

	mu    sync.Mutex
	most  int
	taken int
	freed chan struct{} // closed and renewed whenever one is given back
	tight int           // how many are fewest so far, for want of memory; 0: never
}

// emulatorMiB is what an emulator takes beside the guest's memory.
const emulatorMiB = 200

func newBerths(most, memoryMiB int) *berths {
	return &berths{most: max(1, most), need: int64(memoryMiB+emulatorMiB) << 20, available: hostMemory, freed: make(chan struct{})}
}

// take waits for a berth; leave gives it back, once or more often.
func (b *berths) take(ctx context.Context) (leave func(), err error) {
	for {
		b.mu.Lock()
		fits := b.taken == 0 || b.available() >= b.need
		if b.taken < b.most && fits {
			b.taken++
			b.mu.Unlock()
			return sync.OnceFunc(b.leave), nil
		}
		if b.taken < b.most {
			b.squeeze(b.taken)
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return nil, cancelled(ctx)
		}
	}
}

// places are how many there are at most.
func (b *berths) places() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most
}

func (b *berths) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken--
	close(b.freed)
	b.freed = make(chan struct{})
}

// refused is told when a guest could not be started for want of memory, by one who has a berth. It reports whether there is
// another to wait for, after which less may be tried.
func (b *berths) refused() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken < 2 {
		return false
	}
	b.most = min(b.most, b.taken-1)
	b.squeeze(b.most)
	return true
}

func (b *berths) squeeze(n int) {
	if b.tight == 0 || n < b.tight {
		b.tight = n
	}
}

// note says for the record that memory was short; empty if it was not.
func (b *berths) note() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.tight == 0 {
		return ""
	}
	return fmt.Sprintf("; the host's memory held only %d guests at once", b.tight)
}

// hostMemory is what the host can give without swapping, in bytes. Where it does not tell, nothing is kept from anybody.
func hostMemory() int64 {
	const plenty = 1 << 62
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return plenty
	}
	for line := range bytes.Lines(text) {
		var kib int64
		if n, _ := fmt.Sscanf(string(line), "MemAvailable: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return plenty
}
