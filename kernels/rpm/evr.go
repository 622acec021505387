// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"cmp"
	"strconv"
	"strings"
)

// EVR is a package's full version.
type EVR struct {
	Epoch            int
	Version, Release string
}

// ParseEVR reads [epoch:]version[-release]. A text before the colon that is no number belongs to the version.
func ParseEVR(s string) EVR {
	var e EVR
	if head, rest, ok := strings.Cut(s, ":"); ok {
		if n, err := strconv.ParseUint(head, 10, 31); err == nil {
			e.Epoch, s = int(n), rest
		}
	}
	e.Version, e.Release, _ = cutLast(s, "-")
	return e
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// String is [epoch:]version-release; an epoch of 0 is left out.
func (e EVR) String() string {
	s := e.Version
	if e.Release != "" {
		s += "-" + e.Release
	}
	if e.Epoch != 0 {
		s = strconv.Itoa(e.Epoch) + ":" + s
	}
	return s
}

// Compare is -1 where e is older than o, 1 where it is newer, and 0 where they are as new.
func (e EVR) Compare(o EVR) int {
	return cmp.Or(cmp.Compare(e.Epoch, o.Epoch), Compare(e.Version, o.Version), Compare(e.Release, o.Release))
}

// Compare orders two versions, or two releases, as rpm's rpmvercmp does: runs of digits count as numbers, runs of letters
// as text and as older than digits, all else only parts them; ~ sorts before the end, and ^ after it but before anything else.
func Compare(a, b string) int {
	if a == b {
		return 0
	}
	for {
		a, b = strings.TrimLeftFunc(a, separates), strings.TrimLeftFunc(b, separates)
		switch at, bt := strings.HasPrefix(a, "~"), strings.HasPrefix(b, "~"); {
		case at && bt:
			a, b = a[1:], b[1:]
			continue
		case at:
			return -1
		case bt:
			return 1
		}
		switch ac, bc := strings.HasPrefix(a, "^"), strings.HasPrefix(b, "^"); {
		case ac && bc:
			a, b = a[1:], b[1:]
			continue
		case ac && b == "":
			return 1
		case ac:
			return -1
		case bc && a == "":
			return -1
		case bc:
			return 1
		}
		if a == "" || b == "" {
			return cmp.Compare(len(a), len(b)) // whoever has something left is newer
		}
		kind := letter
		number := digit(rune(a[0]))
		if number {
			kind = digit
		}
		var left, right string
		left, a = run(a, kind)
		right, b = run(b, kind)
		switch {
		case right == "" && number:
			return 1
		case right == "":
			return -1
		case number:
			left, right = strings.TrimLeft(left, "0"), strings.TrimLeft(right, "0")
			if c := cmp.Compare(len(left), len(right)); c != 0 {
				return c
			}
		}
		if c := strings.Compare(left, right); c != 0 {
			return c
		}
	}
}

func digit(r rune) bool     { return '0' <= r && r <= '9' }
func letter(r rune) bool    { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' }
func separates(r rune) bool { return !digit(r) && !letter(r) && r != '~' && r != '^' }

// run cuts off what s begins with of a kind.
func run(s string, kind func(rune) bool) (head, rest string) {
	rest = strings.TrimLeftFunc(s, kind)
	return s[:len(s)-len(rest)], rest
}
