// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"io"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

func TestReadJournal(t *testing.T) {
	tests := []struct {
		name, text string
		events     int
		says       string // empty: no error
	}{
		{"empty", "", 0, ""},
		{"whole", `{"kind":"start"}` + "\n" + `{"kind":"finish"}` + "\n", 2, ""},
		{"torn last line", `{"kind":"start"}` + "\n" + `{"kind":"fin`, 1, ""},
		{"last line without its end", `{"kind":"start"}` + "\n" + `{"kind":"finish"}`, 1, ""},
		{"damage within", `{"kind":"start"}` + "\ngarbage\n" + `{"kind":"finish"}` + "\n", 2, "events.jsonl:2:"},
		{"a line too long", strings.Repeat("x", 3*maxLine) + "\n" + `{"kind":"finish"}` + "\n", 1, "events.jsonl:1: line longer"},
		{"much damage", strings.Repeat("garbage\n", 50), 0, "events.jsonl:3:"},
	}
	for _, tt := range tests {
		events, err := ReadJournal(strings.NewReader(tt.text))
		if len(events) != tt.events {
			t.Errorf("%s: %d events, want %d", tt.name, len(events), tt.events)
		}
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: error %v, want %q", tt.name, err, tt.says)
		}
		if err != nil && len(err.Error()) > 1000 {
			t.Errorf("%s: an error of %d bytes", tt.name, len(err.Error()))
		}
	}
}

func FuzzReadJournal(f *testing.F) {
	f.Add([]byte(`{"kind":"stage","stage":{"name":"boot","state":"pass","evidence":null}}` + "\n"))
	f.Add([]byte("\n\n{}\nnull\n[]\n\xff\xfe"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, _ := ReadJournal(strings.NewReader(string(b)))
		if lines := strings.Count(string(b), "\n"); len(events) > lines {
			t.Errorf("%d events in %d lines", len(events), lines)
		}
	})
}

// Whatever a directory holds, loading it must not panic, and what it renders must not be a pass that
// nobody recorded.
func FuzzLoad(f *testing.F) {
	const run = `{"schema":"mews/run/v1","cells":[{"id":"debian-6.1--a","declared":{"stages":["boot"],"scenarios":["attack"]}}]}`
	f.Add([]byte(run), []byte(`{"id":"debian-6.1--a","state":"pass","stages":[{"name":"boot","state":"pass"}]}`), []byte(`{"kind":"start","cell":"debian-6.1--a","name":"boot"}`+"\n"))
	f.Add([]byte(run), []byte(`{"id":"debian-6.1--a","stages":[{"name":"boot","state":"pass"}],"scenarios":[{"name":"attack","state":"pass","fired":1}]}`), []byte{})
	f.Add([]byte(`{"schema":"mews/run/v1","cells":[null,{"id":"../x"},{"id":"a","attempts":[{}],"expect":{"state":"\u0000"}}]}`), []byte(`null`), []byte(`null`))
	f.Fuzz(func(t *testing.T, runJSON, cellJSON, journal []byte) {
		r, err := load(fstest.MapFS{
			RunFile:     {Data: runJSON},
			JournalFile: {Data: journal},
			path.Join(CellsDir, "debian-6.1--a", CellFile): {Data: cellJSON},
		})
		if err != nil {
			return
		}
		if len(r.Cells) != r.Summary.Total() {
			t.Errorf("%d cells, %d counted", len(r.Cells), r.Summary.Total())
		}
		for _, c := range r.Cells {
			if c.State == cause.Pass && len(c.Stages)+len(c.Scenarios) == 0 {
				t.Errorf("cell %q passes without a record", c.ID)
			}
		}
		if len(r.Cells) == 0 && results.ExitCode(r) == results.ExitExpected {
			t.Error("a run without cells is as expected")
		}
		for _, render := range []func(io.Writer, results.Run) error{results.RenderJUnit, results.RenderSummary, results.RenderReport} {
			must(t, render(io.Discard, r))
		}
	})
}
