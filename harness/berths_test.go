// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
)

func TestBerthsAreAsManyAsMemoryHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBerths(3, 100)
		free := int64(2*300) << 20 // two guests with their emulators
		b.available = func() int64 { return free - int64(b.taken)*b.need }
		leaves := make(chan func(), 4)
		for range 4 {
			go func() {
				leave, err := b.take(t.Context())
				if err != nil {
					t.Error(err)
				}
				leaves <- leave
			}()
		}
		synctest.Wait()
		if len(leaves) != 2 || b.taken != 2 {
			t.Fatalf("%d guests run in memory for 2", b.taken)
		}
		if n := b.note(); !strings.Contains(n, "only 2 guests at once") {
			t.Errorf("the record says %q", n)
		}
		free = 0 // others took it
		leave := <-leaves
		leave()
		leave() // as often as one likes
		synctest.Wait()
		if b.taken != 1 {
			t.Fatalf("%d guests run in no memory at all", b.taken)
		}
		(<-leaves)()
		synctest.Wait()
		if b.taken != 1 {
			t.Fatalf("%d guests run: the last must always be let in", b.taken)
		}
		(<-leaves)()
		synctest.Wait()
		(<-leaves)()
		if b.taken != 0 || !strings.Contains(b.note(), "only 1 guests") {
			t.Errorf("%d berths taken in the end, %q", b.taken, b.note())
		}
	})
}

func TestBerthsAreNeverMoreThanWereAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBerths(2, 100)
		b.available = func() int64 { return 1 << 40 }
		ctx, cancel := context.WithCancel(t.Context())
		leaveA, _ := b.take(ctx)
		leaveB, _ := b.take(ctx)
		ended := make(chan error, 1)
		go func() { _, err := b.take(ctx); ended <- err }()
		synctest.Wait()
		if len(ended) > 0 || b.note() != "" {
			t.Fatalf("a third is let in, or memory blamed: %q", b.note())
		}
		cancel()
		if err := <-ended; err == nil {
			t.Error("the end of the run is not noticed")
		}
		if !b.refused() || b.most != 1 {
			t.Errorf("after a guest that found no memory beside another, %d are to run at once", b.most)
		}
		leaveA()
		if b.refused() {
			t.Error("the only guest is told to wait for another")
		}
		leaveB()
	})
}
