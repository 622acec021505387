// SPDX-License-Identifier: Apache-2.0

package rules

import "maps"

// Matcher evaluates many programs on each event. Most rules name the types of events that they are about, so that an
// event is shown only to the programs that may hold for its type. It is safe for concurrent use.
type Matcher struct {
	programs []*Program
	byType   map[string][]int // what may hold for an event of that type, in order
	anyType  []int            // what may hold for an event of a type that no program names, or of none
}

// NewMatcher indexes the programs.
func NewMatcher(programs ...*Program) *Matcher {
	m := &Matcher{programs: programs, byType: map[string][]int{}}
	for _, p := range programs {
		for t := range p.types {
			m.byType[t] = nil
		}
	}
	for i, p := range programs {
		if p.types == nil {
			m.anyType = append(m.anyType, i)
		}
		for t := range m.byType {
			if p.types == nil || p.types[t] {
				m.byType[t] = append(m.byType[t], i)
			}
		}
	}
	return m
}

// Match appends to hits the place, among the programs of [NewMatcher], of each that holds for ev, in order.
func (m *Matcher) Match(ev Event, hits []int) []int {
	candidates := m.anyType
	if v, ok := ev.Field(eventType, ""); ok && v.Kind == String {
		if c, named := m.byType[v.Str]; named {
			candidates = c
		}
	}
	for _, i := range candidates {
		if m.programs[i].match(ev) {
			hits = append(hits, i)
		}
	}
	return hits
}

const eventType = "evt.type"

// eventTypes are the values of evt.type outside of which e cannot hold; bounded is false if there are no such. An event
// without a type meets no check of it, so that what is bounded does not hold for it either.
func eventTypes(e Expr) (types map[string]bool, bounded bool) {
	switch e := e.(type) {
	case *And:
		for _, t := range e.Terms {
			more, ok := eventTypes(t)
			switch {
			case !ok:
			case !bounded:
				types, bounded = more, true
			default:
				maps.DeleteFunc(types, func(t string, _ bool) bool { return !more[t] })
			}
		}
		return types, bounded
	case *Or:
		types = map[string]bool{}
		for _, t := range e.Terms {
			more, ok := eventTypes(t)
			if !ok {
				return nil, false
			}
			maps.Copy(types, more)
		}
		return types, true
	case *Check:
		if e.Field == eventType && len(e.Transforms) == 0 && e.Right == nil && (e.Op == Eq || e.Op == In || e.Op == Intersects) {
			return setOf(e.Values), true
		}
	}
	return nil, false
}
