// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"cmp"
	"fmt"
	"os/exec"
	"testing"
)

// ascending versions, each older than the next; versions in one row are equal.
var ascending = [][]string{
	{"~~"},
	{"~~a"},
	{"~"},
	{"", "0", "0:0", "00"},
	{"0a"},
	{"0+"},
	{"1~rc1-1", "0:1~rc1-1", "1~rc01-1"},
	{"1", "1-0", "01"},
	{"1-1~bpo13+1"},
	{"1-1"},
	{"1-1+b1"},
	{"1a"},
	{"1+b"},
	{"1.0~"},
	{"1.0"},
	{"1.0.0"},
	{"1.2-3"},
	{"1.10-3"},
	{"5.10.262-1"},
	{"6.1.9-1"},
	{"6.1.192-1"},
	{"6.1.192-2"},
	{"6.12.117-1"},
	{"7.3.4-1~bpo13+1"},
	{"7.3.4-1"},
	{"99999999999999999999999"},
	{"100000000000000000000000"},
	{"1:0.1"},
	{"2:0"},
}

func TestCompare(t *testing.T) {
	for i, a := range ascending {
		for j, b := range ascending {
			for _, x := range a {
				for _, y := range b {
					if got := cmp.Compare(Compare(x, y), 0); got != cmp.Compare(i, j) {
						t.Errorf("Compare(%q, %q) = %d, want %d", x, y, got, cmp.Compare(i, j))
					}
				}
			}
		}
	}
}

func TestCompareAsDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("no dpkg here to compare with")
	}
	var all []string
	for _, row := range ascending {
		for _, v := range row {
			if v != "" && digit(v[0]) {
				all = append(all, v)
			}
		}
	}
	for i, a := range all {
		for _, b := range []string{all[0], all[(i*7+3)%len(all)], all[(i+1)%len(all)], a} {
			op := map[int]string{-1: "lt", 0: "eq", 1: "gt"}[cmp.Compare(Compare(a, b), 0)]
			if out, err := exec.CommandContext(t.Context(), dpkg, "--compare-versions", a, op, b).CombinedOutput(); err != nil {
				t.Errorf("dpkg does not agree that %q %s %q: %v %s", a, op, b, err, out)
			}
		}
	}
}

func TestRelations(t *testing.T) {
	got := ParseRelations("a, b:any (>= 1.0-1) | c (<<2), , d (= 1:2)")
	want := "[[a] [b (>= 1.0-1) c (<< 2)] [d (= 1:2)]]"
	if s := fmt.Sprint(got); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
	for _, tc := range []struct {
		op   string
		want [3]bool // of versions 1, 2, 3 against 2
	}{
		{"<<", [3]bool{true, false, false}}, {"<=", [3]bool{true, true, false}}, {"=", [3]bool{false, true, false}},
		{">=", [3]bool{false, true, true}}, {">>", [3]bool{false, false, true}}, {"", [3]bool{true, true, true}},
		{"<>", [3]bool{}},
	} {
		for i, v := range []string{"1", "2", "3"} {
			if got := (Relation{"p", tc.op, "2"}).allows(v); got != tc.want[i] {
				t.Errorf("%s %s 2: %v", v, tc.op, got)
			}
		}
	}
}
