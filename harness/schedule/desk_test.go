// SPDX-License-Identifier: Apache-2.0

package schedule

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// host is what a desk of these tests has to give.
type host struct{ memory, disk int64 }

func (h *host) free() (memory, disk int64) { return h.memory, h.disk }

func TestGuestsAreAsManyAsMemoryHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &host{memory: 2 * gib}
		d := NewDesk(3, 1, h.free)
		ends := make(chan func(), 4)
		for range 4 {
			go func() {
				end, err := d.Begin(t.Context(), Step{Kind: Fork, Needs: Needs{Cores: 1, Memory: gib}})
				if err != nil {
					t.Error(err)
				}
				ends <- end
			}()
		}
		synctest.Wait()
		// Memory still seems to be free: those that have just started have not taken theirs.
		if len(ends) != 2 || d.Tight() != 2 {
			t.Fatalf("%d guests run in memory for 2, %d is told", len(ends), d.Tight())
		}
		h.memory = 0 // others took it
		end := <-ends
		end()
		end() // as often as one likes
		synctest.Wait()
		if len(ends) != 1 || len(d.running) != 1 || d.Tight() != 1 {
			t.Fatalf("%d guests run in no memory at all, %d is told", len(d.running), d.Tight())
		}
		for range 3 {
			(<-ends)()
			synctest.Wait()
		}
		if len(d.running) != 0 || len(d.waiting) != 0 {
			t.Errorf("in the end %d run and %d wait: one must always be let in", len(d.running), len(d.waiting))
		}
	})
}

func TestAGuestThatWasRefusedLeavesFewer(t *testing.T) {
	d := NewDesk(4, 1, (&host{memory: 100 * gib}).free)
	guest := Step{Kind: Boot, Needs: Needs{Cores: 1, Memory: gib}}
	a, _ := d.Begin(t.Context(), guest)
	if d.Refused() {
		t.Error("the only guest is told to wait for another")
	}
	b, _ := d.Begin(t.Context(), guest)
	if !d.Refused() || d.Tight() != 1 {
		t.Errorf("beside another it is not; %d is told", d.Tight())
	}
	b()
	over, cancel := context.WithCancelCause(t.Context())
	why := errors.New("over")
	cancel(why)
	if _, err := d.Begin(over, guest); !errors.Is(err, why) {
		t.Errorf("a second guest is let in all the same, or nobody says why not: %v", err)
	}
	a()
	if end, err := d.Begin(t.Context(), guest); err != nil || len(d.waiting) != 0 {
		t.Errorf("nobody is let in any more: %v", err)
	} else {
		end()
	}
}

func TestWhoIsWaitedForByALongWayIsRaised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDesk(1, 1, (&host{}).free)
		end, _ := d.Begin(t.Context(), Step{Needs: Needs{Cores: 1}})
		begun := make(chan string, 2)
		for key, rest := range map[string]float64{"a": 1, "b": 2} {
			go func() {
				end, err := d.Begin(t.Context(), Step{Key: key, Rest: rest, Needs: Needs{Cores: 1}})
				if err != nil {
					t.Error(err)
				}
				begun <- key
				end()
			}()
		}
		synctest.Wait()
		d.Raise("a", 3)
		d.Raise("a", 1) // by another who waits for it, and has less before him
		end()
		if first := <-begun; first != "a" {
			t.Errorf("%s begins first", first)
		}
		<-begun
	})
}
