// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// lab is a vocabulary of every kind, for conditions that a generator makes.
var lab = Table{
	"evt.type":  {Kind: String},
	"p.name":    {Kind: String},
	"p.path":    {Kind: String},
	"p.num":     {Kind: Number},
	"p.other":   {Kind: Number},
	"p.truth":   {Kind: Bool},
	"p.up":      {Kind: List, Arg: ArgOptional, ArgIndex: true, WithArg: String},
	"p.pids":    {Kind: Numbers, Arg: ArgOptional, ArgIndex: true, WithArg: Number},
	"p.kinds":   {Kind: Members},
	"p.ip":      {Kind: Address},
	"p.net":     {Kind: Network},
	"p.data":    {Kind: Bytes},
	"p.raw":     {Kind: Dynamic},
	"p.env":     {Kind: String, Arg: ArgOptional},
	"p.missing": {Kind: String},
}

var (
	labTexts   = []string{"a", "A", "ab", "Ab", "/a/b", "/a", "/A/b/c", "", "YQ", "a b", "open", "x"}
	labNumbers = []string{"-1", "0", "1", "2", "3", "12"}
	labAddrs   = []string{"10.0.0.1", "10.1.0.1", "::1", "192.168.1.9"}
	labNets    = []string{"10.0.0.0/8", "10.0.0.0/16", "::/64", "192.168.1.9/32"}
	labGlobs   = []string{"a*", "*b", "?", "/a/*", "[ab]*", "*", "A?"}
	labExprs   = []string{"a.*", "[ab]+", "/a(/b)?", ".", ""}
)

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

func randomEvent(r *rand.Rand) event {
	e := event{}
	add := func(name string, v Value) {
		if r.IntN(4) > 0 {
			e[name] = v
		}
	}
	texts := func() []string {
		var out []string
		for range r.IntN(3) {
			out = append(out, pick(r, labTexts))
		}
		return out
	}
	num := func() int64 { n, _ := strconv.ParseInt(pick(r, labNumbers), 10, 64); return n }
	add("evt.type", StringValue(pick(r, []string{"open", "execve", "x"})))
	add("p.name", StringValue(pick(r, labTexts)))
	add("p.path", StringValue(pick(r, labTexts)))
	add("p.num", NumberValue(num()))
	add("p.other", NumberValue(num()))
	add("p.truth", BoolValue(r.IntN(2) == 0))
	add("p.up", ListValue(texts()...))
	add("p.up[1]", StringValue(pick(r, labTexts)))
	add("p.pids", NumbersValue(pick(r, labNumbers), pick(r, labNumbers)))
	add("p.pids[1]", NumberValue(num()))
	add("p.kinds", MembersValue(texts()...))
	add("p.ip", AddressValue(netip.MustParseAddr(pick(r, labAddrs))))
	add("p.net", AddressValue(netip.MustParseAddr(pick(r, labAddrs))))
	add("p.data", BytesValue(pick(r, labTexts)))
	add("p.env[A]", StringValue(pick(r, labTexts)))
	if r.IntN(2) == 0 {
		add("p.raw", StringValue(pick(r, labTexts)))
	} else {
		add("p.raw", NumberValue(num()))
	}
	if r.IntN(8) == 0 {
		add("p.num", StringValue("not the schema's kind"))
	}
	return e
}

func randomExpr(r *rand.Rand, depth int) Expr {
	if depth == 0 || r.IntN(3) == 0 {
		return randomCheck(r)
	}
	switch r.IntN(3) {
	case 0:
		return newNot(randomExpr(r, depth-1))
	case 1:
		return newAnd([]Expr{randomExpr(r, depth-1), randomExpr(r, depth-1), randomExpr(r, depth-1)})
	}
	return newOr([]Expr{randomExpr(r, depth-1), randomExpr(r, depth-1)})
}

// randomCheck makes a check that compiles: what does not is tried again.
func randomCheck(r *rand.Rand) Expr {
	for {
		c := &Check{at: mark{src: &source{}}}
		c.Field = pick(r, sortedKeys(lab))
		if r.IntN(3) == 0 {
			c.Field = eventType
		}
		ft := lab[c.Field]
		if ft.Arg != ArgNone && r.IntN(2) == 0 {
			c.Arg = "1"
			if c.Field == "p.env" {
				c.Arg = "A"
			}
		}
		for r.IntN(4) == 0 {
			c.Transforms = append(c.Transforms, Transform(pick(r, transforms)))
		}
		c.Op = Op(pick(r, append([]string{"=", "!=", "<", "<=", ">", ">="}, words...)))
		switch {
		case c.Op == Exists:
		case r.IntN(5) == 0:
			c.Right = &Operand{Field: pick(r, sortedKeys(lab)), at: c.at}
			if r.IntN(2) == 0 {
				c.Right.Transforms = []Transform{Transform(pick(r, transforms))}
			}
		default:
			n := 1
			if c.Op.takesList() {
				n = r.IntN(3)
			}
			for range n {
				from := slices.Concat(labTexts, labNumbers, labAddrs, labNets, labGlobs, labExprs, []string{"true", "false", "61"})
				c.Values = append(c.Values, pick(r, from))
			}
		}
		if _, err := Compile(c, lab); err == nil {
			return c
		}
	}
}

