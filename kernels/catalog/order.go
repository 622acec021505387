// SPDX-License-Identifier: Apache-2.0

package catalog

import (
	"cmp"
	"strings"
)

// Compare orders releases and package versions of any distribution: numbers by their value, all else by its bytes, a
// tilde before the end. It is what dpkg and rpm agree on, which is enough to list kernels, and to tell the newer of
// two packages of one release.
func Compare(a, b string) int {
	for a != "" && b != "" {
		if digit(a[0]) && digit(b[0]) {
			na, nb := digits(a), digits(b)
			if c := number(a[:na], b[:nb]); c != 0 {
				return c
			}
			a, b = a[na:], b[nb:]
			continue
		}
		if a[0] != b[0] {
			return cmp.Compare(rank(a), rank(b))
		}
		a, b = a[1:], b[1:]
	}
	return cmp.Compare(rank(a), rank(b))
}

func rank(s string) int {
	switch {
	case s == "":
		return 0
	case s[0] == '~':
		return -1
	}
	return int(s[0]) + 1
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func digits(s string) int {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return n
}

// number compares numbers of any length.
func number(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}
