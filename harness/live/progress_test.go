// SPDX-License-Identifier: Apache-2.0

package live

import (
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	at := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
	began := at
	var p progress
	left := func() time.Duration {
		d, ok := p.left(at.Sub(began), at)
		if !ok {
			t.Fatal("nothing can be told")
		}
		return d.Round(time.Second)
	}
	if _, ok := p.left(0, at); ok {
		t.Error("of a run that nobody estimated there is nothing to tell")
	}
	p.whole = 100 * time.Second
	p.expect("a", map[string]float64{"build": 50, "boot": 50})
	p.expect("b", map[string]float64{"build": 50, "boot": 50})
	if got := left(); got != 100*time.Second {
		t.Errorf("at the begin %v are to go", got)
	}
	p.start("a", "build", at)
	p.start("b", "build", at)
	at = at.Add(5 * time.Second)
	if got := left(); got != 95*time.Second {
		t.Errorf("early %v", got)
	}
	// It goes half as fast as was thought: with half done at 100 s, there is as much to go.
	at = began.Add(100 * time.Second)
	p.end("a", "build")
	p.end("b", "build")
	if got := left(); got != 100*time.Second {
		t.Errorf("at its half %v", got)
	}
	p.end("b", "build") // again
	if got := left(); got != 100*time.Second {
		t.Errorf("a stage that was flown again counts twice: %v", got)
	}
	p.start("a", "boot", at)
	at = at.Add(time.Hour)
	if got := left(); got <= 0 {
		t.Errorf("one that takes forever leaves %v", got)
	}
	p.over("a")
	p.over("b")
	if got := left(); got != 0 {
		t.Errorf("in the end %v", got)
	}
}
