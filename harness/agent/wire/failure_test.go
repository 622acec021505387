// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

func TestRoundTrip(t *testing.T) {
	sent := cause.Failf(cause.UnknownSymbol, cause.FaultDriver, "module %s: %w", "scap", errors.New("no such file")).
		With(cause.Evidence{File: "dmesg.log", Line: 3, Text: "scap: Unknown symbol \xff"}).Advise("build it again")
	got, ok := wire.FailureOf(wire.Status(fmt.Errorf("load: %w", sent)))
	if !ok {
		t.Fatal("no failure arrived")
	}
	if got.Error() != sent.Error() {
		t.Errorf("got %q, want %q", got, sent)
	}
	want := cause.Finding{State: cause.Fail, Cause: cause.UnknownSymbol, Fault: cause.FaultDriver,
		Evidence: []cause.Evidence{{File: "dmesg.log", Line: 3, Text: "scap: Unknown symbol \uFFFD"}}}
	if !reflect.DeepEqual(got.Finding, want) {
		t.Errorf("got %+v, want %+v", got.Finding, want)
	}
	if wire.Status(nil) != nil {
		t.Error("no error became one")
	}
	if _, ok := wire.FailureOf(errors.New("plain")); ok {
		t.Error("a plain error carries a failure")
	}
	if got, _ := wire.FailureOf(wire.Status(errors.New("plain"))); got == nil || got.Cause != cause.Internal || got.What != "plain" {
		t.Errorf("an error without a finding arrives as %+v", got)
	}
}

// A guest must not be able to talk itself into a pass, nor into a record that cannot be stored.
func TestErrOfHostile(t *testing.T) {
	ok := func() *wire.Failure { return &wire.Failure{State: "fail", Cause: "RULE_SILENT", Fault: "driver"} }
	for name, change := range map[string]func(*wire.Failure){
		"pass":     func(f *wire.Failure) { f.State, f.Cause, f.Fault = "pass", "", "" },
		"missing":  func(f *wire.Failure) { f.State = "missing" },
		"state":    func(f *wire.Failure) { f.State = "superb" },
		"no fault": func(f *wire.Failure) { f.Fault = "" },
		"no cause": func(f *wire.Failure) { f.Cause = "" },
		"markup":   func(f *wire.Failure) { f.Cause = "<script>" },
		"long":     func(f *wire.Failure) { f.Cause = strings.Repeat("A", 100) },
	} {
		f := ok()
		change(f)
		if e := wire.ErrOf(f); e.State != cause.Error || e.Cause != cause.Internal || e.Check() != nil {
			t.Errorf("%s: %+v", name, e.Finding)
		}
	}
	f := ok()
	f.What = strings.Repeat("x", 1<<20)
	for range 10000 {
		f.Evidence = append(f.Evidence, &wire.Evidence{Text: f.What})
	}
	if e := wire.ErrOf(f); e.Cause != cause.RuleSilent || len(e.Error()) > 8<<10 || len(e.Evidence) > 200 || len(e.Evidence[0].Text) > 4<<10 {
		t.Errorf("a failure of %d lines of evidence is kept whole", len(f.Evidence))
	}
}
