// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"context"
	"slices"
	"sync"
)

// Desk lets the steps of goroutines begin, each as soon as it is its turn. A step that waits for another's result does so
// before it asks, and holds no place meanwhile.
type Desk struct {
	host Host
	free func() (memory, disk int64) // that the host can give now, whoever took the rest

	mu      sync.Mutex
	waiting []*ticket
	running []*ticket
	tight   int // how many guests were fewest, for want of memory; 0: never
}

type ticket struct {
	Step
	begun chan struct{}
}

// NewDesk returns the desk of a host with cores processors, on which so many cells may have guests. free says what memory and
// disk there is to give; it is asked whenever somebody could begin.
func NewDesk(cores, flights int, free func() (memory, disk int64)) *Desk {
	d := &Desk{free: free, host: Host{Cores: max(1, cores), Flights: max(1, flights)}}
	d.host.Memory, d.host.Disk = free()
	return d
}

// Cores are how many processors the desk gives away.
func (d *Desk) Cores() int { return d.host.Cores }

// Begin waits for the turn of s. Whoever began must call end, once or more often.
func (d *Desk) Begin(ctx context.Context, s Step) (end func(), err error) {
	t := &ticket{s, make(chan struct{})}
	d.mu.Lock()
	d.waiting = append(d.waiting, t)
	d.deal()
	d.mu.Unlock()
	select {
	case <-t.begun:
		return sync.OnceFunc(func() { d.leave(t) }), nil
	case <-ctx.Done():
		d.leave(t) // it may have begun just now
		return nil, context.Cause(ctx)
	}
}

// Raise says that somebody waits for the steps of key who has so much before him.
func (d *Desk) Raise(key string, rest float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.waiting {
		if t.Key == key {
			t.Rest = max(t.Rest, rest)
		}
	}
}

func (d *Desk) leave(t *ticket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	is := func(o *ticket) bool { return o == t }
	d.waiting, d.running = slices.DeleteFunc(d.waiting, is), slices.DeleteFunc(d.running, is)
	d.deal()
}

// deal begins what can begin.
func (d *Desk) deal() {
	if len(d.waiting) == 0 {
		return
	}
	running := loadOf(stepsOf(d.running))
	h := d.host
	// What was free when the run began bounds what is promised: a guest that has just started has not yet taken its memory, and
	// what it will take still seems to be free.
	memoryNow, diskNow := d.free()
	h.Memory, h.Disk = min(h.Memory, running.Memory+memoryNow), min(h.Disk, running.Disk+diskNow)
	for _, i := range Next(stepsOf(d.waiting), stepsOf(d.running), h) {
		d.running = append(d.running, d.waiting[i])
		close(d.waiting[i].begun)
	}
	d.waiting = slices.DeleteFunc(d.waiting, func(t *ticket) bool { return slices.Contains(d.running, t) })
	running = loadOf(stepsOf(d.running))
	for _, t := range d.waiting {
		if t.guest() && h.lacks(running, t.Step) == memory {
			d.squeeze(running.guests)
		}
	}
}

func (d *Desk) squeeze(guests int) {
	if d.tight == 0 || guests < d.tight {
		d.tight = guests
	}
}

// Refused is told by a guest that has begun and could not have its memory. It reports whether there is another to wait for,
// after which less may be tried.
func (d *Desk) Refused() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	guests := loadOf(stepsOf(d.running)).guests
	if guests < 2 {
		return false
	}
	if d.host.Guests == 0 || guests-1 < d.host.Guests {
		d.host.Guests = guests - 1
	}
	d.squeeze(d.host.Guests)
	return true
}

// Tight is how many guests ran at once when there was no memory for another; 0: there always was.
func (d *Desk) Tight() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tight
}

func stepsOf(tickets []*ticket) []Step {
	out := make([]Step, len(tickets))
	for i, t := range tickets {
		out[i] = t.Step
	}
	return out
}
