// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"regexp"
	"strings"
)

// compileGlob reads a pattern as fnmatch(3) with FNM_EXTMATCH does, which is libsinsp's glob: * and ? match a
// slash too, a backslash makes the next character a letter. The extended forms, such as +(a|b), and character
// classes by name are refused. It becomes a regular expression because those take linear time on any input.
func compileGlob(pattern string, fold bool) (*regexp.Regexp, error) {
	var b strings.Builder
	if fold {
		b.WriteString(`(?i)`)
	}
	b.WriteString(`(?s)\A`)
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		if strings.IndexByte("?*+@!", c) >= 0 && i+1 < len(pattern) && pattern[i+1] == '(' {
			return nil, fmt.Errorf("the extended glob %c( is not supported", c)
		}
		switch c {
		case '*':
			b.WriteString(`.*`)
		case '?':
			b.WriteByte('.')
		case '\\':
			if i++; i == len(pattern) {
				return nil, fmt.Errorf("the glob %q ends in a backslash", pattern)
			}
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case '[':
			n, class, err := globClass(pattern[i:])
			if err != nil {
				return nil, fmt.Errorf("the glob %q: %w", pattern, err)
			}
			b.WriteString(class)
			i += n - 1
		default:
			j := i + 1
			for j < len(pattern) && strings.IndexByte(`*?[\+@!`, pattern[j]) < 0 {
				j++
			}
			b.WriteString(regexp.QuoteMeta(pattern[i:j]))
			i = j - 1
		}
	}
	b.WriteString(`\z`)
	re, err := regexp.Compile(b.String())
	if err != nil {
		return nil, fmt.Errorf("the glob %q cannot be used: %w", pattern, err)
	}
	return re, nil
}

// globClass reads the [...] that s begins with: its length, and what a regular expression calls it.
func globClass(s string) (int, string, error) {
	i, not := 1, ""
	if i < len(s) && (s[i] == '!' || s[i] == '^') {
		i, not = i+1, "^"
	}
	end := -1
	if i < len(s) { // a ] that comes first stands for itself
		if end = strings.IndexByte(s[i+1:], ']'); end >= 0 {
			end += i + 1
		}
	}
	switch {
	case end < 0:
		return 0, "", fmt.Errorf("[ has no ]")
	case strings.ContainsAny(s[i:end], `\[`):
		return 0, "", fmt.Errorf("%s is not supported", s[:end+1])
	}
	return end + 1, "[" + not + strings.NewReplacer("]", `\]`, "^", `\^`).Replace(s[i:end]) + "]", nil
}

// paths are the operand of pmatch: each a path, split at its slashes.
type paths [][]component

// component is a name within a path; glob is set where it has wildcards.
type component struct {
	name string
	glob *regexp.Regexp
}

func compilePaths(values []string) (paths, error) {
	out := make(paths, 0, len(values))
	for _, v := range values {
		var p []component
		for name := range strings.SplitSeq(v, "/") {
			c := component{name: name}
			switch {
			case name == "":
				continue
			case strings.ContainsAny(name, "?*["):
				re, err := compileGlob(name, false)
				if err != nil {
					return nil, err
				}
				c.glob = re
			}
			p = append(p, c)
		}
		out = append(out, p)
	}
	return out, nil
}

// match reports whether one of the paths is path or a directory above it, name by name: /usr/lib is above
// /usr/lib/x and not above /usr/lib64. Empty names are passed over (prefix_search.h in libsinsp).
func (p paths) match(path string) bool {
	for _, want := range p {
		if above(want, path) {
			return true
		}
	}
	return false
}

func above(want []component, path string) bool {
	for len(want) > 0 {
		path = strings.TrimLeft(path, "/")
		if path == "" {
			return false
		}
		var name string
		name, path, _ = strings.Cut(path, "/")
		if c := want[0]; c.glob != nil && !c.glob.MatchString(name) || c.glob == nil && c.name != name {
			return false
		}
		want = want[1:]
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - ('a' - 'A')
	}
	return c
}

// containsFold is strings.Contains that takes A for a, in ASCII alone, as the C locale's strcasestr does.
func containsFold(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		j := 0
		for j < len(part) && lower(s[i+j]) == lower(part[j]) {
			j++
		}
		if j == len(part) {
			return true
		}
	}
	return false
}
