// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
)

// The character classes are those of libsinsp's grammar (userspace/libsinsp/filter/parser.h and parser.cpp:
// RGX_BARESTR, RGX_FIELDARGBARESTR, lex_blank), so that what is printed here is read there as it was meant.

func isBlank(c byte) bool { return strings.IndexByte(" \t\b\r\n", c) >= 0 }

func notBare(r rune) bool { return strings.ContainsRune("()\"'=, \t\b\r\n\v\f", r) }

func notArg(r rune) bool { return strings.ContainsRune("[]\"' \t\b\r\n\v\f", r) }

// notPlain holds for what is printed in quotes though some of it could stand bare: the reader of a filter
// should not have to know the grammar's corners.
func notPlain(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		return false
	}
	return !strings.ContainsRune("_./:@%+*?-", r)
}

// quote writes a value so that libsinsp's lexer, and ours, read it back.
func quote(v string) string {
	if v != "" && strings.IndexFunc(v, notPlain) < 0 {
		return v
	}
	if strings.HasSuffix(v, `\`) {
		// A quote after a backslash does not end a string there, even if the backslash is itself escaped.
		return v
	}
	return quoted(v)
}

var escaper = strings.NewReplacer("\\", `\\`, `"`, `\"`, "\b", `\b`, "\f", `\f`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

func quoted(v string) string { return `"` + escaper.Replace(v) + `"` }

// writable says why v cannot be written as a value of a filter; nil if it can.
func writable(v string) error {
	if strings.IndexByte(v, 0) >= 0 {
		return fmt.Errorf("a value cannot hold a NUL byte")
	}
	if strings.HasSuffix(v, `\`) && strings.IndexFunc(v, notBare) >= 0 {
		return fmt.Errorf("the filter grammar has no way to write %q: it ends in a backslash and needs quotes", v)
	}
	return nil
}

// unquote undoes the escapes of libsinsp's strings (filter/escaping.cpp); delim is the quote that v stood in.
// The one that libsinsp keeps for old rules only, backslash and blank, is an error here.
func unquote(v string, delim byte) (string, error) {
	if strings.IndexByte(v, '\\') < 0 {
		return v, nil
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' {
			b.WriteByte(v[i])
			continue
		}
		i++
		switch c := v[i]; c { // the closing quote never follows a backslash, so there is a character here
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '\\', '/':
			b.WriteByte(c)
		case '"', '\'':
			if c != delim {
				return "", fmt.Errorf("\\%c is not an escape within %c", c, delim)
			}
			b.WriteByte(c)
		default:
			return "", fmt.Errorf("unknown escape \\%c (known: \\b \\f \\n \\r \\t \\\\ \\/ and the quote)", c)
		}
	}
	return b.String(), nil
}
