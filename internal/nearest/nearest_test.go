// SPDX-License-Identifier: Apache-2.0

package nearest

import "testing"

func TestName(t *testing.T) {
	names := []string{"falco-kmod", "falco-kmod-2022", "mews-modern"}
	for _, c := range []struct{ got, want string }{
		{"falco-kmo", "falco-kmod"},
		{"falko-kmod-2022", "falco-kmod-2022"},
		{"mews-moderm", "mews-modern"},
		{"pdig", ""},
		{"", ""},
	} {
		if got := Name(c.got, names); got != c.want {
			t.Errorf("Name(%q) = %q, want %q", c.got, got, c.want)
		}
	}
	if got, want := Hint("falco-kmo", names), `; did you mean "falco-kmod"?`; got != want {
		t.Errorf("Hint = %q, want %q", got, want)
	}
}
