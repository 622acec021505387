// SPDX-License-Identifier: Apache-2.0

package results

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

func TestCellState(t *testing.T) {
	boom := finding(cause.Fail, cause.KernelPanic, cause.FaultKernel, "panic")
	lost := finding(cause.Error, cause.AgentLost, cause.FaultInfra, "gone")
	cos := finding(cause.Unsupported, cause.ModuleSignature, cause.FaultKernel, "signed modules only")
	skip := finding(cause.Skipped, cause.Cancelled, cause.FaultHarness, "asked for")
	tests := []struct {
		name   string
		change func(*Cell)
		state  cause.State
		cause  cause.Cause
	}{
		{"all there", func(c *Cell) {}, cause.Pass, ""},
		{"a stage deleted", func(c *Cell) { c.Stages = c.Stages[:3] }, cause.Missing, cause.NotRecorded},
		{"a stage deleted in the middle", func(c *Cell) { c.Stages = append(c.Stages[:1:1], c.Stages[2:]...) }, cause.Missing, cause.NotRecorded},
		{"a scenario deleted", func(c *Cell) { c.Scenarios = c.Scenarios[1:] }, cause.Missing, cause.NotRecorded},
		{"nothing recorded", func(c *Cell) { c.Stages, c.Scenarios = nil, nil }, cause.Missing, cause.NotRecorded},
		{"nothing declared, nothing recorded", func(c *Cell) { *c = Cell{ID: c.ID} }, cause.Missing, cause.NotRecorded},
		{"a verdict in the file counts for nothing", func(c *Cell) { c.Stages = nil; c.State = cause.Pass }, cause.Missing, cause.NotRecorded},
		{"fail outranks missing", func(c *Cell) { c.Stages = c.Stages[:1]; c.Stages[0].Finding = boom }, cause.Fail, cause.KernelPanic},
		{"fail outranks error", func(c *Cell) { c.Stages[0].Finding = lost; c.Stages[1].Finding = boom }, cause.Fail, cause.KernelPanic},
		{"error outranks missing", func(c *Cell) { c.Stages[0].Finding = lost; c.Stages = c.Stages[:3] }, cause.Error, cause.AgentLost},
		{"missing outranks unsupported", func(c *Cell) { c.Stages[0].Finding = cos; c.Stages = c.Stages[:1] }, cause.Missing, cause.NotRecorded},
		{"unsupported that stops", func(c *Cell) {
			c.Stages, c.Scenarios = []Stage{failing(StageBuild, cos)}, nil
		}, cause.Unsupported, cause.ModuleSignature},
		{"unsupported outranks skipped", func(c *Cell) { c.Stages[0].Finding = skip; c.Stages[3].Finding = cos }, cause.Unsupported, cause.ModuleSignature},
		{"skipped outranks pass", func(c *Cell) { c.Scenarios[0].Finding = skip }, cause.Skipped, cause.Cancelled},
		{"a pass cannot stop", func(c *Cell) { c.Stages = c.Stages[:1]; c.Stages[0].Stops = true }, cause.Missing, cause.NotRecorded},
		{"a stop hides nothing before it", func(c *Cell) {
			c.Stages = []Stage{failing(StageBoot, cos)}
		}, cause.Missing, cause.NotRecorded},
		{"stopped within the scenarios", func(c *Cell) {
			c.Stages[2], c.Scenarios = failing(StageScenarios, lost), nil
			c.Stages = c.Stages[:3]
		}, cause.Error, cause.AgentLost},
		{"stopped after the scenarios", func(c *Cell) {
			c.Stages[3], c.Scenarios = failing(StageUnload, cos), nil
		}, cause.Missing, cause.NotRecorded},
		{"the zero finding", func(c *Cell) { c.Stages[0].Finding = cause.Finding{} }, cause.Error, cause.Internal},
		{"an unknown state", func(c *Cell) { c.Stages[0].State = "PASS" }, cause.Error, cause.Internal},
		{"a fail without a fault", func(c *Cell) { c.Stages[0].Finding = cause.Finding{State: cause.Fail, Cause: cause.KernelPanic} }, cause.Error, cause.Internal},
		{"unsupported without a reason", func(c *Cell) { c.Stages[0].Finding = cos; c.Stages[0].Evidence = nil }, cause.Error, cause.Internal},
		{"skipped without a reason", func(c *Cell) { c.Scenarios[0].Finding = skip; c.Scenarios[0].Evidence = nil }, cause.Error, cause.Internal},
		{"a pass whose rule was silent", func(c *Cell) { c.Scenarios[0].Fired = 0 }, cause.Error, cause.Internal},
		{"a pass whose twin fired", func(c *Cell) { c.Scenarios[1].TwinFired = 1 }, cause.Error, cause.Internal},
		{"a panic that did not come again", func(c *Cell) { c.Attempts = []Stage{failing(StageBoot, boom)} }, cause.Error, cause.FlakeSuspected},
		{"a panic that came again", func(c *Cell) {
			c.Attempts, c.Stages[1].Finding = []Stage{failing(StageBoot, boom)}, boom
		}, cause.Fail, cause.KernelPanic},
		{"an infrastructure error that was retried", func(c *Cell) { c.Attempts = []Stage{failing(StageBoot, lost)} }, cause.Pass, ""},
		{"a stage that nobody declared counts", func(c *Cell) { c.Stages = append(c.Stages, failing("extra", boom)) }, cause.Fail, cause.KernelPanic},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := sampleCell("6.1", "d")
			tt.change(&c)
			before, _ := json.Marshal(c)
			got := c.Settled()
			if got.State != tt.state || got.Cause != tt.cause {
				t.Errorf("got %s %q, want %s %q: %v", got.State, got.Cause, tt.state, tt.cause, got.Evidence)
			}
			if err := got.Check(); err != nil {
				t.Errorf("the derived finding is invalid: %v", err)
			}
			if after, _ := json.Marshal(c); string(before) != string(after) {
				t.Error("Settled changed its receiver")
			}
			again := got.Settled()
			if a, b := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", again); a != b {
				t.Errorf("settling twice changed the cell:\n%s\n%s", a, b)
			}
			if len(got.Problems()) == 0 != (got.State == cause.Pass) {
				t.Errorf("state %s with %d problems", got.State, len(got.Problems()))
			}
		})
	}
}

