// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/mews-farm/mews/results/cause"
)

var update = flag.Bool("update", false, "rewrite the golden files")

type renderer func(io.Writer, Run) error

func renderers() map[string]renderer {
	return map[string]renderer{
		"junit.xml":   RenderJUnit,
		"summary.md":  RenderSummary,
		"report.html": RenderReport,
		"table.txt":   func(w io.Writer, r Run) error { return RenderTable(w, r, false) },
		"colour.txt":  func(w io.Writer, r Run) error { return RenderTable(w, r, true) },
		"run.json": func(w io.Writer, r Run) error {
			enc := json.NewEncoder(w)
			enc.SetIndent("", "  ")
			return enc.Encode(r.Settled())
		},
	}
}

func render(t *testing.T, f renderer, r Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := f(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestGolden(t *testing.T) {
	for name, f := range renderers() {
		t.Run(name, func(t *testing.T) {
			got := render(t, f, sampleRun())
			path := filepath.Join("testdata", name)
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (make it with -update)", err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got); look at it and run with -update:\n%s", path, diff)
			}
		})
	}
}

// What a guest prints stays text: no markup, no escape sequence, no change of direction.
func TestHostileText(t *testing.T) {
	banned := map[string][]string{
		"junit.xml":   {"<img", "\x1b", "\x00"},
		"summary.md":  {"<img", "\x1b", "\x00", "\u202e", "[x]", " | `rm"},
		"report.html": {"<img", "<script", "\x00", "\u202e", "href=\"javascript"},
		"table.txt":   {"\x1b", "\x00", "\u202e"},
	}
	r := sampleRun()
	for i := range r.Cells {
		r.Cells[i].Kernel.Release, r.Cells[i].Driver.Name = hostile, hostile
		r.Cells[i].Stages[0].Note = hostile
		r.Cells[i].Logs = []string{"javascript:alert(1)", hostile}
	}
	r.Profile, r.ID, r.Host.AcceleratorReason = hostile, hostile, hostile
	for name, words := range banned {
		got := render(t, renderers()[name], r)
		for _, w := range words {
			if strings.Contains(got, w) {
				t.Errorf("%s contains %q", name, w)
			}
		}
		if !utf8.ValidString(got) {
			t.Errorf("%s is not UTF-8", name)
		}
		if !strings.Contains(got, "onerror=alert(1)") {
			t.Errorf("%s has lost the text itself", name)
		}
	}
}

func TestReportIsSelfContained(t *testing.T) {
	got := render(t, RenderReport, sampleRun())
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"|url\(|@import|<link|<script`).FindAllStringSubmatch(got, -1) {
		if !strings.HasPrefix(m[1], "#") && !strings.HasPrefix(m[1], "cells/") {
			t.Errorf("the report refers to %q", m[0])
		}
	}
	ids := regexp.MustCompile(`id="(cell-[^"]*)"`).FindAllString(got, -1)
	if len(ids) != len(sampleRun().Cells) {
		t.Errorf("%d cells have an anchor, want %d", len(ids), len(sampleRun().Cells))
	}
}

// No renderer may show a run without verdicts as a good one.
func TestNothingIsNeverGreen(t *testing.T) {
	gone := sampleCell("6.1", "d")
	gone.Stages, gone.Scenarios, gone.State = nil, nil, cause.Pass
	for name, r := range map[string]Run{"no cells": {}, "a cell without a record": {Cells: []Cell{gone}}} {
		var suites junitSuites
		if err := xml.Unmarshal([]byte(render(t, RenderJUnit, r)), &suites); err != nil {
			t.Fatal(err)
		}
		if suites.Errors == 0 {
			t.Errorf("%s: junit.xml has no error", name)
		}
		for _, f := range []string{"summary.md", "report.html", "table.txt"} {
			if got := render(t, renderers()[f], r); !strings.Contains(got, "verdicts lacking") || strings.Contains(got, "all as expected") {
				t.Errorf("%s: %s does not say that verdicts are lacking", name, f)
			}
		}
	}
}

