// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/mews-farm/mews/harness/agent"
	"github.com/mews-farm/mews/scenarios"
)

// The two deeds of a scenario.
const (
	twinSide   = "twin"
	attackSide = "attack"
)

// maxRoles bounds how many kinds of actors wait in a guest: two containers, each with its runtime, take it some 30 MiB.
const maxRoles = 4

// role is all that matters of a deed to the process that will do it, before it is told what to do.
type role struct {
	side  string
	where string // agent.OnHost or agent.InContainer
	setup string // of its container, as JSON
}

func roleOf(s scenarios.Scenario, side string) role {
	setup, err := json.Marshal(s.Container)
	if err != nil {
		panic("a container's setup is plain data: " + err.Error())
	}
	return role{side, string(s.Context), string(setup)}
}

// cast chooses the roles whose actors are worth starting before g is saved: of those that several scenarios share, the ones
// that most of them do, with both sides.
func cast(all []scenarios.Scenario) []role {
	count := map[role]int{}
	for _, s := range all {
		if s.Container.Cgroup != scenarios.CgroupV1 { // no other container can wait beside one
			count[roleOf(s, attackSide)]++
		}
	}
	maps.DeleteFunc(count, func(_ role, n int) bool { return n < 2 })
	roles := slices.SortedFunc(maps.Keys(count), func(a, b role) int {
		return cmp.Or(count[b]-count[a], cmp.Compare(a.where, b.where), cmp.Compare(a.setup, b.setup))
	})
	var out []role
	for _, r := range roles[:min(len(roles), maxRoles)] {
		out = append(out, role{twinSide, r.where, r.setup}, r)
	}
	return out
}

// startActors has the actors of scenarios wait in g, so that its clones need not start them. One that does not come to that is
// started when its deed is asked for, and what is the matter shows then.
func (c *cellRun) startActors(ctx context.Context, g *guest, all []scenarios.Scenario) error {
	c.actors = map[role]string{}
	var start []agent.Actor
	roles := map[string]role{}
	for _, r := range cast(all) {
		id := scenarios.NewID()
		roles[id] = r
		start = append(start, agent.Actor{ID: id, Context: r.where, Setup: json.RawMessage(r.setup)})
	}
	if len(start) == 0 {
		return nil
	}
	return c.through(ctx, g)(time.Duration(len(start))*deedLimit, func(ctx context.Context) error {
		waiting, err := g.c.StartActors(ctx, start)
		for _, id := range waiting {
			if r, ok := roles[id]; ok {
				c.actors[r] = id
			}
		}
		return err
	})
}

// endActors ends those that wait in g, which no deed is asked of any more.
func (c *cellRun) endActors(ctx context.Context, g *guest) error {
	if len(c.actors) == 0 {
		return nil
	}
	c.actors = nil
	return c.through(ctx, g)(deedLimit, func(ctx context.Context) error {
		_, err := g.c.StartActors(ctx, nil)
		return err
	})
}

// deedID is the id of a deed: that of the actor that waits for it, or a new one. It is unique in its guest.
func (c *cellRun) deedID(s scenarios.Scenario, side string) string {
	if len(c.actors) == 0 {
		return scenarios.NewID()
	}
	return cmp.Or(c.actors[roleOf(s, side)], scenarios.NewID())
}