// slowly evaluates a condition as the documentation says it, without looking at speed.
func slowly(e Expr, ev event) bool {
	switch e := e.(type) {
	case *And:
		return !slices.ContainsFunc(e.Terms, func(t Expr) bool { return !slowly(t, ev) })
	case *Or:
		return slices.ContainsFunc(e.Terms, func(t Expr) bool { return slowly(t, ev) })
	case *Not:
		return !slowly(e.Term, ev)
	}
	c := e.(*Check)
	left, kind, ok := slowOperand(&Operand{Field: c.Field, Arg: c.Arg, Transforms: c.Transforms}, ev)
	if !ok {
		return false
	}
	if c.Right != nil {
		right, rk, ok := slowOperand(c.Right, ev)
		return ok && rk == kind && slowCompare(c.Op, kind, left[0], right[0])
	}
	for _, l := range left {
		if c.Op == Exists {
			return true
		}
		match := slices.ContainsFunc(c.Values, func(v string) bool { return slowCompare(c.Op, kind, l, v) })
		if match {
			return true
		}
	}
	return false
}

// slowOperand is the value, or the members of a list, as text.
func slowOperand(o *Operand, ev event) (values []string, kind Kind, ok bool) {
	v, ok := ev.Field(o.Field, o.Arg)
	kind = lab[o.Field].Kind
	if o.Arg != "" && lab[o.Field].WithArg != 0 {
		kind = lab[o.Field].WithArg
	}
	if kind == Dynamic && ok {
		kind = v.Kind
	}
	want := kind
	if kind == Network {
		want = Address
	}
	if !ok || v.Kind != want {
		return nil, kind, false
	}
	switch v.Kind {
	case Number:
		values = []string{fmt.Sprint(v.Num)}
	case Bool:
		values = []string{fmt.Sprint(v.Bool)}
	case Address:
		values = []string{v.Addr.String()}
	case List, Numbers, Members:
		values = v.List
	default:
		values = []string{v.Str}
	}
	for i := len(o.Transforms) - 1; i >= 0; i-- {
		if o.Transforms[i] == Len && kind == Members {
			values, kind = []string{fmt.Sprint(len(values))}, Number
			continue
		}
		switch o.Transforms[i] {
		case ToLower:
			values[0] = strings.ToLower(values[0])
		case ToUpper:
			values[0] = strings.ToUpper(values[0])
		case Basename:
			if values[0] != "" && !strings.HasSuffix(values[0], "/") {
				values = []string{path.Base(values[0])}
			} else {
				values = []string{""}
			}
		case Len:
			values, kind = []string{fmt.Sprint(len(values[0]))}, Number
		case B64:
			out, err := base64.StdEncoding.DecodeString(values[0] + strings.Repeat("=", (4-len(values[0])%4)%4))
			if err != nil {
				return nil, kind, false
			}
			values = []string{string(out)}
		}
	}
	return values, kind, len(values) > 0
}

