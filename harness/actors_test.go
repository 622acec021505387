// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"slices"
	"strconv"
	"testing"

	"github.com/mews-farm/mews/scenarios"
)

func TestCast(t *testing.T) {
	catalog, err := scenarios.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	all := catalog.All()
	roles := cast(all)
	if len(roles) < 2 {
		t.Fatalf("%d roles of all scenarios: %v", len(roles), roles)
	}
	for _, r := range roles {
		n := 0
		for _, s := range all {
			if roleOf(s, r.side) == r {
				n++
			}
		}
		if n < 2 {
			t.Errorf("%v is of %d scenarios", r, n)
		}
		other := role{twinSide, r.where, r.setup}
		if r.side == twinSide {
			other.side = attackSide
		}
		if !slices.Contains(roles, other) {
			t.Errorf("%v without %v", r, other)
		}
	}
	// What most of them need comes first, whatever their order.
	slices.Reverse(all)
	if again := cast(all); !slices.Equal(again, roles) {
		t.Errorf("%v, and the other way round %v", roles, again)
	}
	if got := cast(all[:1]); got != nil {
		t.Errorf("one scenario shares %v", got)
	}
	var many []scenarios.Scenario
	for i := range 2 * maxRoles {
		one := scenarios.Scenario{Context: scenarios.Container, Container: scenarios.Setup{Tmpfs: []string{"/" + strconv.Itoa(i)}}}
		many = append(many, one, one)
	}
	if got := cast(many); len(got) != 2*maxRoles {
		t.Errorf("%d actors of %d roles wait", len(got), len(many))
	}
	v1 := scenarios.Scenario{Context: scenarios.Container, Container: scenarios.Setup{Cgroup: scenarios.CgroupV1}}
	if got := cast([]scenarios.Scenario{v1, v1}); got != nil {
		t.Errorf("%v wait beside cgroups of version 1", got)
	}
}

func TestDeedID(t *testing.T) {
	s := scenarios.Scenario{Context: scenarios.Host}
	c := &cellRun{sortie: sortie{actors: map[role]string{roleOf(s, attackSide): "waiting"}}}
	if got := c.deedID(s, attackSide); got != "waiting" {
		t.Errorf("%q", got)
	}
	if a, b := c.deedID(s, twinSide), c.deedID(s, twinSide); a == b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
}

// One clone takes apart what its deeds leave: the first in which that is a container.
func TestOneCloneIsTakenApart(t *testing.T) {
	host, container := scenarios.Scenario{Context: scenarios.Host}, scenarios.Scenario{Context: scenarios.Container}
	for _, tc := range []struct {
		all  []scenarios.Scenario
		want int
	}{
		{[]scenarios.Scenario{host, container, container}, 1},
		{[]scenarios.Scenario{container, host}, 0},
		{[]scenarios.Scenario{host, host}, 0},
	} {
		if got := takenApart(tc.all); got != tc.want {
			t.Errorf("%v: scenario %d, want %d", tc.all, got, tc.want)
		}
	}
}
