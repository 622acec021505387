// SPDX-License-Identifier: Apache-2.0

package results

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

func TestRenderEventGenerator(t *testing.T) {
	pass, fail := cause.Finding{State: cause.Pass}, cause.Finding{State: cause.Fail, Cause: cause.EventFieldWrong, Fault: cause.FaultDriver}
	run := Run{Cells: []Cell{{ID: "c", Scenarios: []Scenario{
		{Name: "own", Finding: pass, Fired: 2},
		{Name: "silent", Finding: fail, Fired: 3},
		{Name: "s-t-1", Finding: pass, Fired: 2, Suite: &SuiteTest{Suite: "s.yaml", Test: "t", Case: map[string]string{"a": "b"}, Matches: 1, Warnings: [][]FieldWarning{{{"fd.name", "/x", "/y"}}}}},
		{Name: "s-u", Finding: cause.Finding{State: cause.Unsupported, Cause: cause.SuiteUnsupported, Fault: cause.FaultHarness}, Suite: &SuiteTest{Suite: "s.yaml", Test: "u"}},
		{Name: "s-v", Finding: cause.Finding{State: cause.Error, Cause: cause.EventDrops, Fault: cause.FaultInfra}, Suite: &SuiteTest{Suite: "s.yaml", Test: "v", Matches: 1}},
	}}}}
	var b strings.Builder
	if err := RenderEventGenerator(&b, run); err != nil {
		t.Fatal(err)
	}
	want := `{
  "suite": "mews",
  "cell": "c",
  "testReports": [
    {
      "test": "own",
      "successfulMatches": 2
    },
    {
      "test": "silent",
      "successfulMatches": 0
    }
  ]
}
{
  "suite": "s.yaml",
  "cell": "c",
  "testReports": [
    {
      "test": "t",
      "originatingTestCase": {
        "a": "b"
      },
      "successfulMatches": 1,
      "generatedWarnings": [
        {
          "fieldWarnings": [
            {
              "field": "fd.name",
              "expected": "/x",
              "got": "/y"
            }
          ]
        }
      ]
    },
    {
      "test": "u",
      "successfulMatches": 0
    },
    {
      "test": "v",
      "successfulMatches": 0
    }
  ]
}
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
