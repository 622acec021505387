// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness"
	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
	"github.com/mews-farm/mews/scenarios/suite"
)

// A scenario that the consumer has no means for is marked in its cell, and the reason is told once for all cells.
func TestPlanSaysWhatAConsumerLacks(t *testing.T) {
	lacks := &cause.Err{
		Finding: cause.Finding{State: cause.Unsupported, Cause: cause.RuleUnsupported, Fault: cause.FaultHarness},
		What:    `scenario drop: sysdig 0.29.3 cannot evaluate rule "Drop": the consumer has no field proc.is_exe_upper_layer`,
	}
	p := &harness.Plan{}
	for _, release := range []string{"6.1.0-56", "7.3.4"} {
		p.Cells = append(p.Cells, &harness.Cell{
			Resolved:  &kernels.Resolved{Kernel: kernels.Kernel{Distro: "debian", Release: release}},
			Driver:    matrix.Driver{Name: "falco-kmod"},
			Scenarios: []scenarios.Scenario{{Name: "drop"}, {Name: "read"}},
			Unable:    map[string]*cause.Err{"drop": lacks},
		})
	}
	p.Cells[1].Denied = &cause.Err{Finding: cause.Finding{State: cause.Unsupported, Cause: cause.ModuleSignature, Fault: cause.FaultKernel}, What: "it loads signed modules only"}
	told := declare(p)
	if got := fmt.Sprint(told[0].Declared.Unsupported); got != "[{drop RULE_UNSUPPORTED "+lacks.What+"}]" {
		t.Errorf("the record of the first cell says %s", got)
	}
	if got := fmt.Sprint(told[1].Declared.Unsupported); !strings.HasSuffix(got, " { MODULE_SIGNATURE it loads signed modules only}]") {
		t.Errorf("the record of a cell that cannot be judged says %s", got)
	}
	p.Cells[1].Denied = nil
	var out, errs bytes.Buffer
	if err := printPlan(Streams{Out: &out, Err: &errs}, p, "a run takes a while"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(out.String(), "drop (RULE_UNSUPPORTED),read"); got != 2 {
		t.Errorf("it is marked in %d cells of 2:\n%s", got, out.String())
	}
	if got := strings.Count(out.String(), "unsupported, RULE_UNSUPPORTED: scenario drop: sysdig 0.29.3 cannot"); got != 1 {
		t.Errorf("the reason is told %d times:\n%s", got, out.String())
	}
	if !strings.HasSuffix(out.String(), "2 cells; a run takes a while\n") || errs.Len() > 0 {
		t.Errorf("it ends with %q, and says %q", out.String(), errs.String())
	}
}

// The record says what a cell's consumer is, and which scenarios are tests of a suite, before any of them is done.
func TestDeclareSaysWhatReadsAndWhatIsASuites(t *testing.T) {
	c := &harness.Cell{Driver: matrix.Driver{Name: "d", Consumer: matrix.Str{V: "house-blend"}}, Consumer: matrix.Consumer{Kind: matrix.Str{V: matrix.Native}},
		Scenarios: []scenarios.Scenario{{Name: "read"}, {Name: "s-t-1", Foreign: &scenarios.Foreign{File: "s.yaml", Test: suite.Test{Name: "t", Case: map[string]string{"a": "b"}}}}}}
	got := declare(&harness.Plan{Cells: []*harness.Cell{c}})[0]
	if got.Driver.Consumer != "house-blend" || got.Driver.ConsumerKind != "native" {
		t.Errorf("driver %+v", got.Driver)
	}
	if want := []results.DeclaredTest{{Scenario: "s-t-1", Suite: "s.yaml", Test: "t", Case: map[string]string{"a": "b"}}}; !reflect.DeepEqual(got.Declared.Tests, want) {
		t.Errorf("tests %+v", got.Declared.Tests)
	}
}
