// SPDX-License-Identifier: Apache-2.0

// Package meter knows how to find out, in a guest whose clock counts instructions, what a system call costs.
//
// What is measured runs by itself: the one thread has a real-time priority, so that on a machine of one processor nobody
// else runs within a batch, neither a consumer that the batch's events woke nor a thread of Go's runtime. Between batches
// it sleeps, and the consumer catches up. What is left within a batch is the path itself, the driver's part of it, and now
// and then something that the kernel had put off. A batch begins right after a timer's interrupt and is over before the next,
// when nobody else is ready to run: see ticker and window.
//
// Each call is timed by itself, and two figures are made of them: what a call costs to which nothing happens (see swift), and
// what they cost together, with what only some of them have to do (see typical).
package meter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// Word is the argument by which the agent's binary becomes the measuring process.
const Word = "measure"

// Plan says how much is measured. What is to be compared must have been measured alike.
type Plan struct {
	Paths   []string `json:"paths"`   // nil: all
	Repeats int      `json:"repeats"` // each gives one figure
	Batches int      `json:"batches"` // of which a figure is made
}

// The bounds of a plan: what comes over the wire must not keep a guest busy for ever.
const (
	maxRepeats = 64
	maxBatches = 255
)

// Cost is what one path cost.
type Cost struct {
	Path    string    `json:"path"`
	Calls   int       `json:"calls"`           // a batch
	Ticks   []float64 `json:"ticks"`           // of the clock for one call, by repeat: see swift
	Means   []float64 `json:"means"`           // the same for the mean of the calls: see typical
	Failure string    `json:"error,omitempty"` // why there are no ticks: the kernel lacks the call, or refuses it
	Lacking bool      `json:"lacking,omitempty"`
}

// Command is the process that measures, in which Go's runtime keeps as quiet as it can: it collects no garbage, has no
// second processor's worth of goroutines, and sends itself no signals.
func Command(ctx context.Context, self, dir string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, self, Word, dir)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}
	return cmd
}

// Run is `mews-agent measure DIR`: it reads a plan from in, measures with files of its own in the directory, and writes a
// list of costs to out.
func Run(dir string, in io.Reader, out io.Writer) error {
	var plan Plan
	if err := json.NewDecoder(in).Decode(&plan); err != nil {
		return fmt.Errorf("read the plan: %w", err)
	}
	if plan.Repeats < 1 || plan.Repeats > maxRepeats || plan.Batches < 1 || plan.Batches > maxBatches {
		return fmt.Errorf("%d repeats of %d batches cannot be measured: 1 to %d of 1 to %d", plan.Repeats, plan.Batches, maxRepeats, maxBatches)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	runtime.LockOSThread()
	if err := alone(); err != nil {
		return fmt.Errorf("have the processor to itself: %w", err)
	}
	costs, err := measure(plan, all, dir)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(costs)
}

// alone gives the thread the first processor and a priority above everybody's who has none that is real-time.
func alone() error {
	var cpu unix.CPUSet
	cpu.Set(0)
	if err := unix.SchedSetaffinity(0, &cpu); err != nil {
		return err
	}
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

func measure(plan Plan, from []path, dir string) ([]Cost, error) {
	for _, name := range plan.Paths {
		if !slices.ContainsFunc(from, func(p path) bool { return p.name == name }) {
			return nil, fmt.Errorf("no path is called %q", name)
		}
	}
	t := findTicks()
	var costs []Cost
	for _, p := range from {
		if len(plan.Paths) > 0 && !slices.Contains(plan.Paths, p.name) {
			continue
		}
		costs = append(costs, p.cost(plan, t, dir))
	}
	return costs, nil
}

// cost measures one path.
func (p path) cost(plan Plan, t ticker, dir string) Cost {
	c := Cost{Path: p.name, Calls: p.calls}
	call, undo, err := p.prepare(dir)
	if err == nil {
		c.Ticks, c.Means, err = p.ticks(plan, t, call)
		if undo != nil {
			undo()
		}
	}
	if err != nil {
		c.Failure, c.Lacking, c.Ticks, c.Means = err.Error(), errors.Is(err, unix.ENOSYS), nil, nil
	}
	return c
}

// warmBatches come before the first that counts: caches of the kernel's fill, and its static keys settle.
const warmBatches = 8

func (p path) ticks(plan Plan, t ticker, call func() unix.Errno) (calls, means []float64, err error) {
	load, err := unix.Open("/proc/loadavg", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("find out who else is running: %w", err)
	}
	defer unix.Close(load)
	w := window{ticker: t, churns: p.churns, load: load, each: make([]uint64, p.calls)}
	for range warmBatches {
		if err := p.batch(&w, call); err != nil {
			return nil, nil, err
		}
	}
	batches := make([]float64, plan.Batches)
	each := make([]uint64, 0, plan.Batches*p.calls)
	for range plan.Repeats {
		each = each[:0]
		for i := range batches {
			if err := p.batch(&w, call); err != nil {
				return nil, nil, err
			}
			batches[i] = float64(w.took) / float64(p.calls)
			each = append(each, w.each...)
		}
		calls, means = append(calls, swift(each)), append(means, typical(batches))
	}
	return calls, means, nil
}

// swift is the 10th percentile of the calls, and sorts them: what the path itself costs. A call now and then has to take
// memory from the next slab, six in seven where slabs are in pieces, and how many do changes with what was done before; the
// price of one that has not is the same all the time. Of execve on 7.3 with a consumer, the lower quartiles of eight
// repeats lay 0.56 % apart, and the 10th percentiles 0.18 %. The very cheapest are no better: now and then a call finds done what
// the others had to do, and of execve on 6.1 the 5th percentiles lay 0.14 % apart, where the 10th lay 0.05 %.
func swift(calls []uint64) float64 {
	slices.Sort(calls)
	return float64(calls[len(calls)/10])
}

// typical is the mean of the batches from the tenth to the sixtieth part in a hundred, and sorts them. The dearest have
// something in them that is not of the path (RCU's callbacks, an interrupt); the median alone jumps where a path
// has two prices that are as frequent.
func typical(batches []float64) float64 {
	slices.Sort(batches)
	from, to := len(batches)/10, (6*len(batches)+9)/10
	sum := 0.0
	for _, b := range batches[from:to] {
		sum += b
	}
	return sum / float64(to-from)
}

// batch makes the calls of one batch, and leaves in the window how long they took, each and together.
func (p path) batch(w *window, call func() unix.Errno) error {
	if err := w.enter(); err != nil {
		return err
	}
	begun := ticks()
	last := begun
	for i := range w.each {
		if errno := call(); errno != 0 {
			return fmt.Errorf("%s: %w", p.name, errno)
		}
		at := ticks()
		w.each[i] = at - last
		last = at
	}
	w.took = int64(last - begun)
	return nil
}
