// SPDX-License-Identifier: Apache-2.0

package results

import (
	"math"
	"testing"
)

// What is said of medians is what chance makes of them: of six values, the median lies outside once in 32 times.
func TestConfidence(t *testing.T) {
	for n, want := range map[int]float64{2: 50, 6: 96.875, 8: 99.21875} {
		if got := confidence(n); math.Abs(got-want) > 1e-9 {
			t.Errorf("%d: %g, want %g", n, got, want)
		}
	}
}

// Figures of a clock are in no table of what was counted.
func TestWallStandsByItself(t *testing.T) {
	c := sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
	c.Perf = []Perf{MeasuredWall(MetricEventRate, 1000, 1100, 1200)}
	r := Run{Cells: []Cell{c}}
	if got := overheads(r); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := wallOf(r); len(got.Rows) != 1 || got.Rows[0].Value != "1100" || got.Rows[0].Between != "1000 .. 1200" {
		t.Errorf("%+v", got)
	}
}
