// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"math"
	"testing"

	"github.com/mews-farm/mews/harness/agent/wire"
)

// A guest's figures are its word: what cannot be is no figure, and says so.
func TestMeasureOfDoubts(t *testing.T) {
	for _, c := range []struct {
		name         string
		ticks, means []float64
		good         bool
	}{
		{"good", []float64{1, 2}, []float64{1, 2}, true},
		{"nothing", nil, nil, true},
		{"no means", []float64{1, 2}, nil, false},
		{"too few", []float64{1, 2}, []float64{1}, false},
		{"zero", []float64{1, 0}, []float64{1, 2}, false},
		{"not a number", []float64{1, 2}, []float64{math.NaN(), 2}, false},
		{"for ever", []float64{1, 2 * maxTicks}, []float64{1, 2}, false},
	} {
		p := measureOf(&wire.MeasureReply{Costs: []*wire.PathCost{{Path: "read", Ticks: c.ticks, Means: c.means}}}).Paths[0]
		if good := p.Failure == ""; good != c.good || !good && (p.Ticks != nil || p.Means != nil) {
			t.Errorf("%s: %+v", c.name, p)
		}
	}
}

func TestStrainOfDoubts(t *testing.T) {
	if _, err := strainOf(&wire.StrainReply{Opens: 5, Seconds: 1}); err != nil {
		t.Error(err)
	}
	for _, r := range []*wire.StrainReply{{Opens: -1, Seconds: 1}, {Opens: 5}, {Opens: 5, Seconds: math.NaN()}} {
		if got, err := strainOf(r); err == nil {
			t.Errorf("%v is believed: %+v", r, got)
		}
	}
}
