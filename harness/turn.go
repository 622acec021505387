// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/schedule"
)

// What steps take, in MiB: an emulator beside its guest's memory; a compiler; a kernel with its headers, unpacked; a driver's
// build tree.
const (
	emulatorMiB = 200
	compilerMiB = 700
	unpackedMiB = 700
	builtMiB    = 300
)

// needs is what a step takes that no guest is for.
func needs(k schedule.Kind) schedule.Needs {
	switch k {
	case schedule.Fetch:
		return schedule.Needs{Cores: 1, Disk: unpackedMiB << 20}
	case schedule.Build:
		return schedule.Needs{Cores: 1, Memory: compilerMiB << 20, Disk: builtMiB << 20}
	}
	return schedule.Needs{Flights: 1}
}

// guestStep is the step that a machine is; key is what others wait for with it if it boots.
func guestStep(s machine.Spec, key string) schedule.Step {
	step := schedule.Step{Kind: schedule.Fork, Needs: schedule.Needs{Cores: 1, Memory: int64(s.MemoryMiB+emulatorMiB) << 20}}
	switch {
	case s.Counted:
		step.Kind, step.Needs.Alone = schedule.Perf, true
	case s.From == nil:
		step.Kind, step.Key = schedule.Boot, key
	}
	return step
}

// turn is what a cell has of the host, and the stage that is under way. A stage begins with the first step that does something
// for it: until then the cell only waits.
type turn struct {
	desk *schedule.Desk

	mu      sync.Mutex
	held    int          // steps of the cell that go on
	steps   int          // and all that ever did
	begin   func() error // of the stage; nil: it has begun
	began   time.Time    // the stage
	waited  time.Duration
	fanned  bool // clones are at work, and wait each for itself
	cloned  time.Duration
	aloft   func() // gives the flight back; nil: the cell has no guests
	started bool   // any stage
}

// expect says that a stage comes next, and how it is begun.
func (t *turn) expect(begin func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began, t.waited, t.cloned, t.begin = time.Time{}, 0, 0, begin
	if t.held > 0 {
		return t.start()
	}
	return nil
}

// start begins the stage if it has not begun.
func (t *turn) start() error {
	if t.begin == nil {
		return nil
	}
	begin := t.begin
	t.begin, t.began, t.started = nil, time.Now(), true
	if err := begin(); err != nil {
		return broken{err}
	}
	return nil
}

// over ends the stage, and says when it began, how long it only waited for its turn, and how long clones were at work for it.
func (t *turn) over() (began time.Time, waited, cloned time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	err = t.start()
	return t.began, t.waited, t.cloned, err
}

// unbegun reports whether nothing was done yet for the stage.
func (t *turn) unbegun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begin != nil
}

// take waits until a step may begin; leave, which may be called more than once, is its end.
func (t *turn) take(ctx context.Context, s schedule.Step) (leave func(), err error) {
	asked := time.Now()
	end, err := t.desk.Begin(ctx, s)
	if err != nil {
		return func() {}, cancelled(ctx)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.begin == nil && !t.fanned {
		t.waited += time.Since(asked)
	}
	if s.Kind == schedule.Flight {
		return end, nil
	}
	t.held++
	t.steps++
	leave = sync.OnceFunc(func() {
		end()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.held--
	})
	if err := t.start(); err != nil {
		t.held--
		end()
		return func() {}, err
	}
	return leave, nil
}

// idle counts what the cell does until done is called as waiting for another, unless it took a step of its own meanwhile.
func (t *turn) idle() (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from, steps, begun := time.Now(), t.steps, t.begin == nil
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if begun && t.steps == steps {
			t.waited += time.Since(from)
		}
	}
}

// fan says that clones are at work until done is called.
func (t *turn) fan() (done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := time.Now()
	t.fanned = true
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fanned = false
		t.cloned += time.Since(from)
	}
}

// rise waits until the cell may have guests; land says that it has none any more.
func (t *turn) rise(ctx context.Context, rest float64) error {
	if t.aloft != nil {
		return nil
	}
	leave, err := t.take(ctx, schedule.Step{Kind: schedule.Flight, Rest: rest, Needs: needs(schedule.Flight)})
	if err == nil {
		t.aloft = leave
	}
	return err
}

func (t *turn) land() {
	if t.aloft != nil {
		t.aloft()
		t.aloft = nil
	}
}

// tight says for the record that memory was short; empty if it was not.
func (t *turn) tight() string {
	n := t.desk.Tight()
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; the host's memory held only %d guests at once", n)
}

// plenty is what a host has that does not tell: nothing is kept from anybody for it.
const plenty = math.MaxInt64 / 2

// hostMemory is what the host can give without swapping, in bytes.
func hostMemory() int64 {
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

// hostDisk is what can be written to the file system of dir, in bytes.
func hostDisk(dir string) int64 {
	var fs unix.Statfs_t
	if dir == "" || unix.Statfs(dir, &fs) != nil {
		return plenty
	}
	return int64(fs.Bavail) * fs.Bsize
}

// newDesk is the desk of this host: cores steps at a time, and as many cells that have guests as are asked for.
func newDesk(cores, cells int, dir string) *schedule.Desk {
	return schedule.NewDesk(cores, cells, func() (memory, disk int64) { return hostMemory(), hostDisk(dir) })
}
