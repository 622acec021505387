// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"errors"
	"testing"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// A guest that could not be taken up is no verdict, and takes none back.
func TestWhatClonesHaveShownStands(t *testing.T) {
	silent := cause.Failf(cause.RuleSilent, cause.FaultDriver, "silent")
	lossy := cause.Errorf(cause.EventDrops, cause.FaultHarness, "lost")
	complaint := cause.Failf(cause.KernelSplat, cause.FaultDriver, "BUG")
	death := cause.Failf(cause.KernelPanic, cause.FaultKernel, "panic")
	lost := unforked{errors.New("not taken up")}
	full := broken{errors.New("disk full")}
	for name, tc := range map[string]struct{ err, worst, splat, want error }{
		"nothing shown":          {lost, nil, nil, lost},
		"a rule was silent":      {lost, silent, nil, silent},
		"nothing was proven":     {lost, lossy, nil, lost},
		"the kernel complained":  {lost, silent, complaint, complaint},
		"a death is more":        {death, silent, complaint, death},
		"the record is broken":   {full, silent, complaint, full},
		"an agent that was lost": {lossy, silent, nil, silent},
	} {
		c := &cellRun{sortie: sortie{splat: tc.splat}}
		if got := c.proven(tc.err, tally{worst: tc.worst}); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// A deed that was done, and that mews could not clear up after, is not one to go on from.
func TestDeedThatLeftSomething(t *testing.T) {
	done := agent.DeedReport{Result: []byte(`{"want":1,"steps":[{"ok":true}]}`)}
	if err := deedDone(done, scenarios.Needs{}); err != nil {
		t.Fatal(err)
	}
	done.Failure = cause.Errorf(cause.Internal, cause.FaultHarness, "unmount: device or resource busy")
	if f := cause.Of(deedDone(done, scenarios.Needs{})); f.State != cause.Error || f.Cause != cause.Internal {
		t.Errorf("%+v", f)
	}
	done.Failure = cause.Errorf(cause.NoEvents, cause.FaultHarness, "no fence")
	if err := deedDone(done, scenarios.Needs{}); err != nil {
		t.Errorf("a fence that was not seen is judged by itself: %v", err)
	}
}
