// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	foreseen := func(c results.Cell) results.Cell {
		c.Foresees = []results.Foreseen{{Scenario: "a", Expect: results.Expect{State: cause.Fail, Cause: cause.RuleSilent}}}
		return c
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
		{"silent, as foreseen", []results.Cell{foreseen(cell("sysdig", silent, 0))}, "| a | R | **RULE_SILENT** 0/0, known |  |", true},
		{"silent, as foreseen of one of two", []results.Cell{foreseen(cell("sysdig", silent, 0)), cell("falco", silent, 0)}, "| a | R | **RULE_SILENT** 0/0, known | **RULE_SILENT** 0/0 |  |", false},
		{"foreseen of ours alone", []results.Cell{foreseen(cell("native", silent, 0))}, "| a | R | **RULE_SILENT** 0/0, known |  |", false},
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

// The table of the guide is that of a whole run, or none: of a part of it, nobody could tell what was not tried.
func TestScriptWritesTheTableOfAWholeRunAlone(t *testing.T) {
	script, err := os.ReadFile("../../scripts/scenarios")
	if err != nil {
		t.Fatal(err)
	}
	const before, written = "x\n<!-- scenarios -->\nold\n<!-- /scenarios -->\ny\n", "x\n<!-- scenarios -->\n| new |\n<!-- /scenarios -->\ny\n"
	for _, c := range []struct {
		name        string
		flags       []string
		run, proven int
		summary     string // of the run's record
		want        string
		exit        int
	}{
		{"good", nil, 0, 0, `"error": 0,"missing": 0`, written, 0},
		{"by flags that narrow nothing", []string{"--offline", "--jobs", "2", "--memory=800"}, 0, 0, `"error": 0,"missing": 0`, written, 0},
		{"fell short", nil, 1, 0, `"error": 0,"missing": 0`, written, 1},
		{"one is not proven", nil, 0, 1, `"error": 0,"missing": 0`, written, 1},
		{"narrowed", []string{"--scenario", "clear-*"}, 0, 1, `"error": 0,"missing": 0`, before, 1},
		{"another profile's", []string{"--profile=quick"}, 0, 0, `"error": 0,"missing": 0`, before, 0},
		{"lacking", nil, 3, 0, `"error": 1,"missing": 0`, before, 3},
		{"fell short, and lacking", nil, 1, 0, `"error": 0,"missing": 10`, before, 1},
		{"no record", nil, 0, 0, ``, before, 0},
		{"no table", nil, 0, 2, `"error": 0,"missing": 0`, before, 2},
		{"no run", nil, 2, 0, ``, before, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			mews := fmt.Sprintf("#!/bin/bash\ncase $1 in run) exit %d;; results) cat record; exit %[1]d;; scenarios) echo '| new |'; exit %d;; esac\n", c.run, c.proven)
			record := "{\n  \"summary\": {\n    \"pass\": 1,\n    " + strings.ReplaceAll(c.summary, ",", ",\n    ") + "\n  },\n  \"cells\": []\n}\n"
			for name, text := range map[string]string{"scripts/scenarios": string(script), "bin/mews": mews, "docs/scenarios.md": before, "record": record} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755)); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/scenarios"), c.flags...)
			out, err := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode(); got != c.exit {
				t.Errorf("exit code %d, want %d: %v\n%s", got, c.exit, err, out)
			}
			doc, err := os.ReadFile(filepath.Join(dir, "docs/scenarios.md"))
			if err != nil || string(doc) != c.want {
				t.Errorf("the guide: %v\n%s\n%s", err, doc, out)
			}
		})
	}
}
