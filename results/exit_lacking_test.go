// SPDX-License-Identifier: Apache-2.0

package results

import (
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

// A gate that is green although nothing was judged guards nothing.
func TestNothingJudgedIsNoSuccess(t *testing.T) {
	now := time.Now()
	cell := func(err error) Cell {
		return Cell{ID: "c", Declared: Declared{Stages: []string{StageBoot}}, Stages: []Stage{EndStage(StageBoot, now, now, err)}}
	}
	denied := &cause.Err{Finding: cause.Finding{State: cause.Unsupported, Cause: cause.PolicyDenied, Fault: cause.FaultKernel}, What: "LoadPin"}
	expected := cell(denied)
	expected.Expect = &Expect{State: cause.Unsupported}
	for _, c := range []struct {
		name  string
		cells []Cell
		want  int
	}{
		{"unsupported alone", []Cell{cell(denied)}, ExitLacking},
		{"unsupported beside a pass", []Cell{cell(denied), cell(nil)}, ExitExpected},
		{"unsupported as expected", []Cell{expected}, ExitExpected},
		{"no cells", nil, ExitLacking},
	} {
		if got := ExitCode(Run{Cells: c.cells}); got != c.want {
			t.Errorf("%s: exit code %d, want %d", c.name, got, c.want)
		}
	}
}
