// SPDX-License-Identifier: Apache-2.0

// Command testreport reads the files named, each the output of a `go test -json` ("-": its input), and says what ran, what
// failed, and what was skipped and why.
//
// It exits 1 when a test failed, when nothing ran, and, with -strict, when a test was skipped for a reason that the
// file of allowed skips does not explain: a test that did not run is not one that passed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/internal/suite"
)

func main() {
	strict := flag.String("strict", "", "file of allowed skips, one regular expression a line; any other skip fails")
	flag.Parse()
	allowed, err := load(*strict)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(2)
	}
	t := newTally()
	for _, name := range flag.Args() {
		if err := t.file(name); err != nil {
			fmt.Fprintln(os.Stderr, "testreport:", err)
			os.Exit(2)
		}
	}
	os.Exit(t.print(os.Stdout, *strict != "", allowed))
}

// load reads the allowed reasons; a # starts a comment.
func load(file string) ([]*regexp.Regexp, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var out []*regexp.Regexp
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		re, err := regexp.Compile(line)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		out = append(out, re)
	}
	return out, nil
}

type event struct {
	Action, Package, Test, Output string
	ImportPath, FailedBuild       string // of build-output, and of the failure that it explains
	Elapsed                       float64
}

type key struct{ pkg, test string }

type tally struct {
	passed  int
	failed  []key
	before  int // how many of them are of earlier streams
	skipped []skip
	broken  []string         // packages that failed without a failed test: did not build, timed out, crashed
	output  map[key][]string // of what has not passed
	slow    []event          // packages, with their seconds
}

type skip struct {
	key
	reason string
}

func newTally() *tally { return &tally{output: map[key][]string{}} }

func (t *tally) file(name string) error {
	if name == "-" {
		return t.read(os.Stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.read(f)
}

// read adds one stream. A package may be in several, with some of its tests in each.
func (t *tally) read(r io.Reader) error {
	t.before = len(t.failed)
	s := bufio.NewScanner(r)
	s.Buffer(nil, 64<<20)
	for s.Scan() {
		var e event
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			return fmt.Errorf("not the output of go test -json: %w: %.80s", err, s.Bytes())
		}
		t.add(e)
	}
	return s.Err()
}

func (t *tally) add(e event) {
	k := key{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		t.output[key{pkg: e.ImportPath}] = append(t.output[key{pkg: e.ImportPath}], e.Output)
	case "output":
		t.output[k] = append(t.output[k], e.Output)
		if line, ok := strings.CutPrefix(e.Output, suite.Marker); ok {
			t.spec(e.Package, line)
		}
	case "pass":
		if e.Test != "" {
			t.passed++
			delete(t.output, k)
		} else {
			t.slow = append(t.slow, e)
		}
	case "skip":
		if e.Test != "" {
			t.skipped = append(t.skipped, skip{k, reason(t.output[k])})
		}
	case "fail":
		if e.Test != "" {
			t.failed = append(t.failed, k)
		} else if !slices.ContainsFunc(t.failed[t.before:], func(f key) bool { return f.pkg == e.Package }) {
			t.broken = append(t.broken, e.Package)
			t.output[k] = append(t.output[key{pkg: e.FailedBuild}], t.output[k]...)
		}
	}
}

func (t *tally) spec(pkg, line string) {
	var s suite.Spec
	if json.Unmarshal([]byte(line), &s) != nil {
		return // a spec's own output that only looks like a report
	}
	switch k := (key{pkg, s.Text}); s.State {
	case "passed":
		t.passed++
	case "skipped":
		t.skipped = append(t.skipped, skip{k, s.Reason})
	}
}

// reason picks the line of t.Skip out of a test's output: "    file_test.go:12: reason".
func reason(output []string) string {
	for _, l := range slices.Backward(output) {
		l = strings.TrimSpace(l)
		if l != "" && !strings.HasPrefix(l, "---") && !strings.HasPrefix(l, "===") {
			return l
		}
	}
	return "no reason given"
}

// print writes the report and returns the exit code.
func (t *tally) print(w io.Writer, strict bool, allowed []*regexp.Regexp) int {
	rc := 0
	for _, k := range t.failed {
		fmt.Fprintf(w, "FAILED %s %s\n%s\n", k.pkg, k.test, strings.Join(t.output[k], ""))
	}
	for _, p := range t.broken {
		fmt.Fprintf(w, "FAILED %s\n%s\n", p, strings.Join(t.output[key{pkg: p}], ""))
	}
	for _, s := range t.skipped {
		explained := slices.ContainsFunc(allowed, func(re *regexp.Regexp) bool { return re.MatchString(s.reason) })
		verdict := ""
		if strict && !explained {
			verdict, rc = " (not an allowed reason: this run fails)", 1
		}
		fmt.Fprintf(w, "SKIPPED %s %s: %s%s\n", s.pkg, s.test, s.reason, verdict)
	}
	slices.SortFunc(t.slow, func(a, b event) int { return int(1000 * (b.Elapsed - a.Elapsed)) })
	for _, e := range t.slow[:min(5, len(t.slow))] {
		fmt.Fprintf(w, "%7.1f s  %s\n", e.Elapsed, e.Package)
	}
	failed := len(t.failed) + len(t.broken)
	if failed > 0 {
		rc = 1
	}
	if t.passed == 0 {
		fmt.Fprintln(w, "no test ran: that is a failure")
		rc = 1
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", t.passed, failed, len(t.skipped))
	return rc
}
