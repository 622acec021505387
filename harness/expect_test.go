// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"slices"
	"testing"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

func TestStagesOfACell(t *testing.T) {
	whole, loaded := &Cell{}, &Cell{}
	loaded.Driver.Until.V = matrix.UntilLoad
	if got := whole.Stages(); len(got) != 8 || !slices.Contains(got, results.StageScenarios) {
		t.Errorf("a whole cell has the stages %v", got)
	}
	if got := loaded.Stages(); slices.Contains(got, results.StageEvents) || got[len(got)-1] != results.StageUnload {
		t.Errorf("a cell until load has the stages %v", got)
	}
}

// What is expected is expected of the named driver on the named kernel, and of nobody else.
func TestExpected(t *testing.T) {
	str := func(v string) matrix.Str { return matrix.Str{V: v} }
	p := matrix.Profile{Expect: []matrix.Expectation{
		{Driver: str("bad"), Kernel: str("old"), State: str("fail"), Cause: str("RULE_SILENT")},
		{Driver: str("worse"), State: str("fail")},
		{Driver: str("good"), Scenario: str("ring-*"), Kernel: str("old"), State: str("fail"), Cause: str("RULE_SILENT")},
	}}
	silent := results.Expect{State: cause.Fail, Cause: cause.RuleSilent}
	if got := p.Foreseen("old", "good", []string{"a", "ring-b", "ring-c"}); !slices.Equal(got, []results.Foreseen{{Scenario: "ring-b", Expect: silent}, {Scenario: "ring-c", Expect: silent}}) {
		t.Errorf("of single scenarios is foreseen %+v", got)
	}
	if got := slices.Concat(p.Foreseen("new", "good", []string{"ring-b"}), p.Foreseen("old", "bad", []string{"ring-b"})); got != nil {
		t.Errorf("of others is foreseen %+v", got)
	}
	for _, c := range []struct {
		kernel, driver string
		want           *results.Expect
	}{
		{"old", "bad", &results.Expect{State: cause.Fail, Cause: cause.RuleSilent}},
		{"new", "bad", nil},
		{"new", "worse", &results.Expect{State: cause.Fail}},
		{"old", "good", nil},
	} {
		got := p.Expected(c.kernel, c.driver)
		if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
			t.Errorf("%s on %s: %+v, want %+v", c.driver, c.kernel, got, c.want)
		}
	}
}
