// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// sample is one log of the corpus and what its recipe, which a person wrote, says that it means.
type sample struct {
	name, want string // want is cause/fault
	evidence   []string
	log        string
	facts      Facts
}

// corpus reads the recipes and what came of them; ./corpus makes them.
func corpus(t *testing.T) []sample {
	t.Helper()
	var doc struct {
		Recipes []struct {
			Name, Want, Published string
			Evidence              []string
		}
	}
	decode(t, "testdata/recipes.yaml", yaml.Unmarshal, &doc)
	var ends map[string]struct {
		ExitCode       int  `json:"exit_code"`
		Signal         int  `json:"signal"`
		TimedOut       bool `json:"timed_out"`
		Source         string
		Compiler       string
		KernelCompiler string `json:"kernel_compiler"`
	}
	decode(t, "testdata/corpus/ended.json", json.Unmarshal, &ends)
	var out []sample
	for _, r := range doc.Recipes {
		log, err := os.ReadFile("testdata/corpus/" + r.Name + ".log")
		if err != nil {
			t.Fatal(err)
		}
		end, ok := ends[r.Name]
		if !ok && r.Published == "" {
			t.Fatalf("%s: how it ended is not recorded", r.Name)
		}
		s := sample{r.Name, r.Want, r.Evidence, string(log), Facts{
			ExitCode: end.ExitCode, Killed: end.Signal == int(syscall.SIGKILL) && !end.TimedOut, LogName: "build.log",
			Source: end.Source, Compiler: end.Compiler, KernelCompiler: end.KernelCompiler,
		}}
		if end.TimedOut {
			s.facts.TimedOut = 2 * time.Second
		}
		out = append(out, s)
	}
	return out
}

func decode(t *testing.T, file string, unmarshal func([]byte, any) error, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// matrix counts what came (second key) of what was to come (first key).
type matrix map[string]map[string]int

// String shows only what is not zero: with some ten classes the rest is dots.
func (m matrix) String() string {
	var classes []string
	for want, row := range m {
		classes = append(classes, want)
		classes = append(classes, slices.Collect(maps.Keys(row))...)
	}
	slices.Sort(classes)
	classes = slices.Compact(classes)
	var b strings.Builder
	fmt.Fprintf(&b, "%-30s", "expected \\ got")
	for i := range classes {
		fmt.Fprintf(&b, "%4d", i+1)
	}
	for i, want := range classes {
		fmt.Fprintf(&b, "\n%2d %-27s", i+1, want)
		for _, got := range classes {
			if n := m[want][got]; n > 0 {
				fmt.Fprintf(&b, "%4d", n)
			} else {
				b.WriteString("   .")
			}
		}
	}
	return b.String()
}

// judge classifies all samples by some of the patterns and says what is wrong.
func judge(samples []sample, by []pattern) (m matrix, wrong []string) {
	m = matrix{}
	for _, s := range samples {
		err := read(strings.NewReader(s.log), s.facts, by)
		got := fmt.Sprintf("%s/%s", err.Cause, err.Fault)
		if m[s.want] == nil {
			m[s.want] = map[string]int{}
		}
		m[s.want][got]++
		var lines []string
		for _, ev := range err.Evidence {
			lines = append(lines, ev.String())
		}
		evidence := strings.Join(lines, "\n")
		if got != s.want {
			wrong = append(wrong, fmt.Sprintf("%s: %s, want %s: %+v", s.name, got, s.want, err))
		}
		for _, e := range s.evidence {
			if !strings.Contains(evidence, e) {
				wrong = append(wrong, fmt.Sprintf("%s: no %q in the evidence:\n%s", s.name, e, evidence))
			}
		}
	}
	return m, wrong
}

func TestCorpus(t *testing.T) {
	samples := corpus(t)
	m, wrong := judge(samples, patterns)
	t.Logf("%d logs\n%s", len(samples), m)
	for _, w := range wrong {
		t.Error(w)
	}
	if len(samples) < 40 {
		t.Errorf("%d logs: fewer than were promised", len(samples))
	}
	logs, err := filepath.Glob("testdata/corpus/*.log")
	if err != nil || len(logs) != len(samples) {
		t.Errorf("%d logs for %d recipes: %v", len(logs), len(samples), err)
	}
	for _, s := range samples {
		if strings.Contains(s.log, "/root/") || strings.Contains(s.log, ".cache/") {
			t.Errorf("%s names a path of the machine that made it", s.name)
		}
	}
}

// Each pattern is there because a real log needs it: without it a verdict or a piece of evidence goes wrong.
func TestEachPatternIsNeeded(t *testing.T) {
	samples := corpus(t)
	for i, p := range patterns {
		// The verdict of a log that has no such line cannot change.
		with := slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return !p.in(s) })
		if _, wrong := judge(with, slices.Delete(slices.Clone(patterns), i, i+1)); len(wrong) == 0 {
			t.Errorf("nothing changes without pattern %d, %s", i, p.re)
		}
	}
}

// marked is a line as the patterns see it.
func (s sample) marked(line string) string {
	if s.facts.Source == "" {
		return line
	}
	return strings.ReplaceAll(line, s.facts.Source+"/", own)
}

// in tells whether a line of the log matches p.
func (p pattern) in(s sample) bool {
	for line := range strings.Lines(plain.Replace(s.log)) {
		if p.re.MatchString(s.marked(strings.TrimSpace(line))) {
			return true
		}
	}
	return false
}

// The words of the cheap look let every match of a pattern pass, and none is there for nothing.
func TestTelling(t *testing.T) {
	needed := map[string]bool{}
	for _, s := range corpus(t) {
		for line := range strings.Lines(s.log) {
			line = s.marked(plain.Replace(line))
			if !slices.ContainsFunc(patterns, func(p pattern) bool { return p.re.MatchString(line) }) {
				continue
			}
			in := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return !strings.Contains(line, w) })
			if len(in) == 0 {
				t.Errorf("%s: not telling: %s", s.name, line)
			}
			for _, w := range in {
				needed[w] = true
			}
		}
	}
	for _, w := range words {
		if !needed[w] {
			t.Errorf("no line needs the word %q", w)
		}
	}
}
