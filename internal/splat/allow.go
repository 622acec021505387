// SPDX-License-Identifier: Apache-2.0

package splat

import (
	"regexp"
	"time"
)

// Allowance excuses a known complaint for a while. There is no way to excuse one for good: an entry that nobody looks at
// again hides the next bug with the same words.
type Allowance struct {
	Match  *regexp.Regexp // matched against Splat.Title and each of Splat.Lines, without printk's prefix
	Reason string         // why it is not the matter of whoever looks at the log
	Until  time.Time      // from then on it excuses nothing
}

// Excused is a complaint and why it is no matter.
type Excused struct {
	Splat
	Allowance
}

// Sort tells splats that an entry of allow excuses at the time now from those that nothing does. A panic cannot be excused.
func Sort(splats []Splat, allow []Allowance, now time.Time) (denied []Splat, excused []Excused) {
	for _, s := range splats {
		if a, ok := excuse(s, allow, now); ok {
			excused = append(excused, Excused{s, a})
		} else {
			denied = append(denied, s)
		}
	}
	return denied, excused
}

func excuse(s Splat, allow []Allowance, now time.Time) (Allowance, bool) {
	if s.Kind == Panic {
		return Allowance{}, false
	}
	for _, a := range allow {
		if now.Before(a.Until) && a.matches(s) {
			return a, true
		}
	}
	return Allowance{}, false
}

func (a Allowance) matches(s Splat) bool {
	if a.Match.MatchString(s.Title) {
		return true
	}
	for _, l := range s.Lines {
		if a.Match.MatchString(prefix.ReplaceAllString(l.Text, "")) {
			return true
		}
	}
	return false
}
