// SPDX-License-Identifier: Apache-2.0

package verifier

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const good = "verification time 1234 usec\nstack depth 96+0+120\nprocessed 4321 insns (limit 1000000) max_states_per_insn 4 total_states 88 peak_states 87 mark_read 12\n"
	for _, c := range []struct {
		name, log string
		want      Stats
		ok        bool
	}{
		{"statistics", good, Stats{4321, 1000000, 87, []int{96, 0, 120}}, true},
		{"cut short", good[:len(good)-20], Stats{}, false},
		{"empty", "", Stats{}, false},
		{"without the stack", "processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0", Stats{2, 1000000, 0, nil}, true},
		{"the last counts", strings.ReplaceAll(good, "4321", "1") + good, Stats{4321, 1000000, 87, []int{96, 0, 120}}, true},
		{"not within a line", "; " + strings.ReplaceAll(good, "\n", " "), Stats{}, false},
		{"too large to be true", strings.ReplaceAll(good, "4321", "99999999999999999999"), Stats{}, false},
	} {
		got, ok := Parse(c.log)
		if ok != c.ok || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v %t, want %+v %t", c.name, got, ok, c.want, c.ok)
		}
	}
	if s, _ := Parse(good); s.StackBytes() != 216 {
		t.Errorf("%d bytes of stack", s.StackBytes())
	}
}

func FuzzParse(f *testing.F) {
	logs, err := filepath.Glob("testdata/*.log")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range logs {
		log, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(log))
	}
	f.Add("stack depth 1+2\nprocessed 1 insns (limit 1) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0\n")
	f.Fuzz(func(t *testing.T, log string) {
		s, ok := Parse(log)
		if !ok && !reflect.DeepEqual(s, Stats{}) {
			t.Errorf("%+v of a log without statistics", s)
		}
		for _, n := range append(s.Stack, s.Insns, s.Limit, s.PeakStates) {
			if n < 0 || n > 999999999 {
				t.Errorf("%+v", s)
			}
		}
	})
}
