// SPDX-License-Identifier: Apache-2.0

package splat

import (
	"fmt"
	"regexp"
	"time"
)

// Allowance excuses one known complaint for a while. There is no way to excuse one for good: an entry that
// nobody looks at again hides the next bug with the same words.
type Allowance struct {
	Title   *regexp.Regexp // matched against Splat.Title
	Reason  string         // why it is not the matter of whoever looks at the log
	Link    string         // where the world talks about it
	Expires time.Time
}

// Check reports what an entry lacks.
func (a Allowance) Check() error {
	switch {
	case a.Title == nil || a.Title.MatchString(""):
		return fmt.Errorf("allowance %q: its title must match something, and not everything", a.Reason)
	case a.Reason == "" || a.Link == "":
		return fmt.Errorf("allowance for %q: a reason and a link are needed", a.Title)
	case a.Expires.IsZero():
		return fmt.Errorf("allowance for %q: it must expire", a.Title)
	}
	return nil
}

// Denied is splats without those that an entry of allow excuses at the time now. A panic cannot be excused.
// Entries past their time excuse nothing.
func Denied(splats []Splat, allow []Allowance, now time.Time) ([]Splat, error) {
	for _, a := range allow {
		if err := a.Check(); err != nil {
			return nil, err
		}
	}
	var denied []Splat
	for _, s := range splats {
		if s.Kind == Panic || !excused(s, allow, now) {
			denied = append(denied, s)
		}
	}
	return denied, nil
}

func excused(s Splat, allow []Allowance, now time.Time) bool {
	for _, a := range allow {
		if now.Before(a.Expires) && a.Title.MatchString(s.Title) {
			return true
		}
	}
	return false
}
