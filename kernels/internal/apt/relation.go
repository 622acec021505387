// SPDX-License-Identifier: Apache-2.0

package apt

import "strings"

// Relation is one alternative of a dependency: Name (Op Version).
type Relation struct {
	Name, Op, Version string
}

func (r Relation) String() string {
	if r.Op == "" {
		return r.Name
	}
	return r.Name + " (" + r.Op + " " + r.Version + ")"
}

// ParseRelations reads a Depends field: groups joined by "," of alternatives joined by "|".
func ParseRelations(field string) [][]Relation {
	var out [][]Relation
	for group := range strings.SplitSeq(field, ",") {
		var alts []Relation
		for alt := range strings.SplitSeq(group, "|") {
			if r, ok := parseRelation(alt); ok {
				alts = append(alts, r)
			}
		}
		if len(alts) > 0 {
			out = append(out, alts)
		}
	}
	return out
}

func parseRelation(s string) (Relation, bool) {
	name, constraint, _ := strings.Cut(strings.TrimSpace(s), "(")
	name = strings.TrimSpace(name)
	// Of the qualifiers only :any and the own architecture occur where one architecture is looked at.
	name, _, _ = strings.Cut(name, ":")
	if name == "" {
		return Relation{}, false
	}
	r := Relation{Name: name}
	constraint = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(constraint), ")"))
	if i := strings.IndexFunc(constraint, func(c rune) bool { return !strings.ContainsRune("<>=", c) }); i > 0 {
		r.Op, r.Version = constraint[:i], strings.TrimSpace(constraint[i:])
	}
	return r, true
}

// allows reports whether version satisfies r.
func (r Relation) allows(version string) bool {
	c := 0
	if r.Op != "" {
		c = Compare(version, r.Version)
	}
	switch r.Op {
	case "":
		return true
	case "<<":
		return c < 0
	case "<=", "<": // deb-control(5): < and > are obsolete spellings of <= and >=
		return c <= 0
	case "=":
		return c == 0
	case ">=", ">":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}
