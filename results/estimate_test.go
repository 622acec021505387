// SPDX-License-Identifier: Apache-2.0

package results

import (
	"strings"
	"testing"
	"time"
)

func TestEstimateAgainstWhatCame(t *testing.T) {
	r := sampleRun()
	for took, want := range map[time.Duration]string{
		95 * time.Second:                       "Estimate 1m40s (from 4 runs), took 1m35s: 5 % shorter.",
		150 * time.Second:                      "Estimate 1m40s (from 4 runs), took 2m30s: 50 % longer.",
		100*time.Second + 300*time.Millisecond: "Estimate 1m40s (from 4 runs), took 1m40s: as estimated.",
	} {
		r.Ended = r.Started.Add(took)
		if got := render(t, RenderSummary, r); !strings.Contains(got, want) {
			t.Errorf("after %v the summary lacks %q", took, want)
		}
	}
	r.Ended = time.Time{}
	if got := render(t, RenderSummary, r); !strings.Contains(got, "Estimate 1m40s (from 4 runs).") {
		t.Error("a run that was cut short has another estimate")
	}
	r.Estimate = nil
	if got := render(t, RenderSummary, r); strings.Contains(got, "Estimate") {
		t.Error("a run that nobody estimated has an estimate")
	}
}