func TestExitCode(t *testing.T) {
	pass := sampleCell("6.1", "pass")
	fail := sampleCell("6.1", "fail")
	fail.Stages, fail.Scenarios = []Stage{failing(StageBuild, finding(cause.Fail, cause.CompileError, cause.FaultDriver, "x"))}, nil
	gone := sampleCell("6.1", "missing")
	gone.Stages = nil
	infra := sampleCell("6.1", "error")
	infra.Stages[0].Finding = finding(cause.Error, cause.MirrorUnreachable, cause.FaultInfra, "x")
	cos := sampleCell("6.1", "unsupported")
	cos.Stages, cos.Scenarios = []Stage{failing(StageBuild, finding(cause.Unsupported, cause.ModuleSignature, cause.FaultKernel, "x"))}, nil
	expecting := func(c Cell, s cause.State, code cause.Cause) Cell {
		c.Expect = &Expect{State: s, Cause: code}
		return c
	}
	mismatch := sampleCell("6.1", "error")
	mismatch.Stages, mismatch.Scenarios = []Stage{failing(StageBuild, finding(cause.Error, cause.ToolchainMismatch, cause.FaultToolchain, "asm inline: not kept by clang-9"))}, nil
	by := func(c Cell, s cause.State, code cause.Cause, evidence string) Cell {
		c.Expect = &Expect{State: s, Cause: code, Evidence: evidence}
		return c
	}
	foreseen := func(c Cell, evidence string) Cell { return by(c, cause.Error, cause.ToolchainMismatch, evidence) }
	blamed := mismatch // no tool chain's
	blamed.Stages = []Stage{failing(StageBuild, finding(cause.Error, cause.ToolchainMismatch, cause.FaultHarness, "asm inline: not kept by clang-9"))}
	tests := []struct {
		name  string
		cells []Cell
		want  int
	}{
		{"no cells", nil, ExitLacking},
		{"pass", []Cell{pass}, ExitExpected},
		{"unsupported", []Cell{pass, cos}, ExitExpected},
		{"fail", []Cell{pass, fail}, ExitFellShort},
		{"missing", []Cell{pass, gone}, ExitLacking},
		{"error", []Cell{infra, pass}, ExitLacking},
		{"fail among errors", []Cell{infra, fail, gone}, ExitFellShort},
		{"the fail that was expected", []Cell{expecting(fail, cause.Fail, cause.CompileError)}, ExitExpected},
		{"a fail of any cause expected", []Cell{expecting(fail, cause.Fail, "")}, ExitExpected},
		{"another fail than expected", []Cell{expecting(fail, cause.Fail, cause.VermagicMismatch)}, ExitFellShort},
		{"a pass where a fail was expected", []Cell{expecting(pass, cause.Fail, "")}, ExitFellShort},
		{"unsupported where a pass was expected", []Cell{expecting(cos, cause.Pass, "")}, ExitFellShort},
		{"the wrong compiler, found to be that", []Cell{foreseen(mismatch, "asm inline")}, ExitExpected},
		{"the wrong compiler, by other evidence", []Cell{foreseen(mismatch, "counted_by")}, ExitFellShort},
		{"a pass where the wrong compiler was expected", []Cell{foreseen(pass, "asm inline")}, ExitFellShort},
		{"no verdict where the wrong compiler was expected", []Cell{foreseen(infra, "asm inline")}, ExitLacking},
		{"the wrong compiler beside a verdict that is lacking", []Cell{foreseen(mismatch, "asm inline"), infra}, ExitLacking},
		{"the wrong compiler where it was not expected", []Cell{mismatch}, ExitLacking},
		{"the wrong compiler, of another's fault", []Cell{foreseen(blamed, "asm inline")}, ExitFellShort},
		{"a fail by the evidence that was foreseen", []Cell{by(fail, cause.Fail, "", fail.Stages[0].Evidence[0].Text)}, ExitExpected},
		{"a fail by other evidence", []Cell{by(fail, cause.Fail, "", "nothing like it")}, ExitFellShort},
		{"no verdict where a pass was expected", []Cell{expecting(gone, cause.Pass, "")}, ExitLacking},
		{"no verdict where a fail was expected", []Cell{expecting(infra, cause.Fail, "")}, ExitLacking},
	}
	for _, tt := range tests {
		if got := ExitCode(Run{Cells: tt.cells}); got != tt.want {
			t.Errorf("%s: exit %d, want %d", tt.name, got, tt.want)
		}
	}
	for _, e := range []Expect{{State: cause.Error}, {State: cause.Missing}, {State: cause.Skipped}, {}, {State: cause.Pass, Cause: cause.NoEvents},
		{State: cause.Error, Cause: cause.AgentLost, Evidence: "x"}, {State: cause.Error, Cause: cause.ToolchainMismatch}, {State: cause.Pass, Evidence: "x"}} {
		if e.Check() == nil {
			t.Errorf("expectation %+v was accepted", e)
		}
	}
}

