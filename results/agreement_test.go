// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/mews-farm/mews/results/cause"
)

// twoDrivers is a run of two cells on one kernel, both of which pass.
func twoDrivers() Run {
	a, b := sampleCell("6.1.0-56-cloud-amd64", "falco-kmod"), sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
	for i := range a.Scenarios {
		a.Scenarios[i].DeedID, b.Scenarios[i].DeedID = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
		for _, s := range []*Scenario{&a.Scenarios[i], &b.Scenarios[i]} {
			s.Fields = maps.Clone(s.Fields)
			s.Fields["proc.exepath"] = "/tmp/" + s.DeedID
			s.Fields["evt.type"] = "execve"
			s.Fields["proc.name"] = ("mews-dropped-" + s.DeedID)[:15] // as the kernel cuts it
		}
	}
	return Run{Cells: []Cell{a, b}}
}

func TestAgreement(t *testing.T) {
	silent := func(s *Scenario) {
		s.Fired, s.Fields = 0, nil
		s.Finding = finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, "silent")
	}
	names := func(a, b string) func(_, _ *Scenario) {
		return func(x, y *Scenario) { x.Fields["fd.name"], y.Fields["fd.name"] = a, b }
	}
	for _, c := range []struct {
		name   string
		change func(a, b *Scenario)
		want   string // in the evidence of both cells; "" when they agree
	}{
		{"the same but for the deed's id", func(_, _ *Scenario) {}, ""},
		{"one is silent", func(_, b *Scenario) { silent(b) }, `"silent"`},
		{"both are silent", func(a, b *Scenario) { silent(a); silent(b) }, ""},
		{"a silence that proves nothing", func(_, b *Scenario) {
			silent(b)
			b.Finding = finding(cause.Error, cause.EventDrops, cause.FaultInfra, "lost")
		}, ""},
		{"unsupported there", func(_, b *Scenario) {
			silent(b)
			b.Finding = finding(cause.Unsupported, cause.SyscallMissing, cause.FaultKernel, "ENOSYS")
		}, ""},
		{"another path", func(_, b *Scenario) { b.Fields["proc.exepath"] = "/usr/bin/ls" }, `"/usr/bin/ls"`},
		{"no path at all", func(_, b *Scenario) { delete(b.Fields, "proc.exepath") }, "proc.exepath"},
		{"another name", func(_, b *Scenario) { b.Fields["proc.name"] = "mews-drooped-bb" }, "mews-drooped-"},
		{"another event", func(a, _ *Scenario) { a.Fields["evt.type"] = "execveat" }, `"execveat"`},
		{"another layer", func(a, _ *Scenario) { a.Fields["proc.is_exe_upper_layer"] = "false" }, "proc.is_exe_upper_layer"},
		{"a layer that one was not asked for", func(a, _ *Scenario) { delete(a.Fields, "proc.is_exe_upper_layer") }, ""},
		{"host here, container there", func(a, b *Scenario) { a.Fields[FieldContext], b.Fields[FieldContext] = "host", "container" }, `"container"`},
		{"the twin fired there", func(_, b *Scenario) {
			b.TwinFired = 1
			b.Finding = finding(cause.Fail, cause.RuleFalseAlarm, cause.FaultDriver, "false alarm")
		}, "rule for the twin"},
		{"another port that the kernel chose", names("127.0.0.1:32768->127.0.0.10:443", "127.0.0.1:60999->127.0.0.10:443"), ""},
		{"another port of the server", names("127.0.0.1:39692->127.0.0.10:443", "127.0.0.1:35406->127.0.0.10:444"), "10:444"},
		{"a port of the client's that nobody chose", names("127.0.0.1:32767->127.0.0.10:443", "127.0.0.1:39692->127.0.0.10:443"), "1:32767"},
		{"another client", names("[::1]:39692->[::1]:443", "[::2]:35406->[::1]:443"), "[::2]"},
		{"a client by IPv6", names("::1:39692->::1:443", "::1:35406->::1:443"), ""},
		{"the ends changed about", names("127.0.0.1:39692->127.0.0.1:443", "127.0.0.1:443->127.0.0.1:39692"), ":443->127.0.0.1:39692"},
		{"a field that nobody must agree in", func(a, _ *Scenario) { a.Fields["proc.pid"] = "7" }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := twoDrivers()
			c.change(&r.Cells[0].Scenarios[0], &r.Cells[1].Scenarios[0])
			r = r.Settled()
			for _, cell := range r.Cells {
				switch {
				case c.want == "" && len(cell.Disagreements) > 0:
					t.Errorf("%s: %+v", cell.ID, cell.Disagreements)
				case c.want == "":
				case len(cell.Disagreements) != 1:
					t.Errorf("%s has %d disagreements", cell.ID, len(cell.Disagreements))
				case !strings.Contains(evidenceText(cell.Disagreements[0].Finding), c.want):
					t.Errorf("%s: %q is not in %s", cell.ID, c.want, evidenceText(cell.Disagreements[0].Finding))
				case cell.State != cause.Fail:
					t.Errorf("%s is %s", cell.ID, cell.State)
				}
			}
			if agree := len(Agreements(r)) == 0 || len(Agreements(r)[0].Groups) == 1; agree != (c.want == "") {
				t.Errorf("the table says %+v", Agreements(r))
			}
		})
	}
}

