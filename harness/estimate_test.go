// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/history"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
	"github.com/mews-farm/mews/scenarios"
)

func TestEstimateOfARun(t *testing.T) {
	cells := night(2, 1)
	dir := t.TempDir()
	none, _ := history.Open(dir)
	if e := EstimateRun(cells, none, "tcg", 1, 640); e.Seconds <= 0 || e.Known != 0 || !strings.Contains(e.From(), "defaults") {
		t.Errorf("with no history: %+v, %s", e, e.From())
	}

	h, _ := history.Open(dir)
	l := lengths{h, "tcg", 2}
	for _, c := range cells {
		for part, seconds := range map[string]float64{
			history.Start: 1, results.StageResolve: 2, results.StageInspect: 1, history.Kernel: 5,
			results.StageBoot: 1, results.StageLoad: 2, results.StageEvents: 3, results.StageScenarios: 4, history.Clone: 2, results.StageUnload: 1,
		} {
			h.Add(l.key(c, part, false), seconds)
		}
		h.Add(l.key(c, results.StageBuild, false), 30)
		h.Add(l.key(c, results.StageBuild, true), 0.5)
	}
	if err := h.Save(dir); err != nil {
		t.Fatal(err)
	}
	h, _ = history.Open(dir)
	two := EstimateRun(cells, h, "tcg", 1, 640)
	if two.Known != two.Parts || two.From() != "from 1 run" {
		t.Errorf("of %d parts %d are known, %s", two.Parts, two.Known, two.From())
	}
	// Each is 2+30+1 s to its driver, and then 10 in one guest and 1 to unload.
	if least := 1. + 33 + 11; two.Seconds < least || two.Seconds > 2*least {
		t.Errorf("two cells take %v s", two.Seconds)
	}
	for _, c := range cells {
		c.Scenarios = make([]scenarios.Scenario, 25)
	}
	if with := EstimateRun(cells, h, "tcg", 1, 640); with.Seconds < two.Seconds+10 || with.Lengths[cells[0].ID][results.StageScenarios] != 4+25*2 {
		t.Errorf("50 scenarios of 2 s make %v s of %v: %v", with.Seconds, two.Seconds, with.Lengths)
	}
	h.Add(l.key(cells[0], results.StageLoad, false), 2)
	for _, c := range cells {
		h.Make(c.builtName())
	}
	if err := h.Save(dir); err != nil {
		t.Fatal(err)
	}
	h, _ = history.Open(dir)
	for _, c := range cells {
		c.Scenarios = nil
	}
	if again := EstimateRun(cells, h, "tcg", 1, 640); again.Seconds > two.Seconds-20 {
		t.Errorf("with drivers that are built already it takes %v s of %v", again.Seconds, two.Seconds)
	}
	cells[0].Err = cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "away")
	if one := EstimateRun(cells, h, "tcg", 1, 640); len(one.Lengths[cells[0].ID]) != 0 || one.Parts >= two.Parts {
		t.Errorf("what cannot be had takes time: %+v", one)
	}
	cells[0].Err, cells[0].Measured, cells[1].Measured = nil, true, true
	if alone := EstimateRun(cells, h, "tcg", 8, 640); alone.Seconds < 2*60 {
		t.Errorf("two that are measured, each alone for 60 s, take %v s", alone.Seconds)
	}
}
