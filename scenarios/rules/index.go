// SPDX-License-Identifier: Apache-2.0

package rules

// Matcher evaluates many programs on each event. Most of what a rule asks for is the type of the event, and types are
// few: for each that a program names, every program is compiled once more with the answers put in, and what cannot hold
// for the type is left out. It is safe for concurrent use.
type Matcher struct {
	byType map[string][]candidate
	other  []candidate // for an event of a type that no program names, or of none: the programs as they are
}

// candidate is a program that may hold, and its place among those of [NewMatcher].
type candidate struct {
	place int
	match func(Event) bool
}

// NewMatcher indexes the programs.
func NewMatcher(programs ...*Program) *Matcher {
	m := &Matcher{byType: map[string][]candidate{}}
	for i, p := range programs {
		m.other = append(m.other, candidate{i, p.match})
		checks(p.expr, func(c *Check) {
			if asksType(c) {
				for _, v := range c.Values {
					m.byType[v] = nil
				}
			}
		})
	}
	for t := range m.byType {
		for i, p := range programs {
			e, holds := given(p.expr, typeOnly(t), p.schema)
			switch {
			case e == nil && !holds:
				continue
			case e == nil:
				m.byType[t] = append(m.byType[t], candidate{i, func(Event) bool { return true }})
				continue
			}
			match, err := compile(e, p.schema)
			if err != nil {
				match = p.match // it is a part of what compiled: cannot fail, and is right in any case
			}
			m.byType[t] = append(m.byType[t], candidate{i, match})
		}
	}
	return m
}

// Match appends to hits the place, among the programs of [NewMatcher], of each that holds for ev, in order.
func (m *Matcher) Match(ev Event, hits []int) []int {
	candidates := m.other
	if v, ok := ev.Field(eventType, ""); ok && v.Kind == String {
		if c, named := m.byType[v.Str]; named {
			candidates = c
		}
	}
	for _, c := range candidates {
		if c.match(ev) {
			hits = append(hits, c.place)
		}
	}
	return hits
}

const eventType = "evt.type"

// asksType reports whether the type of an event is all that decides c.
func asksType(c *Check) bool { return c.Field == eventType && c.Right == nil }

// typeOnly is an event of which nothing but the type is known.
type typeOnly string

// Field implements [Event].
func (t typeOnly) Field(name, _ string) (Value, bool) {
	return StringValue(string(t)), name == eventType
}

// given is what is left of e for events of the type t; nil if nothing is, and holds then says what e is.
func given(e Expr, t typeOnly, s Schema) (left Expr, holds bool) {
	switch e := e.(type) {
	case *And:
		var terms []Expr
		for _, x := range e.Terms {
			rest, holds := given(x, t, s)
			switch {
			case rest != nil:
				terms = append(terms, rest)
			case !holds:
				return nil, false
			}
		}
		if len(terms) == 0 {
			return nil, true
		}
		return newAnd(terms), false
	case *Or:
		var terms []Expr
		for _, x := range e.Terms {
			rest, holds := given(x, t, s)
			switch {
			case rest != nil:
				terms = append(terms, rest)
			case holds:
				return nil, true
			}
		}
		if len(terms) == 0 {
			return nil, false
		}
		return newOr(terms), false
	case *Not:
		rest, holds := given(e.Term, t, s)
		if rest == nil {
			return nil, !holds
		}
		return newNot(rest), false
	case *Check:
		if asksType(e) {
			if match, err := compile(e, s); err == nil {
				return nil, match(t)
			}
		}
	}
	return e, false
}
