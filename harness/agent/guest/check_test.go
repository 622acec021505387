// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/mews-farm/mews/driver/consumer"
	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/harness/agent/wire"
)

// A consumer is asked for the fields that it has: it does not start with another.
func TestCheckFieldsAreTheConsumers(t *testing.T) {
	a := &Agent{State: t.TempDir()}
	for version, want := range map[string]bool{"0.29.3": false, "0.41.4+repack": true} {
		fields := a.checkWatch(agent.Sysdig, version).Fields
		if got := slices.Contains(fields, "thread.cap_effective"); got != want || !slices.Contains(fields, "user.loginuid") {
			t.Errorf("sysdig %s is asked for %q", version, fields)
		}
	}
	if got := a.checkWatch(agent.Native, "").Fields; !slices.Equal(got, checkFields) {
		t.Errorf("native is asked for %q", got)
	}
}

// Whichever field a driver lies in, it is seen.
func TestALieInAnyFieldIsSeen(t *testing.T) {
	truth := map[string]string{}
	for _, f := range checkFields {
		truth[f] = "it is " + f
	}
	if got := compare("exec", checkFields, truth, truth); slices.ContainsFunc(got, func(f *wire.EventField) bool { return f.Seen != f.Truth || !f.Present }) || len(got) != len(checkFields) {
		t.Fatalf("the truth is told, and %d of %d fields are compared: %v", len(got), len(checkFields), got)
	}
	for _, lie := range checkFields {
		seen := maps.Clone(truth)
		seen[lie] = "no"
		wrong := slices.DeleteFunc(compare("exec", checkFields, seen, truth), func(f *wire.EventField) bool { return f.Seen == f.Truth })
		if len(wrong) != 1 || wrong[0].Field != lie {
			t.Errorf("a lie in %s: %v", lie, wrong)
		}
	}
}

// Of a fork there are three events, of two processes that have the same arguments: each is told from the others.
func TestFork(t *testing.T) {
	made, err := fork()
	if err != nil {
		t.Fatal(err)
	}
	var seen []consumer.Match
	for _, c := range made {
		fields := maps.Clone(c.Fields)
		fields["evt.type"], fields["proc.args"] = c.Type, "check "+checkWord+" /x/id"
		seen = append(seen, consumer.Match{Watch: checkName, Fields: fields})
	}
	for _, order := range [][]consumer.Match{seen, {seen[2], seen[1], seen[0]}} {
		for _, c := range made {
			for field, want := range c.Fields {
				if got := closest(order, "id", c)[field]; got != want {
					t.Errorf("%s of %v is %q", field, c, got)
				}
			}
		}
	}
	if made[1].Fields["proc.ppid"] != strconv.Itoa(os.Getpid()) || made[0].Fields["evt.rawres"] != made[1].Fields["proc.pid"] || made[2].Fields["evt.arg.ret"] != "7" {
		t.Errorf("made %v", made)
	}
}

func TestIdentity(t *testing.T) {
	is, err := identity()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Stat(self)
	if err != nil {
		t.Fatal(err)
	}
	if is["user.uid"] != strconv.Itoa(os.Geteuid()) || is["group.gid"] != strconv.Itoa(os.Getegid()) || is["proc.exe_ino.mtime"] != strconv.FormatInt(exe.ModTime().UnixNano(), 10) {
		t.Errorf("%v", is)
	}
}
