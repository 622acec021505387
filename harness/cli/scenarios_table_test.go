// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

// The table of the guide names every attack that mews has: `make scenarios` writes it anew.
func TestScenariosAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	cat, err := scenarios.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range cat.Names() {
		if !strings.Contains(string(doc), "\n| "+name+" | ") {
			t.Errorf("docs/scenarios.md has no row for %s: run make scenarios", name)
		}
	}
}

func TestScenarioTable(t *testing.T) {
	sc := scenarios.Scenario{Name: "a", Rule: "R", Expect: scenarios.Expect{Fields: map[string]string{"fd.name": "/x", "evt.type": "open"}}}
	cell := func(consumer string, f cause.Finding, fired int) results.Cell {
		return results.Cell{Kernel: results.Kernel{Release: "6.1"}, Driver: results.Driver{Name: "d-" + consumer, Consumer: "of-" + consumer, ConsumerKind: consumer},
			Scenarios: []results.Scenario{{Name: "a", Finding: f, Fired: fired, DeedID: "abc", Fields: map[string]string{"fd.name": "/x-abc|`", "evt.type": consumer}}}}
	}
	pass, silent := cause.Finding{State: cause.Pass}, cause.Finding{State: cause.Fail, Cause: cause.RuleSilent}
	unable := cause.Finding{State: cause.Unsupported, Cause: cause.RuleUnsupported}
	for _, c := range []struct {
		name   string
		cells  []results.Cell
		row    string
		proven bool
	}{
		{"both", []results.Cell{cell("sysdig", pass, 1), cell("native", pass, 2)}, "| a | R | 1/0 | 2/0 | `evt.type=sysdig`<br>`fd.name=/x-${id}\\|'` |", true},
		{"ours alone", []results.Cell{cell("sysdig", unable, 0), cell("native", pass, 1)}, "| a | R | unsupported RULE_UNSUPPORTED | 1/0 | `evt.type=native`<br>`fd.name=/x-${id}\\|'` |", false},
		{"a program's that knows no rules", []results.Cell{cell("command", pass, 1)}, "| a | R | 1/0 | `evt.type=command`<br>`fd.name=/x-${id}\\|'` |", false},
		{"whose kind nobody recorded", []results.Cell{cell("", pass, 1)}, "| a | R | 1/0 | `evt.type=`<br>`fd.name=/x-${id}\\|'` |", false},
		{"silent", []results.Cell{cell("sysdig", silent, 0)}, "| a | R | **RULE_SILENT** 0/0 |  |", false},
		{"not there", []results.Cell{{}}, "| a | R | not run |  |", false},
	} {
		var b strings.Builder
		run := results.Run{Cells: c.cells}
		if err := scenarioTable(&b, run, []scenarios.Scenario{sc}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "\n"+c.row+"\n") {
			t.Errorf("%s: got\n%s\nwant %s", c.name, b.String(), c.row)
		}
		if err := unproven(run, []scenarios.Scenario{sc}); (err == nil) != c.proven {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
