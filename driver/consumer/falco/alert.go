// SPDX-License-Identifier: Apache-2.0

package falco

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/results/cause"
)

// alert is one line of Falco's JSON output.
type alert struct {
	Rule   string         `json:"rule"`
	Time   time.Time      `json:"time"`
	Fields map[string]any `json:"output_fields"`

	notJSON bool
}

// parseAlert reads a line. Falco prints its banner as plain text before the first alert: a line that does not begin an
// object is none, and no error.
func parseAlert(line []byte) (alert, error) {
	if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("{")) {
		return alert{notJSON: true}, nil
	}
	var a alert
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber() // counters and times do not fit a float64
	if err := d.Decode(&a); err != nil {
		return a, fmt.Errorf("not an alert of Falco: %.200q: %w", line, err)
	}
	if a.Rule == "" || a.Time.IsZero() {
		return a, fmt.Errorf("an alert of Falco without a rule or a time: %.200q", line)
	}
	return a, nil
}

// internal reports whether Falco speaks of itself: such an alert is never a hit.
func (a alert) internal() bool { return strings.HasPrefix(a.Rule, "Falco internal:") }

// match is the alert with the fields that the watch asks for. One that is null or "<NA>" is one the event does not have.
func (a alert) match(fields []string) consumer.Match {
	m := consumer.Match{Watch: a.Rule, Time: a.Time.UTC(), Fields: map[string]string{}}
	for name, v := range a.Fields {
		if !slices.Contains(fields, name) {
			continue
		}
		if text := fieldText(v); text != "" && text != "<NA>" {
			m.Fields[name] = text
		}
	}
	return m
}

func fieldText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "" // what json decoded it can encode
	}
	return string(text)
}

// snapshot is what Falco's counters said at a moment.
type snapshot struct {
	taken         time.Time
	events, drops uint64
	by            map[string]uint64
}

// The counters of a metrics snapshot. Those of drops by category sum up to the first, and to more than it where one
// event counts in two.
const (
	countEvents = "scap.n_evts"
	countDrops  = "scap.n_drops"
)

func (a alert) snapshot() (snapshot, bool) {
	if a.Rule != "Falco internal: metrics snapshot" {
		return snapshot{}, false
	}
	s := snapshot{taken: a.Time, by: map[string]uint64{}}
	events, okEvents := counter(a.Fields[countEvents])
	drops, okDrops := counter(a.Fields[countDrops])
	s.events, s.drops = events, drops
	for name, v := range a.Fields {
		category, ok := strings.CutPrefix(name, "scap.n_drops_")
		if n, isCount := counter(v); ok && isCount && n > 0 && !strings.HasSuffix(category, "_total") {
			s.by[category] = n
		}
	}
	return s, okEvents && okDrops
}

// drops are the events that an alert about lost events tells of.
func (a alert) drops() uint64 {
	if a.Rule != "Falco internal: syscall event drop" {
		return 0
	}
	n, ok := counter(a.Fields["n_drops"])
	if !ok {
		return 1 // it says that some were lost
	}
	return n
}

func counter(v any) (uint64, bool) {
	n, err := strconv.ParseUint(fieldText(v), 10, 64)
	return n, err == nil
}

// rulesFile is the watches in Falco's rule language.
func rulesFile(watches []consumer.Watch) ([]byte, error) {
	type rule struct {
		Rule      string `yaml:"rule"`
		Desc      string `yaml:"desc"`
		Condition string `yaml:"condition"`
		Output    string `yaml:"output"`
		Priority  string `yaml:"priority"`
		Source    string `yaml:"source"`
	}
	var rules []rule
	for _, w := range watches {
		if w.Name == "" || strings.HasPrefix(w.Name, "Falco internal:") || slices.ContainsFunc(rules, func(r rule) bool { return r.Rule == w.Name }) {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%q cannot be the name of a watch, or is that of two", w.Name)
		}
		var output strings.Builder
		output.WriteString("mews")
		for _, f := range w.Fields {
			output.WriteString(" %" + f)
		}
		rules = append(rules, rule{w.Name, "a watch of mews", w.Condition, output.String(), "CRITICAL", "syscall"})
	}
	return yaml.Marshal(rules)
}

// classify says why Falco ended by itself, from its last words.
func classify(text, state string) *cause.Err {
	for _, c := range []struct {
		says  string
		cause cause.Cause
		what  string
	}{
		{"invalid CO-RE relocation", cause.CORERelocation, "Falco's probe reads a type or a field that this kernel lacks"},
		{"ring buffer map type is not supported", cause.UnsupportedMapType, "this kernel has no ring buffer, which Falco's probe needs"},
		{"prog 'BPF_TRACE_RAW_TP' is not supported", cause.UnsupportedProgramType, "this kernel lacks a type of program that Falco's probe needs"},
		{"version supported by scap", cause.APISchemaMismatch, "Falco refuses the driver for its API or schema version"},
		{"failed to load BPF object", cause.VerifierRejection, "the kernel refused Falco's probe"},
	} {
		if strings.Contains(text, c.says) {
			return cause.Failf(c.cause, cause.FaultDriver, "%s", c.what).With(evidence(text)...)
		}
	}
	return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "Falco ended by itself: %s", state).With(evidence(text)...).
		Advise("a rule, an option or a library that this Falco does not know, or no driver: its own words are in the evidence")
}
