// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"slices"
	"strings"
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

func TestUnsaid(t *testing.T) {
	words := map[string][]string{"evt.arg.flags": {"O_F_CREATED"}}
	for condition, want := range map[string]string{
		`evt.arg.flags contains O_CREAT and evt.arg.name contains O_F_CREATED`:     "",
		`evt.type = open and not evt.arg.flags in (O_RDWR, "O_CREAT|O_F_CREATED")`: "evt.arg.flags never says O_F_CREATED",
	} {
		e, err := Parse(condition)
		if err != nil {
			t.Fatal(err)
		}
		got := Unsaid(e, words)
		if (got == nil) != (want == "") || got != nil && (!strings.Contains(got.Error(), want) || AsError(got) == nil) {
			t.Errorf("%s: %v, want %q", condition, got, want)
		}
	}
}
