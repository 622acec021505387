// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

const excuse = `allow_splats:
  - {match: "^WARNING: .*jump_label", reason: known, until: 2027-01-31, kernels: ["debian-7*"], drivers: [falco-*]}
`

func TestAllowed(t *testing.T) {
	m, err := Parse("matrix.yaml", []byte(shipped(t)+excuse), voc)
	if err != nil {
		t.Fatal(err)
	}
	last := time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC)
	if got := m.Expired(last); got != nil {
		t.Errorf("on its last day: %q", got)
	}
	if got := m.Expired(last.Add(time.Second)); len(got) != 1 || !regexp.MustCompile(`^matrix.yaml:\d+:13: .*jump_label.* ended with 2027-01-31 .*\(known\)`).MatchString(got[0]) {
		t.Errorf("past it: %q", got)
	}
	if a := m.Allowed[0].Allowance(); !a.Until.Equal(last.Add(time.Second)) || a.Reason != "known" || !a.Match.MatchString("WARNING: at jump_label") {
		t.Errorf("%+v", a)
	}
}

func TestAllowedRefuses(t *testing.T) {
	for _, c := range []struct{ old, new, want string }{
		{`"^WARNING: .*jump_label"`, `"WARNING ("`, `:13: match: error parsing regexp`},
		{`"^WARNING: .*jump_label"`, `".*"`, `:13: match ".*" fits every complaint`},
		{`"^WARNING: .*jump_label", `, `"x|", `, `:13: match "x|" fits every complaint`},
		{"reason: known, ", "", `key "reason" is missing`},
		{"reason: known", `reason: ""`, "an excuse without a reason"},
		{"until: 2027-01-31, ", "", `key "until" is missing`},
		{"2027-01-31", "2027-02-31", `:61: until "2027-02-31" is no date`},
		{"2027-01-31", "never", `until "never" is no date`},
		{`"debian-7*"`, `"[a"`, `"[a" is not a pattern`},
		{"falco-*", "falco-kmd", `unknown driver "falco-kmd"; did you mean "falco-kmod"?`},
		{"drivers:", "driver:", `unknown key "driver"; did you mean "drivers"?`},
	} {
		bad := strings.Replace(excuse, c.old, c.new, 1)
		if bad == excuse {
			t.Fatalf("the entry does not hold %q", c.old)
		}
		if _, err := Parse("matrix.yaml", []byte(shipped(t)+bad), voc); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.new, err, c.want)
		}
	}
}