func TestSummaryCountsEveryState(t *testing.T) {
	got := sampleRun().Settled().Summary
	want := Summary{Pass: 1, Fail: 2, Unsupported: 1, Skipped: 1, Error: 1, Missing: 1}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got.Total() != 7 || got.String() != "7 cells: 1 pass, 2 fail, 1 error, 1 missing, 1 unsupported, 1 skipped" {
		t.Errorf("%d, %s", got.Total(), got)
	}
}

func TestEndStage(t *testing.T) {
	err := cause.Failf(cause.CompileError, cause.FaultDriver, "main.c does not compile").Advise("fix it").
		With(cause.Evidence{File: "build.log", Line: 3, Text: "error"})
	s := EndStage(StageBuild, sampleStart, sampleStart.Add(1500*time.Millisecond), fmt.Errorf("building: %w", err))
	if s.State != cause.Fail || s.Hint != "fix it" || !s.Stops || s.Seconds != 1.5 || len(s.Evidence) != 2 {
		t.Errorf("%+v", s)
	}
	if s.Evidence[0].Text != "building: main.c does not compile" {
		t.Errorf("the first line of evidence is %q", s.Evidence[0].Text)
	}
	if s := EndStage(StageBuild, sampleStart, sampleStart, nil); s.State != cause.Pass || s.Stops {
		t.Errorf("%+v", s)
	}
	if s := EndScenario("s", "r", 0, 0, nil, errors.New("odd")); s.State != cause.Error || s.Cause != cause.Internal {
		t.Errorf("%+v", s)
	}
}

func TestIDs(t *testing.T) {
	k := Kernel{Distro: "cos", Release: "6.1.112+", BuildID: "17800.570.5"}
	if got := CellID(k, "modern"); got != "cos-6.1.112+-17800.570.5--modern" || CheckID(got) != nil {
		t.Errorf("%q: %v", got, CheckID(got))
	}
	for _, bad := range []string{"", ".", "..", "a/b", "a..b", "-a", "a b", "a\x00", "é", "a\n", strings.Repeat("a", 201)} {
		if CheckID(bad) == nil {
			t.Errorf("id %q was accepted", bad)
		}
	}
	if a, b := NewID(sampleStart), NewID(sampleStart); a == b || !strings.HasPrefix(a, "20261121-2200-") || CheckID(a) != nil {
		t.Errorf("%q, %q", a, b)
	}
}

// Every cause needs a word on what to do next: the taxonomy is read from its source.
func TestAdviceIsComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "cause/cause.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		v, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "Cause" {
			return true
		}
		code, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		n++
		if Advice(cause.Cause(code)) == "" {
			t.Errorf("no advice for %s", code)
		}
		return true
	})
	if n < 30 || n != len(advice) {
		t.Errorf("%d causes in the taxonomy, advice for %d", n, len(advice))
	}
}
