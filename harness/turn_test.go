// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/harness/live"
	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

// slow is what cells are made of when all of it takes its time. It counts what goes on at once.
type slow struct {
	nothing
	mu      sync.Mutex
	on      map[string]int // now
	most    map[string]int // at once
	beside  int            // builds that began while a guest was up, or the other way round
	unpacks map[string]int
	refuse  int // unpackings that fail first
}

func newSlow() *slow {
	return &slow{on: map[string]int{}, most: map[string]int{}, unpacks: map[string]int{}}
}

func (s *slow) work(what string, d time.Duration) {
	change := func(by int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, w := range []string{what, "all"} {
			s.on[w] += by
			s.most[w] = max(s.most[w], s.on[w])
		}
		if by > 0 && s.on["build"]*s.on["guest"] > 0 {
			s.beside++
		}
	}
	change(1)
	time.Sleep(d)
	change(-1)
}

func (s *slow) Kernel(_ context.Context, r *kernels.Resolved) (*kernels.Files, error) {
	s.work("unpack", 2*time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "the mirror is away")
	}
	s.unpacks[r.Kernel.Release]++
	return &kernels.Files{Kernel: r.Kernel}, nil
}

func (s *slow) Build(context.Context, *Cell, *kernels.Files, string) (*Built, error) {
	s.work("build", 30*time.Second)
	return &Built{}, nil
}

func (s *slow) Start(context.Context, machine.Spec) (machine.Machine, error) {
	s.work("guest", 20*time.Second)
	return nil, errors.New("it never comes up")
}

// night is so many kernels with so many drivers each.
func night(releases, drivers int) []*Cell {
	var cells []*Cell
	for k := range releases {
		r := &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: fmt.Sprintf("6.%d.0-amd64", k)}, Image: []kernels.Package{{Name: "linux-image"}}}
		for d := range drivers {
			c := &Cell{Resolved: r, Driver: matrix.Driver{Name: fmt.Sprint("driver", d)}}
			c.ID = fmt.Sprintf("%d-%d", k, d)
			cells = append(cells, c)
		}
	}
	return cells
}

func TestStepsOfCellsGoSideBySide(t *testing.T) {
	for jobs := 1; jobs <= 2; jobs++ {
		t.Run(fmt.Sprint(jobs), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { sideBySide(t, jobs) }) })
	}
}

func sideBySide(t *testing.T, jobs int) {
	s := newSlow()
	recs := map[string]*notes{}
	var mu sync.Mutex
	h := &history.History{}
	r := Runner{Parts: s, Starter: s, Patience: 1, Jobs: jobs, View: live.New(io.Discard), History: h, Recorder: func(id string) Recorder {
		mu.Lock()
		defer mu.Unlock()
		recs[id] = &notes{}
		return recs[id]
	}}
	const each = 3
	cells := night(4*r.places(), each)
	began := time.Now()
	if err := r.Run(t.Context(), cells); err != nil {
		t.Fatal(err)
	}
	took := time.Since(began)
	if n := s.most["all"]; n != r.places() {
		t.Errorf("%d steps went on at once, of %d places", n, r.places())
	}
	if n := s.most["guest"]; n > r.Jobs {
		t.Errorf("%d cells had guests at once, where %d were to", n, r.Jobs)
	}
	if s.beside == 0 {
		t.Error("no build went on beside a guest")
	}
	for release, n := range s.unpacks {
		if n != 1 {
			t.Errorf("%s was unpacked %d times", release, n)
		}
	}
	// All the work shared out, and at the end one cell that has nobody beside it.
	work := time.Duration(len(cells))*50*time.Second + time.Duration(len(s.unpacks))*2*time.Second
	most := max(work/time.Duration(r.places()), time.Duration(len(cells))*20*time.Second/time.Duration(r.Jobs)) + 52*time.Second
	if took > most {
		t.Errorf("it took %v, more than %v", took, most)
	}
	for id, n := range recs {
		if len(n.stages) != 4 {
			t.Fatalf("cell %s came to %d stages", id, len(n.stages))
		}
		for _, st := range n.stages {
			// None of them has in its time what it only waited for.
			if want := map[string]float64{results.StageBuild: 30, results.StageBoot: 20}[st.Name]; want > 0 && st.Seconds != want {
				t.Errorf("cell %s: stage %s took %v s of %v", id, st.Name, st.Seconds, want)
			}
		}
	}
	if err := h.Save(t.TempDir()); err != nil {
		t.Error(err)
	}
}

// What is shared and could not be had is tried again by the next who needs it, and is the error of one cell alone.
func TestWhatIsSharedIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlow()
		s.refuse = 1
		var mu sync.Mutex
		failed := 0
		r := Runner{Parts: s, Starter: s, Patience: 1, Jobs: 1, View: live.New(io.Discard), Recorder: func(string) Recorder {
			return &watching{stage: func(st results.Stage) {
				mu.Lock()
				defer mu.Unlock()
				if st.Name == results.StageResolve && st.State != cause.Pass {
					failed++
				}
			}}
		}}
		if err := r.Run(t.Context(), night(1, 3)); err != nil {
			t.Fatal(err)
		}
		if failed != 1 || s.unpacks["6.0.0-amd64"] != 1 {
			t.Errorf("%d cells failed, and it was unpacked %d times", failed, s.unpacks["6.0.0-amd64"])
		}
	})
}

// watching is a recorder that tells of stages.
type watching struct {
	notes
	stage func(results.Stage)
}

func (w *watching) Stage(s results.Stage) error { w.stage(s); return nil }

// Of cells whose turn never came nothing is recorded, and nobody is told that they are done.
func TestWhoOnlyWaitedIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := newSlow()
		var mu sync.Mutex
		recs := map[string]*notes{}
		r := Runner{Parts: s, Starter: s, Patience: 1, Jobs: 1, View: live.New(io.Discard), Recorder: func(id string) Recorder {
			mu.Lock()
			defer mu.Unlock()
			recs[id] = &notes{}
			return recs[id]
		}}
		time.AfterFunc(time.Second, func() { cancel(ErrInterrupted) }) // the first kernels are being unpacked
		if err := r.Run(ctx, night(3*r.places(), 1)); !Interrupted(err) {
			t.Fatalf("error %v", err)
		}
		begun := 0
		for _, n := range recs {
			begun += len(n.stages)
		}
		if begun != r.places() {
			t.Errorf("%d cells have a record, %d were at work", begun, r.places())
		}
	})
}
