// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"bytes"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ticker is the kernel's periodic interrupt: it costs some ten thousand instructions and sets off what waits for it (RCU's
// callbacks, timers), so that a batch is to begin right after one and to be over before the next.
type ticker struct {
	last   int64 // CLOCK_MONOTONIC of one of them, in ns
	period int64 // ns; 0: none was seen
}

const (
	gap     = 2500        // ns that an interrupt takes at least and a look at the clock never: it is 400 instructions
	wanted  = 8           // interrupts to find the period from
	jitter  = 15_000      // ns by which one may come late
	longest = 100_000_000 // ns to look for them
	settled = 100_000     // ns after an interrupt in which what it set off is over
	pause   = 3_000_000   // ns that a consumer has at least to take what batches gave it
	rest    = 8_000_000   // ns in which the kernel frees what it put off: some grace periods of RCU
)

func now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0
	}
	return t.Nano()
}

// findTicks watches for gaps in time.
func findTicks() ticker {
	var seen []int64
	begun := now()
	for before := begun; len(seen) < wanted && before-begun < longest; {
		at := now()
		if at-before > gap {
			seen = append(seen, at)
		}
		before = at
	}
	return periodOf(seen)
}

// periodOf finds what is periodic in the times of interrupts, some of which are of other timers.
func periodOf(seen []int64) ticker {
	best, most := ticker{}, 2
	for i, a := range seen {
		for _, b := range seen[:i] {
			t := ticker{last: a, period: a - b}
			n := 0
			for _, c := range seen {
				if off := ((c-a)%t.period + t.period + jitter) % t.period; off <= 2*jitter {
					n++
				}
			}
			// Of periods that explain as many, the longest: half of one explains what it does.
			if n > most || n == most && best.period > 0 && t.period > best.period {
				best, most = t, n
			}
		}
	}
	return best
}

// after is when the next batch may begin: some time after t, and right after an interrupt.
func (t ticker) after(at, pause int64) int64 {
	at += pause
	if t.period == 0 {
		return at
	}
	periods := (at - t.last + t.period - 1) / t.period
	return t.last + periods*t.period + settled
}

// sleep lets everybody else run until the next batch may begin.
func (t ticker) sleep(pause int64) error {
	until := unix.NsecToTimespec(t.after(now(), pause))
	for {
		// A raw call: of one that it knows of, Go's runtime may think that it takes long, and make a thread to take its place.
		_, errno := raw(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, uintptr(unsafe.Pointer(&until)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		default:
			return errno
		}
	}
}

// left is how long it is at a time until the next interrupt; negative while the last one may not be over.
func (t ticker) left(at int64) int64 {
	phase := ((at-t.last)%t.period + t.period) % t.period
	if phase < settled {
		return phase - settled
	}
	return t.period - phase
}

// window lets batches run one after the other where no interrupt comes between.
type window struct {
	ticker
	churns bool  // see path
	batch  int   // of those that run without a pause
	took   int64 // the batch before
	load   int   // a descriptor of /proc/loadavg
	again  int   // pauses that were given beyond the first of each window
	each   []uint64
}

// patience is how many pauses more than it needs a path may have until nobody else wants the processor.
const patience = 200

// inWindow is how many batches run before the consumer has its pause. More would be quicker, and a consumer would fall behind.
const inWindow = 3

// others is how many threads want the processor beside this one. Where it was pre-empted, ksoftirqd is one of them, and as
// long as it is the kernel leaves each packet of loopback to it, two switches of threads for each: half as dear again.
func (w *window) others() int {
	var text [64]byte
	n, errno := raw(unix.SYS_PREAD64, uintptr(w.load), uintptr(unsafe.Pointer(&text[0])), uintptr(len(text)), 0)
	if errno != 0 {
		return 0
	}
	return max(0, running(text[:n])-1)
}

// running reads how many threads are running or ready out of the fourth field of /proc/loadavg, as in "2/81"; 0 where it
// cannot.
func running(loadavg []byte) int {
	fields := bytes.Fields(loadavg)
	if len(fields) < 4 {
		return 0
	}
	ready, _, _ := bytes.Cut(fields[3], []byte("/"))
	n, err := strconv.Atoi(string(ready))
	if err != nil {
		return 0
	}
	return n
}

// enter returns when there is room for a batch. A host that is busy wakes its guest late, at any time between two
// interrupts: then it may take another.
func (w *window) enter() error {
	most, long := inWindow, int64(pause)
	if w.churns {
		most, long = 1, rest
	}
	if w.batch == 0 || w.batch >= most {
		if err := w.sleep(long); err != nil {
			return err
		}
		for ; w.again < patience && w.others() > 0; w.again++ {
			if err := w.sleep(long); err != nil {
				return err
			}
		}
		w.batch = 0
	}
	w.batch++
	if w.period == 0 || w.took+w.took/4+settled > w.period-settled {
		return nil // it will be longer than any room there is
	}
	for w.left(now()) < w.took+w.took/4+settled {
	}
	return nil
}
