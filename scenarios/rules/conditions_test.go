// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// verdicts are a line of testdata/conditions.txt.
type verdicts struct {
	ours, sysdig041, sysdig029 bool
	cond, differs              string
}

func conditions(t testing.TB) []verdicts {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "conditions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var out []verdicts
	reason := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if text, is := strings.CutPrefix(line, "# differs: "); is {
			reason = text
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		if len(line) < 7 || strings.Trim(line[:6], "+- ") != "" {
			t.Fatalf("no line of conditions.txt: %q", line)
		}
		out = append(out, verdicts{line[0] == '+', line[2] == '+', line[4] == '+', line[6:], reason})
		reason = ""
	}
	if len(out) < 150 {
		t.Fatalf("%d conditions", len(out))
	}
	return out
}

// read is what this package says of a condition for sysdig 0.41.
func read(cond string) (Expr, error) {
	e, err := Parse(cond)
	if err != nil {
		return nil, err
	}
	if err := sound(e, Sysdig041.Fields); err != nil {
		return nil, err
	}
	return e, nil
}

func TestConditions(t *testing.T) {
	for _, c := range conditions(t) {
		e, err := read(c.cond)
		if (err == nil) != c.ours {
			t.Errorf("%s: %v", c.cond, err)
		}
		if (c.ours != c.sysdig041) != (c.differs != "") {
			t.Errorf("%s: says %q of a difference", c.cond, c.differs)
		}
		if err == nil {
			roundTrip(t, e)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct{ cond, sysdig041, sysdig029 string }{
		{`proc.name = a and proc.pid = 1 or proc.pid = 2`, `proc.name = a and proc.pid = 1 or proc.pid = 2`, `(proc.name = a and proc.pid = 1) or proc.pid = 2`},
		{`not (proc.name = a or proc.pid = 1 and proc.pid = 2)`, `not (proc.name = a or proc.pid = 1 and proc.pid = 2)`, `not (proc.name = a or (proc.pid = 1 and proc.pid = 2))`},
		{`proc.name = a and (proc.pid = 1 or proc.pid = 2)`, `proc.name = a and (proc.pid = 1 or proc.pid = 2)`, `proc.name = a and (proc.pid = 1 or proc.pid = 2)`},
		{`proc.name in ("a b", c)`, `proc.name in ("a b", c)`, `proc.name in ("a b", c)`},
		{`proc.name = "a\tb"`, `proc.name = "a\tb"`, `condition:1:1: sysdig 0.29 has no way to write the values of proc.name`},
		{`proc.pid = 1 and proc.name regex a`, `proc.pid = 1 and proc.name regex a`, `condition:1:18: sysdig 0.29 has no operator regex`},
		{`tolower(proc.name) = a`, `tolower(proc.name) = a`, `sysdig 0.29 has no transformer tolower()`},
		{`proc.name = val(proc.pname)`, `proc.name = val(proc.pname)`, `sysdig 0.29 has no comparison of proc.name with a field`},
		{`proc.env[A] = b`, `proc.env[A] = b`, `sysdig 0.29 has no argument of proc.env`},
	} {
		e, err := Parse(c.cond)
		if err != nil {
			t.Fatal(err)
		}
		for d, want := range map[*Dialect]string{&Sysdig041: c.sysdig041, &Sysdig029: c.sysdig029} {
			got, err := d.Filter(e)
			if err != nil {
				got = err.Error()
			}
			if !strings.Contains(got, want) || err == nil && got != want {
				t.Errorf("%s for %s\ngot  %s\nwant %s", c.cond, d.Name, got, want)
			}
		}
	}
}