func evidenceText(f cause.Finding) string {
	var b strings.Builder
	for _, e := range f.Evidence {
		b.WriteString(e.String() + "\n")
	}
	return b.String()
}

// A file cannot claim, or hide, a disagreement; and cells of other kernels have nothing to agree in.
func TestAgreementIsDerived(t *testing.T) {
	r := twoDrivers()
	r.Cells[0].Disagreements = []Disagreement{{Scenario: "x", With: "y", Finding: finding(cause.Fail, cause.VariantDisagreement, cause.FaultDriver, "no")}}
	if got := r.Settled().Cells[0]; len(got.Disagreements) != 0 || got.State != cause.Pass {
		t.Errorf("a claimed disagreement stands: %+v", got)
	}
	r.Cells[1].Scenarios[0].Fields["proc.exepath"] = "/other"
	r.Cells[1].Kernel.Release = "5.10.0-46-cloud-amd64"
	if got := r.Settled().Cells[0]; len(got.Disagreements) != 0 {
		t.Errorf("cells of two kernels disagree: %+v", got.Disagreements)
	}
}

// A driver that is known to be bad disagrees, and its neighbour is not blamed; unless it failed for another reason than
// the foreseen one.
func TestForeseenDisagreement(t *testing.T) {
	for expected, blamed := range map[cause.Cause]bool{cause.RuleSilent: false, cause.CORERelocation: true} {
		r := twoDrivers()
		bad := &r.Cells[1]
		bad.Expect = &Expect{State: cause.Fail, Cause: expected}
		bad.Scenarios[0].Fired, bad.Scenarios[0].Fields = 0, nil
		bad.Scenarios[0].Finding = finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, "silent")
		r = r.Settled()
		if got := r.Cells[0].State == cause.Fail; got != blamed {
			t.Errorf("expected %s: the good driver is blamed: %v, want %v", expected, got, blamed)
		}
		if len(r.Cells[0].Disagreements) != 1 || len(r.Cells[1].Disagreements) != 1 {
			t.Errorf("expected %s: the disagreement is not in both cells", expected)
		}
		if r.Cells[1].Cause != cause.RuleSilent {
			t.Errorf("the bad cell's cause is %s", r.Cells[1].Cause)
		}
		if want := map[bool]int{true: ExitFellShort, false: ExitExpected}[blamed]; ExitCode(r) != want {
			t.Errorf("expected %s: exit %d, want %d", expected, ExitCode(r), want)
		}
	}
}

// One fault that was foreseen excuses no other of the same driver, neither in its exit code nor to its neighbours.
func TestForeseenExcusesNothingElse(t *testing.T) {
	for name, tc := range map[string]struct {
		second cause.Finding
		fired  int
		exit   int
		blamed bool
	}{
		"nothing else":   {cause.Finding{State: cause.Pass}, 1, ExitExpected, false},
		"also silent":    {finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, "the other rule"), 0, ExitFellShort, true},
		"also unproven":  {finding(cause.Error, cause.EventDrops, cause.FaultHarness, "lost"), 0, ExitLacking, false},
		"also not there": {NotRecorded(cause.Text("not recorded")...), 0, ExitLacking, false},
	} {
		r := twoDrivers()
		for i := range r.Cells {
			other := r.Cells[i].Scenarios[0]
			other.Name, other.Fields = "other", maps.Clone(other.Fields)
			r.Cells[i].Scenarios = append(r.Cells[i].Scenarios, other)
		}
		bad := &r.Cells[1]
		bad.Expect = &Expect{State: cause.Fail, Cause: cause.RuleSilent, Evidence: "foreseen"}
		bad.Scenarios[0].Fired, bad.Scenarios[0].Fields = 0, nil
		bad.Scenarios[0].Finding = finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, "foreseen")
		bad.Scenarios[1].Finding = tc.second
		if bad.Scenarios[1].Fired = tc.fired; tc.fired == 0 {
			bad.Scenarios[1].Fields = nil
		}
		r = r.Settled()
		if got := ExitCode(r); got != tc.exit {
			t.Errorf("%s: exit %d, want %d", name, got, tc.exit)
		}
		if got := r.Cells[0].State == cause.Fail; got != tc.blamed {
			t.Errorf("%s: the good driver is blamed: %v", name, got)
		}
	}
}

func TestAgreementIsShown(t *testing.T) {
	r := twoDrivers()
	r.Cells[1].Scenarios[0].Fields["proc.exepath"] = "/usr/bin/ls"
	var table, summary, report bytes.Buffer
	for _, err := range []error{RenderTable(&table, r, false), RenderSummary(&summary, r), RenderReport(&report, r)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"VARIANT_DISAGREEMENT", "DIFFER", "falco-kmod | mews-modern"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	for name, text := range map[string]string{"summary": summary.String(), "report": report.String()} {
		for _, want := range []string{"Agreement", "/usr/bin/ls"} {
			if !strings.Contains(text, want) {
				t.Errorf("the %s lacks %q", name, want)
			}
		}
	}
}