// The shape that Jenkins' junit plugin accepts: elements with their attributes and children, in its schema's order.
func TestJUnitShape(t *testing.T) {
	attrs := map[string][]string{
		"testsuites": {"name", "tests", "failures", "errors", "time", "disabled"},
		"testsuite":  {"name", "tests", "failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
		"properties": {}, "property": {"name", "value"},
		"testcase": {"name", "assertions", "time", "classname", "status"},
		"skipped":  {"message"}, "error": {"type", "message"}, "failure": {"type", "message"},
	}
	children := map[string][]string{
		"": {"testsuites"}, "testsuites": {"testsuite"}, "testsuite": {"properties", "testcase"},
		"properties": {"property"}, "testcase": {"skipped", "error", "failure"},
	}
	dec := xml.NewDecoder(strings.NewReader(render(t, RenderJUnit, sampleRun())))
	path := []string{""}
	counts := map[string]int{}
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			name := e.Name.Local
			if parent := path[len(path)-1]; !slices.Contains(children[parent], name) {
				t.Errorf("<%s> within <%s>", name, parent)
			}
			for _, a := range e.Attr {
				if !slices.Contains(attrs[name], a.Name.Local) {
					t.Errorf("<%s %s=>", name, a.Name.Local)
				}
			}
			counts[name]++
			path = append(path, name)
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
	var suites junitSuites
	if err := xml.Unmarshal([]byte(render(t, RenderJUnit, sampleRun())), &suites); err != nil {
		t.Fatal(err)
	}
	skipped := 0
	for _, s := range suites.Suites {
		skipped += s.Skipped
	}
	if counts["testcase"] != suites.Tests || counts["failure"] != suites.Failures || counts["error"] != suites.Errors || counts["skipped"] != skipped {
		t.Errorf("counted %v, the attributes say %d tests, %d failures, %d errors, %d skipped", counts, suites.Tests, suites.Failures, suites.Errors, skipped)
	}
	// Six cases for each of the seven cells.
	if suites.Tests != 42 {
		t.Errorf("%d cases, want 42", suites.Tests)
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("run.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("run.schema.json")
}

func TestSchema(t *testing.T) {
	schema := compileSchema(t)
	validate := func(change func(map[string]any)) error {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, renderers()["run.json"], sampleRun())))
		if err != nil {
			t.Fatal(err)
		}
		change(doc.(map[string]any))
		return schema.Validate(doc)
	}
	cell := func(doc map[string]any) map[string]any { return doc["cells"].([]any)[4].(map[string]any) }
	stage := func(doc map[string]any) map[string]any { return cell(doc)["stages"].([]any)[0].(map[string]any) }
	if err := validate(func(map[string]any) {}); err != nil {
		t.Fatalf("a real run does not validate: %v", err)
	}
	for name, change := range map[string]func(map[string]any){
		"another schema":       func(d map[string]any) { d["schema"] = "mews/run/v2" },
		"no cells":             func(d map[string]any) { delete(d, "cells") },
		"null evidence":        func(d map[string]any) { stage(d)["evidence"] = nil },
		"a fail without fault": func(d map[string]any) { stage(d)["fault"] = "" },
		"a fail without cause": func(d map[string]any) { cell(d)["cause"] = "" },
		"a pass with a cause":  func(d map[string]any) { stage(d)["state"] = "pass" },
		"an unknown state":     func(d map[string]any) { cell(d)["state"] = "green" },
		"a path for an id":     func(d map[string]any) { cell(d)["id"] = "../x" },
		"no declaration":       func(d map[string]any) { delete(cell(d), "declared") },
		"a date in words":      func(d map[string]any) { d["started"] = "yesterday" },
	} {
		if validate(change) == nil {
			t.Errorf("%s validates", name)
		}
	}
}

// Readers may ignore unknown keys, so the schema allows them; but every key that we write must be described.
func TestSchemaDescribesEveryKey(t *testing.T) {
	var doc, run map[string]any
	if err := json.Unmarshal([]byte(Schema()), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(render(t, renderers()["run.json"], sampleRun())), &run); err != nil {
		t.Fatal(err)
	}
	defs := doc["$defs"].(map[string]any)
	var walk func(where string, schema map[string]any, v any)
	walk = func(where string, schema map[string]any, v any) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
		}
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(where+"[]", schema["items"].(map[string]any), e)
			}
		case map[string]any:
			props, ok := schema["properties"].(map[string]any)
			if !ok {
				return
			}
			for k, e := range v {
				p, ok := props[k].(map[string]any)
				if !ok {
					t.Errorf("%s.%s is not in the schema", where, k)
					continue
				}
				walk(where+"."+k, p, e)
			}
		}
	}
	walk("run", doc, run)
}

func TestJSONRoundTrip(t *testing.T) {
	first := render(t, renderers()["run.json"], sampleRun())
	var r Run
	if err := json.Unmarshal([]byte(first), &r); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, render(t, renderers()["run.json"], r)); diff != "" {
		t.Error(diff)
	}
	for _, v := range []any{Run{}, Cell{}, Stage{}, Scenario{}} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("null")) {
			t.Errorf("%T writes null: %s", v, b)
		}
	}
}

func TestManyScenariosGetShortColumns(t *testing.T) {
	c := sampleCell("6.1", "d")
	for _, n := range []string{"c", "d"} {
		c.Declared.Scenarios = append(c.Declared.Scenarios, n)
		c.Scenarios = append(c.Scenarios, passedScenario(n))
	}
	got := render(t, renderers()["table.txt"], Run{Cells: []Cell{c}})
	if !strings.Contains(got, "S1   S2   S3   S4") || !strings.Contains(got, "S2 openat2-read-sensitive") {
		t.Error(got)
	}
}

func TestBounded(t *testing.T) {
	lines := make([]string, 100)
	for i := range lines {
		lines[i] = strings.Repeat("é", 3000)
	}
	s := Stage{Finding: finding(cause.Fail, cause.CompileError, cause.FaultDriver, lines...)}.Bounded()
	if len(s.Evidence) != maxEvidence+1 || s.Evidence[maxEvidence].Text != "(60 more lines are in the logs)" {
		t.Errorf("%d lines, the last %q", len(s.Evidence), s.Evidence[len(s.Evidence)-1].Text)
	}
	if got := s.Evidence[0].Text; len(got) > maxText+3 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
	fields := map[string]string{"evt.args": lines[0]}
	if sc := (Scenario{Fields: fields}).Bounded(); len(sc.Fields["evt.args"]) > maxText+3 || len(fields["evt.args"]) != len(lines[0]) {
		t.Error("fields are not bounded, or bounded in the caller's map")
	}
}