func slowCompare(op Op, kind Kind, a, b string) bool {
	switch kind {
	case Number, Numbers:
		x, err := strconv.Atoi(a)
		y, err2 := strconv.Atoi(b)
		if err != nil || err2 != nil {
			return false
		}
		return map[Op]bool{Eq: x == y, In: x == y, Intersects: x == y, Ne: x != y, Lt: x < y, Le: x <= y, Gt: x > y, Ge: x >= y}[op]
	case Network:
		if p, err := netip.ParsePrefix(b); err == nil {
			return p.Contains(netip.MustParseAddr(a)) != (op == Ne)
		}
	}
	switch op {
	case Eq, In, Intersects:
		return a == b
	case Ne:
		return a != b
	case Contains:
		return strings.Contains(a, b)
	case IContains:
		return strings.Contains(strings.ToLower(a), strings.ToLower(b))
	case StartsWith:
		return strings.HasPrefix(a, b)
	case EndsWith:
		return strings.HasSuffix(a, b)
	case BContains:
		return b == "61" && strings.Contains(a, "a") || b == "12" && strings.Contains(a, "\x12") || b == ""
	case BStarts:
		return b == "61" && strings.HasPrefix(a, "a") || b == "12" && strings.HasPrefix(a, "\x12") || b == ""
	case Glob, IGlob:
		if op == IGlob {
			a, b = strings.ToLower(a), strings.ToLower(b)
		}
		// Without the slash, which the shell's matching and Go's take for a boundary.
		ok, err := path.Match(strings.ReplaceAll(b, "/", "\x01"), strings.ReplaceAll(a, "/", "\x01"))
		return ok && err == nil
	case Regex:
		m := regexp.MustCompile(b).FindString(a)
		re := regexp.MustCompile(b)
		re.Longest()
		return re.FindString(a) == a && (m != "" || re.MatchString(a))
	case PMatch:
		names := func(s string) []string { return strings.FieldsFunc(s, func(r rune) bool { return r == '/' }) }
		have, want := names(a), names(b)
		if len(have) < len(want) {
			return false
		}
		for i, w := range want {
			if ok, err := path.Match(w, have[i]); err != nil || !ok {
				return false
			}
		}
		return true
	}
	return false
}

// What is compiled is what the slow evaluator says, for random conditions and events; printing and parsing a condition
// does not change it; De Morgan holds; a Matcher finds what each program by itself does.
func TestRandomConditions(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1975))
	held, typed := 0, 0
	for range 3000 {
		e := randomExpr(r, 3)
		roundTrip(t, e)
		p, err := Compile(e, lab)
		if err != nil {
			t.Fatalf("%s: %v", e, err)
		}
		mirror, err := Compile(deMorgan(e), lab)
		if err != nil {
			t.Fatal(err)
		}
		m := NewMatcher(p, mirror)
		types, only := Types(e, lab)
		for range 20 {
			ev := randomEvent(r)
			got := p.Match(ev)
			if want := slowly(e, ev); got != want {
				t.Fatalf("%s\nof %v\nis %v, and slowly %v", e, ev, got, want)
			}
			if mirror.Match(ev) == got {
				t.Fatalf("%s and its negation by De Morgan, %s, are both %v\nof %v", e, deMorgan(e), got, ev)
			}
			if v, ok := ev.Field("evt.type", ""); ok && only && !slices.Contains(types, v.Str) {
				if typed++; got {
					t.Fatalf("%s\nholds for a type beyond %q\nof %v", e, types, ev)
				}
			}
			want := []int{0}
			if held++; !got {
				want = []int{1}
				held--
			}
			if hits := m.Match(ev, nil); !slices.Equal(hits, want) {
				t.Fatalf("the matcher finds %v of %s and its negation, want %v\nof %v", hits, e, want, ev)
			}
		}
	}
	if typed < 100 {
		t.Errorf("%d events were of a type that their condition is not about", typed)
	}
	if held < 5000 || held > 55000 {
		t.Errorf("%d of 60000 held: the generator makes conditions that say little", held)
	}
}

// deMorgan is not e, with every not at a check.
func deMorgan(e Expr) Expr {
	negated := func(terms []Expr) []Expr {
		out := make([]Expr, len(terms))
		for i, t := range terms {
			out[i] = deMorgan(t)
		}
		return out
	}
	switch e := e.(type) {
	case *And:
		return newOr(negated(e.Terms))
	case *Or:
		return newAnd(negated(e.Terms))
	case *Not:
		return e.Term
	}
	return newNot(e)
}

// What is left of a condition for an open: the answers that its type gives are put in.
func TestGiven(t *testing.T) {
	for _, c := range []struct{ cond, want string }{
		{`evt.type = open`, "true"},
		{`evt.type = x`, "false"},
		{`evt.type in (open, x) and p.num = 1`, "p.num = 1"},
		{`(evt.type = x or p.num = 1) and p.num = 2`, "p.num = 1 and p.num = 2"},
		{`evt.type = open or p.num = 1`, "true"},
		{`evt.type = x and p.num = 1`, "false"},
		{`not evt.type = open`, "false"},
		{`not (evt.type = open and p.num = 1)`, "not p.num = 1"},
		{`evt.type != x and evt.type startswith op and evt.type exists and toupper(evt.type) = OPEN`, "true"},
		{`evt.type = val(p.name)`, "evt.type = val(p.name)"},
		{`p.num = 1`, "p.num = 1"},
	} {
		e, err := Parse(c.cond)
		if err != nil {
			t.Fatal(err)
		}
		left, holds := given(e, "open", lab)
		got := fmt.Sprint(holds)
		if left != nil {
			got = left.String()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.cond, got, c.want)
		}
	}
}
