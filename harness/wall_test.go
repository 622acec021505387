// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/results"
)

// came is a strain of a second that opened n files and lost some events.
func came(n int64, drops uint64) strain {
	return strain{reports: []agent.StrainReport{{Opens: n, Took: time.Second}}, stats: consumer.Stats{Events: uint64(n), Drops: drops}}
}

func TestClimb(t *testing.T) {
	for _, c := range []struct {
		name      string
		lossyFrom int   // opens a second
		fastest   int64 // that the guest can
		sustained int
		lossy     bool
		tries     int
	}{
		{"loses at 8,000", 8000, 1e6, 4000, true, 4},
		{"loses at once", 1, 1e6, 0, true, 1},
		{"loses nothing", 1e9, 1e6, 128_000, false, 8},
		{"a guest that is slow", 1e9, 5000, 8000, false, 4},
	} {
		tries := 0
		sustained, lossy, err := climb(1000, 128_000, func(rate int) (strain, error) {
			tries++
			drops := uint64(0)
			if rate >= c.lossyFrom {
				drops = 3
			}
			return came(min(int64(rate), c.fastest), drops), nil
		})
		if err != nil || sustained != c.sustained || (lossy != nil) != c.lossy || tries != c.tries {
			t.Errorf("%s: sustained %d, lossy %v after %d tries (%v)", c.name, sustained, lossy, tries, err)
		}
	}
	if _, _, err := climb(1000, 2000, func(int) (strain, error) { return strain{}, errors.New("no") }); err == nil {
		t.Error("a strain that failed is told as none that lost events")
	}
}

func TestStrainCosts(t *testing.T) {
	s := strain{stats: consumer.Stats{Events: 12000}}
	for i := range 6 {
		s.reports = append(s.reports, agent.StrainReport{Opens: 1000, Took: time.Second, CPU: time.Duration(i) * 100 * time.Millisecond, Memory: 1 << 20,
			Programs: []agent.ProgramRuns{{Name: "sys_enter_opena", Runs: 1000, Took: time.Millisecond}, {Name: "sys_enter_opena", Runs: 1000, Took: 3 * time.Millisecond}}})
	}
	want := map[string]float64{results.MetricEventRate: 2000, results.MetricConsumerCPU: 0.25, results.MetricConsumerBytes: 1 << 20, results.MetricProgramNs: 2000}
	got := s.costs()
	for _, p := range got {
		if p.Class != results.ClassWall || p.Repeats != 6 || math.Abs(p.Driver-want[p.Metric]) > 1e-9 {
			t.Errorf("%+v, want %g", p, want[p.Metric])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, want %d", len(got), len(want))
	}
	if (strain{}).costs() != nil {
		t.Error("nothing was opened, and cost something")
	}
}

func TestStrainDrops(t *testing.T) {
	s := came(4000, 7)
	if got := s.drops(); len(got) != 2 || got[0].Driver != 4000 || got[1].Category != "all" || got[1].Driver != 7 {
		t.Errorf("%+v", got)
	}
	s.stats.DropsBy = map[string]uint64{"open: ring buffer full": 5, "exec: ring buffer full": 2}
	if got := s.drops(); len(got) != 3 || got[1].Category != "exec: ring buffer full" || got[2].Driver != 5 {
		t.Errorf("%+v", got)
	}
}
