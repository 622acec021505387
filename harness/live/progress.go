// SPDX-License-Identifier: Apache-2.0

package live

import (
	"time"

	"github.com/mews-farm/mews/results"
)

// progress tells how much of a run is left: what earlier runs took for the stages that are left, at the pace of this one.
type progress struct {
	whole   time.Duration                 // of the run by earlier ones; 0: nothing is known
	lengths map[string]map[string]float64 // seconds by cell and stage
	sum     float64
	done    float64
	flying  map[[2]string]time.Time // stages under way, by cell and stage
}

// early is the share of the work before which the pace of a run says nothing yet.
const early = 0.05

func (p *progress) expect(cell string, lengths map[string]float64) {
	if p.lengths == nil {
		p.lengths, p.flying = map[string]map[string]float64{}, map[[2]string]time.Time{}
	}
	p.lengths[cell] = map[string]float64{}
	for stage, s := range lengths {
		p.lengths[cell][stage] = s
		p.sum += s
	}
}

func (p *progress) start(cell, stage string, now time.Time) {
	if p.lengths != nil {
		p.flying[[2]string{cell, stage}] = now
	}
}

// end counts a stage, once: one that is flown again takes longer than was thought.
func (p *progress) end(cell, stage string) {
	delete(p.flying, [2]string{cell, stage})
	p.done += p.lengths[cell][stage]
	delete(p.lengths[cell], stage)
}

// over counts all that a cell will not do any more.
func (p *progress) over(cell string) {
	for stage := range p.lengths[cell] {
		p.end(cell, stage)
	}
}

// left is what is to go when so much has gone by; ok: it can be told.
func (p *progress) left(elapsed time.Duration, now time.Time) (left time.Duration, ok bool) {
	if p.whole <= 0 || p.sum <= 0 {
		return 0, false
	}
	done := p.done
	for at, since := range p.flying {
		// One that takes longer than was thought is nearly done, for as long as that may be.
		done += min(now.Sub(since).Seconds(), 0.95*p.lengths[at[0]][at[1]])
	}
	share := min(done/p.sum, 1)
	if share < early {
		return max(p.whole-elapsed, 0), true
	}
	return time.Duration(float64(elapsed) * (1 - share) / share), true
}

// toGo is left for people; empty: it cannot be told.
func (p *progress) toGo(elapsed time.Duration, now time.Time) string {
	left, ok := p.left(elapsed, now)
	if !ok {
		return ""
	}
	return ", about " + results.Duration(left.Round(time.Second)) + " to go"
}
