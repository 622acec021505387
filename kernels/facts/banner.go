// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"regexp"
	"strings"
)

// Banner is the line that a kernel greets with, and /proc/version shows: the facts of compile.h, compiled in.
type Banner struct {
	Text     string `json:"text"`
	Release  string `json:"release"`  // uname -r
	Builder  string `json:"builder"`  // user@host
	Compiler string `json:"compiler"` // and linker
	Version  string `json:"version"`  // uname -v
}

const (
	bannerStart = "Linux version "
	maxBanner   = 1024
)

// numbered tells the banner itself from the copy without a number that Linux 6.1 and later carry beside it, which is there
// for tools that look into vmlinux.o (init/version.c).
var numbered = regexp.MustCompile(`^#\d`)

// Banner returns the kernel's greeting; its zero value where none was found.
func (v *Vmlinux) Banner() (Banner, error) {
	b, err := v.constants()
	if err != nil {
		return Banner{}, err
	}
	for off := range occurrences(b, bannerStart) {
		text := b[off:min(off+maxBanner, len(b))]
		if end := bytes.IndexAny(text, "\n\x00"); end >= 0 {
			if n, ok := parseBanner(string(text[:end])); ok {
				return n, nil
			}
		}
	}
	return Banner{}, nil
}

// parseBanner reads "Linux version RELEASE (USER@HOST) (COMPILER) VERSION", where COMPILER has parentheses of its own.
func parseBanner(text string) (Banner, bool) {
	rest, ok := strings.CutPrefix(text, bannerStart)
	if !ok {
		return Banner{}, false
	}
	n := Banner{Text: text}
	if n.Release, rest, ok = strings.Cut(rest, " "); !ok || n.Release == "" {
		return Banner{}, false
	}
	if n.Builder, rest, ok = parenthesized(rest); !ok {
		return Banner{}, false
	}
	if n.Compiler, n.Version, ok = parenthesized(strings.TrimPrefix(rest, " ")); !ok {
		return Banner{}, false
	}
	n.Version = strings.TrimSpace(n.Version)
	return n, numbered.MatchString(n.Version)
}

// parenthesized cuts a group in parentheses, which may hold others, off the start of s.
func parenthesized(s string) (group, rest string, ok bool) {
	depth := 0
	for i, c := range s {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		}
		if depth == 0 {
			return s[min(1, i):i], s[i+1:], i > 0
		}
	}
	return "", "", false
}
