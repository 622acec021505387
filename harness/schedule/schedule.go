// SPDX-License-Identifier: Apache-2.0

// Package schedule knows which of the steps that wait is begun next: the one with the longest way still to go, as far as the
// host holds it.
//
// [Next] is the choice, and nothing else. [Desk] makes it for goroutines, [Simulate] for jobs that nobody does, which tells
// how long a run will take.
package schedule

import (
	"cmp"
	"slices"
)

// Kind is what a step does.
type Kind string

// The kinds of steps.
const (
	Fetch  Kind = "fetch"  // packages are fetched, verified and unpacked, files looked at
	Build  Kind = "build"  // a driver is built
	Boot   Kind = "boot"   // a kernel is booted to its agent
	Fork   Kind = "fork"   // a guest goes on from a saved one
	Perf   Kind = "perf"   // a guest in which something is measured
	Flight Kind = "flight" // all guests of a cell, one after the other: what was saved of one is held for the next
)

// Step is something to be done, and what it takes meanwhile.
type Step struct {
	Kind  Kind
	Key   string  // what several wait for together; empty: it is nobody else's
	Rest  float64 // seconds from its begin to the end of all that waits for it: the longer, the sooner it is begun
	Needs Needs
}

// Needs is what a step takes of the host.
type Needs struct {
	Cores   int   // processors that it keeps busy
	Alone   bool  // it keeps all of them busy, and nothing else may
	Memory  int64 // bytes that it may come to take
	Disk    int64 // bytes that it may come to write
	Flights int   // cells that have guests
}

// Host is what there is.
type Host struct {
	Cores   int
	Memory  int64
	Disk    int64
	Flights int
	Guests  int // as many as had memory when another had none; 0: nobody was refused yet
}

// guest reports whether the step is one that an emulator does.
func (s Step) guest() bool { return s.Kind == Boot || s.Kind == Fork || s.Kind == Perf }

// resource is a set of those that a host has.
type resource uint

const (
	cores resource = 1 << iota
	memory
	disk
	flights
)

// load is what steps take together.
type load struct {
	Needs
	steps  int // that keep a processor busy
	guests int
}

func loadOf(steps []Step) (l load) {
	for _, s := range steps {
		l.add(s)
	}
	return l
}

func (l *load) add(s Step) {
	n := s.Needs
	l.Cores += n.Cores
	l.Alone = l.Alone || n.Alone
	l.Memory += n.Memory
	l.Disk += n.Disk
	l.Flights += n.Flights
	if n.works() {
		l.steps++
	}
	if s.guest() {
		l.guests++
	}
}

func (n Needs) works() bool { return n.Cores > 0 || n.Alone }

// uses are the resources that a step takes at all.
func (n Needs) uses() (r resource) {
	if n.works() {
		r |= cores
	}
	if n.Memory > 0 {
		r |= memory
	}
	if n.Disk > 0 {
		r |= disk
	}
	if n.Flights > 0 {
		r |= flights
	}
	return r
}

// lacks are the resources that the host has too little of for another step beside l. The first that takes of one has it
// however little there is: nobody would give any back for it.
func (h Host) lacks(l load, s Step) (r resource) {
	n := s.Needs
	between := 0
	if l.Flights > 0 && l.guests == 0 && !s.guest() && h.Cores > 1 {
		between = 1 // the next guest of a cell that is between two of them comes in a moment
	}
	if n.works() && l.steps > 0 && (n.Alone || l.Alone || l.Cores+n.Cores+between > h.Cores) {
		r |= cores
	}
	if n.Memory > 0 && l.Memory > 0 && l.Memory+n.Memory > h.Memory || s.guest() && h.Guests > 0 && l.guests >= h.Guests {
		r |= memory
	}
	if n.Disk > 0 && l.Disk > 0 && l.Disk+n.Disk > h.Disk {
		r |= disk
	}
	if n.Flights > 0 && l.Flights > 0 && l.Flights+n.Flights > h.Flights {
		r |= flights
	}
	return r
}

// Next picks which of waiting are begun now beside running, in their order: the one with the longest rest first, and of equals
// the one that came first. What a step lacks is kept for it: one behind it gets only of what it does not wait for, so that a
// large step is not passed by small ones forever.
//
// Of several processors one is for guests: to build is a long way off from a cell's end, and builds of all cells would come
// before any guest, on a host that may hold few guests at a time and then has no builds left to fill it with.
func Next(waiting, running []Step, h Host) []int {
	l := loadOf(running)
	order := make([]int, len(waiting))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(waiting[b].Rest, waiting[a].Rest) })
	if h.Cores > 1 {
		// A flight comes before its first guest, and takes no processor itself.
		front(order, func(i int) bool { return waiting[i].guest() && l.guests == 0 })
		front(order, func(i int) bool { return waiting[i].Kind == Flight })
	}
	var kept resource
	var begun []int
	for _, i := range order {
		s := waiting[i]
		lacks := h.lacks(l, s)
		if lacks|s.Needs.uses()&kept == 0 {
			l.add(s)
			begun = append(begun, i)
		}
		kept |= lacks
	}
	return begun
}

// front brings the first of order that is so to its front.
func front(order []int, is func(int) bool) {
	i := slices.IndexFunc(order, is)
	if i > 0 {
		first := order[i]
		copy(order[1:i+1], order[:i])
		order[0] = first
	}
}
