// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"testing"
)

func TestNeeds(t *testing.T) {
	for condition, want := range map[string][]string{
		`evt.type = write`:                                  {"write"},
		`evt.type in (write, openat, write)`:                {"openat", "write"},
		`not evt.type in (write, openat)`:                   nil,
		`evt.type != write`:                                 nil,
		`not evt.type != write`:                             {"write"},
		`proc.name = x`:                                     nil,
		`evt.type in (write, openat) and evt.type != write`: {"openat"},
		`proc.name = x and (evt.type = write or evt.type = openat and fd.num >= 0)`: {"openat", "write"},
	} {
		e, err := Parse(condition)
		if err != nil {
			t.Fatal(err)
		}
		if got := Needs(e, Falco); !slices.Equal(got, want) {
			t.Errorf("%s needs %q, not %q", condition, got, want)
		}
	}
}

func TestCompared(t *testing.T) {
	e, err := Parse(`evt.arg.flags contains B and not (evt.arg.flags in (A, B) or evt.arg.mode = C) and evt.arg.flags exists`)
	if err != nil {
		t.Fatal(err)
	}
	if got := Compared(e, "evt.arg.flags"); !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("got %q", got)
	}
}
