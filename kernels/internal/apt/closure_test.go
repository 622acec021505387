// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/results/cause"
)

func list(ps []kernels.Package) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Name+"="+p.Version)
	}
	return strings.Join(out, " ")
}

func TestClosure(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid",
		apttest.P("make", "4", "Depends: libc (>= 2)\nSuggests: doc\n"),
		apttest.P("libc", "2", "Pre-Depends: base\nDepends: gone | gone2 | compress (>= 1), awk, shell (>= 5)\n"),
		apttest.P("base", "1", ""),
		apttest.P("compress", "1", ""),
		apttest.P("gawk", "5", "Priority: optional\nProvides: awk\n"),
		apttest.P("mawk", "1", "Priority: required\nProvides: awk\nDepends: libc\n"), // a circle
		apttest.P("dash", "0.5", "Provides: shell (= 5)\n"),
		apttest.P("ash", "0.4", "Provides: shell\n"),
		apttest.P("old", "1", "Depends: libc (<< 2)\n"),
		apttest.P("chooses", "1", "Depends: gawk | mawk\n"),
		apttest.P("broken", "1", "Depends: gone | gone2 (>= 3)\n"),
		apttest.P("pinned", "1", "Depends: lib (= 1)\n"),
		apttest.P("lib", "1", ""),
		apttest.P("free", "1", "Depends: lib\n"),
	)
	r.Suite("sid-updates", apttest.P("lib", "2", ""))
	s, _ := source(r, nil)
	for _, tc := range []struct {
		suites, names string
		want, fails   string
	}{
		{"sid", "make", "base=1 compress=1 dash=0.5 libc=2 make=4 mawk=1", ""},
		{"sid", "awk", "base=1 compress=1 dash=0.5 libc=2 mawk=1", ""},
		{"sid", "make chooses", "base=1 chooses=1 compress=1 dash=0.5 gawk=5 libc=2 make=4", ""},
		{"sid", "mawk chooses", "base=1 chooses=1 compress=1 dash=0.5 libc=2 mawk=1", ""},
		{"sid sid-updates", "free", "free=1 lib=2", ""},
		{"sid sid-updates", "pinned", "lib=1 pinned=1", ""},
		{"sid sid-updates", "free pinned", "", "lib (= 1)"},
		{"sid", "old", "", "libc (<< 2)"},
		{"sid", "broken", "", "gone | gone2 (>= 3)"},
		{"sid", "nothing", "", "nothing"},
	} {
		ps, err := s.Closure(t.Context(), strings.Fields(tc.suites), strings.Fields(tc.names)...)
		if tc.fails != "" {
			if cause.Of(err).Cause != cause.PackageMissing || !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s: got %v, want one about %s", tc.names, err, tc.fails)
			}
			continue
		}
		if err != nil || list(ps) != tc.want {
			t.Errorf("%s: got %s, %v\nwant %s", tc.names, list(ps), err, tc.want)
		}
	}
}
