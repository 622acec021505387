// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"testing"

	"github.com/mews-farm/mews/results"
)

// The note of the stage tells of the verifier only where the driver has programs: a module or a tracer has none.
func TestMeasuredNote(t *testing.T) {
	list := []results.Perf{
		results.MeasuredInsns("getppid", results.SettingLoaded, []float64{555, 555}, []float64{409, 409}),
		results.MeasuredInsns("clone", results.SettingLoaded, []float64{1000, 1002}, []float64{800, 800}),
	}
	const figures = "2 figures of 8 repeats, which lie 0.200 % apart at most (clone)"
	if got := measured(list); got != figures {
		t.Errorf("%q", got)
	}
	list = append(list, results.Perf{Metric: results.MetricVerifierInsns, Program: "opens", Driver: 10860, Class: results.ClassVerifier})
	if got, want := measured(list), figures+"; 1 programs as the verifier saw them"; got != want {
		t.Errorf("%q", got)
	}
}
