// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/mews-farm/mews/internal/splat"
)

// Allowed excuses a complaint of kernels for a while.
type Allowed struct {
	Match   Str   `yaml:"match,required"` // a regular expression, over the complaint's first line and its trace
	Reason  Str   `yaml:"reason,required"`
	Until   Str   `yaml:"until,required"` // its last day, in UTC
	Kernels []Str `yaml:"kernels"`        // globs over entries of kernels, releases and distro:release; none: all
	Drivers []Str `yaml:"drivers"`        // globs over drivers; none: all
}

// Allowance is a as a judge uses it.
func (a Allowed) Allowance() splat.Allowance {
	return splat.Allowance{Match: regexp.MustCompile(a.Match.V), Reason: a.Reason.V, Until: a.end()}
}

// end is the end of its last day.
func (a Allowed) end() time.Time {
	day, err := time.Parse(time.DateOnly, a.Until.V)
	if err != nil {
		return time.Time{} // refused by allowed; and one without an end is at its end
	}
	return day.AddDate(0, 0, 1)
}

// Expired says of each entry of allow_splats whose time is over that it excuses nothing any more.
func (m *Matrix) Expired(now time.Time) []string {
	var out []string
	for _, a := range m.Allowed {
		if !now.Before(a.end()) {
			out = append(out, fmt.Sprintf("%s: allow_splats %q ended with %s and excuses nothing any more (%s): look whether the complaint is still there, and remove the entry or renew it", a.Match.Pos, a.Match.V, a.Until.V, a.Reason.V))
		}
	}
	return out
}

// allowed checks an entry of allow_splats.
func (c *checker) allowed(a Allowed) {
	switch re, err := regexp.Compile(a.Match.V); {
	case err != nil:
		c.errorf(a.Match, "match: %v", err)
	case re.MatchString(""):
		c.errorf(a.Match, "match %q fits every complaint; name one", a.Match.V)
	}
	if a.Reason.V == "" {
		c.errorf(a.Reason, "an excuse without a reason is none")
	}
	if a.end().IsZero() {
		c.errorf(a.Until, "until %q is no date such as 2027-01-31", a.Until.V)
	}
	for _, g := range slices.Concat(a.Kernels, a.Drivers) {
		if _, err := path.Match(g.V, ""); err != nil || g.V == "" {
			c.errorf(g, "%q is not a pattern (shell globs: * ? [a-z])", g.V)
		}
	}
	for _, g := range a.Drivers {
		if !slices.ContainsFunc(c.m.Drivers.Keys(), func(d string) bool { ok, _ := path.Match(g.V, d); return ok }) {
			c.oneOf("driver", g, c.m.Drivers.Keys())
		}
	}
}
