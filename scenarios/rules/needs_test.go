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

func TestTypes(t *testing.T) {
	for condition, want := range map[string]bool{
		`evt.type = write and proc.name = x`:                            true,
		`evt.type in (write, openat) or evt.type = open and fd.num > 1`: true,
		`not evt.type != write`:                                         true,
		`evt.type != write`:                                             false,
		`evt.type = write or proc.name = x`:                             false,
		`not evt.type = write`:                                          false,
		`evt.type startswith open`:                                      false, // open_by_handle_at
		`evt.type exists and fd.num > 1`:                                false,
		`toupper(evt.type) = WRITE`:                                     false,
		`evt.type = write and not evt.type contains x`:                  false, // of write alone, and not worth the proof
		`evt.type = val(fd.name)`:                                       false,
	} {
		e, err := Parse(condition)
		if err != nil {
			t.Fatal(err)
		}
		if _, only := Types(e, Falco); only != want {
			t.Errorf("%s holds for the types that it names alone: %t, want %t", condition, only, want)
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
