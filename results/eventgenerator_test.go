// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/json"
	"errors"
	"io"
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

// What was declared and never done is reported, with no match, under its own suite: whether Settled put a missing record in
// its place, or a guest was lost and nobody wrote one.
func TestRenderEventGeneratorOfALostGuest(t *testing.T) {
	declared := Declared{Stages: []string{StageBoot, StageScenarios}, Scenarios: []string{"own", "s-t-1", "s-t-2"}, Tests: []DeclaredTest{
		{Scenario: "s-t-1", Suite: "s.yaml", Test: "t", Case: map[string]string{"a": "1"}}, {Scenario: "s-t-2", Suite: "s.yaml", Test: "t", Case: map[string]string{"a": "2"}}}}
	lost := Stage{Name: StageBoot, Finding: cause.Finding{State: cause.Error, Cause: cause.AgentLost, Fault: cause.FaultInfra}, Stops: true}
	want := `{"suite":"mews","cell":"c","testReports":[{"test":"own","successfulMatches":0}]}
{"suite":"s.yaml","cell":"c","testReports":[{"test":"t","originatingTestCase":{"a":"1"},"successfulMatches":0},{"test":"t","originatingTestCase":{"a":"2"},"successfulMatches":0}]}
`
	for name, stages := range map[string][]Stage{"lost in boot": {lost}, "killed meanwhile": nil} {
		run := Run{Cells: []Cell{{ID: "c", Declared: declared, Stages: stages}}}.Settled()
		var b, flat strings.Builder
		if err := RenderEventGenerator(&b, run); err != nil {
			t.Fatal(err)
		}
		for d := json.NewDecoder(strings.NewReader(b.String())); ; {
			var doc suiteReport
			if err := d.Decode(&doc); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if err := json.NewEncoder(&flat).Encode(doc); err != nil {
				t.Fatal(err)
			}
		}
		if flat.String() != want {
			t.Errorf("%s: got\n%s", name, flat.String())
		}
	}
}
