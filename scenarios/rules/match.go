// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// test is a check's comparison with constants, for the kind of value that it is about: one of the members is set.
type test struct {
	text   func(string) bool // also of bytes
	number func(int64) bool
	truth  func(bool) bool
	addr   func(netip.Addr) bool
}

// holds applies t to a value, or to each member of a list until it holds for one.
func (t *test) holds(v Value) bool {
	switch v.Kind {
	case String, Bytes:
		return t.text != nil && t.text(v.Str)
	case Number:
		return t.number != nil && t.number(v.Num)
	case Bool:
		return t.truth(v.Bool)
	case Address:
		return t.addr(v.Addr)
	case Numbers:
		return slices.ContainsFunc(v.List, func(m string) bool {
			n, err := number(m)
			return err == nil && t.number(n)
		})
	}
	return slices.ContainsFunc(v.List, t.text)
}

func stringTest(c *Check) (func(string) bool, error) {
	switch c.Op {
	case In, Intersects: // the same for a single value
		set := setOf(c.Values)
		return func(v string) bool { return set[v] }, nil
	case PMatch:
		paths, err := compilePaths(c.Values)
		return func(v string) bool { return paths.match(v) }, err
	}
	want := c.Values[0]
	switch c.Op {
	case Eq:
		return func(v string) bool { return v == want }, nil
	case Ne:
		return func(v string) bool { return v != want }, nil
	case Contains:
		return func(v string) bool { return strings.Contains(v, want) }, nil
	case IContains:
		return func(v string) bool { return containsFold(v, want) }, nil
	case StartsWith:
		return func(v string) bool { return strings.HasPrefix(v, want) }, nil
	case EndsWith:
		return func(v string) bool { return strings.HasSuffix(v, want) }, nil
	case Regex:
		re, err := compileRegex(want)
		return func(v string) bool { return re.MatchString(v) }, err
	}
	re, err := compileGlob(want, c.Op == IGlob)
	return func(v string) bool { return re.MatchString(v) }, err
}

// compileRegex reads an expression of RE2, whose syntax is Go's too, and which has to match the whole value
// (RE2::FullMatch in sinsp_filtercheck.cpp).
func compileRegex(expr string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(expr); err != nil {
		return nil, fmt.Errorf("the regular expression %q cannot be used: %w", expr, err)
	}
	return regexp.Compile(`\A(?:` + expr + `)\z`)
}

func setOf(values []string) map[string]bool {
	set := make(map[string]bool, len(values))
	for _, v := range values {
		set[v] = true
	}
	return set
}

func numberTest(c *Check) (func(int64) bool, error) {
	set := make(map[int64]bool, len(c.Values))
	var want int64
	for _, v := range c.Values {
		n, err := number(v)
		if err != nil {
			return nil, err
		}
		want, set[n] = n, true
	}
	switch c.Op {
	case Eq:
		return func(v int64) bool { return v == want }, nil
	case Ne:
		return func(v int64) bool { return v != want }, nil
	case Lt:
		return func(v int64) bool { return v < want }, nil
	case Le:
		return func(v int64) bool { return v <= want }, nil
	case Gt:
		return func(v int64) bool { return v > want }, nil
	case Ge:
		return func(v int64) bool { return v >= want }, nil
	}
	return func(v int64) bool { return set[v] }, nil
}

func boolTest(c *Check) (func(bool) bool, error) {
	var takes [2]bool // whether false, and true, are among the values
	for _, v := range c.Values {
		switch v {
		case "true":
			takes[1] = true
		case "false":
			takes[0] = true
		default:
			return nil, fmt.Errorf("true or false was expected, not %q", v)
		}
	}
	if c.Op == Ne {
		takes[0], takes[1] = !takes[0], !takes[1]
	}
	return func(v bool) bool {
		if v {
			return takes[1]
		}
		return takes[0]
	}, nil
}

func addressTest(c *Check) (func(netip.Addr) bool, error) {
	var want []netip.Addr
	for _, v := range c.Values {
		a, err := netip.ParseAddr(v)
		if err != nil {
			return nil, fmt.Errorf("a network address was expected, not %q", v)
		}
		want = append(want, a.Unmap())
	}
	negated := c.Op == Ne
	return func(v netip.Addr) bool { return slices.Contains(want, v) != negated }, nil
}

func networkTest(c *Check) (func(netip.Addr) bool, error) {
	var want []netip.Prefix
	for _, v := range c.Values {
		p, err := netip.ParsePrefix(v)
		if err != nil {
			return nil, fmt.Errorf("a network, as in 10.0.0.0/8, was expected, not %q", v)
		}
		want = append(want, p)
	}
	negated := c.Op == Ne
	return func(v netip.Addr) bool {
		for _, p := range want {
			if p.Contains(v) {
				return !negated
			}
		}
		return negated
	}, nil
}

func bytesTest(c *Check) (func(string) bool, error) {
	if c.Op != BContains && c.Op != BStarts {
		return stringTest(c)
	}
	raw, err := hex.DecodeString(c.Values[0])
	if err != nil {
		return nil, fmt.Errorf("hexadecimal digits, two for each byte, were expected, not %q", c.Values[0])
	}
	want := string(raw)
	if c.Op == BStarts {
		return func(v string) bool { return strings.HasPrefix(v, want) }, nil
	}
	return func(v string) bool { return strings.Contains(v, want) }, nil
}
