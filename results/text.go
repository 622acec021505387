// SPDX-License-Identifier: Apache-2.0

package results

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mews-farm/mews/results/cause"
)

// What a record keeps of a finding. Guests and compilers can print without end, the logs keep it all, and
// a report with megabytes in it is read by nobody.
const (
	maxEvidence = 40
	maxText     = 2 << 10 // bytes
)

// Line makes one harmless line of s for a terminal: no control characters, so no escape sequences from a
// guest, no characters that change the direction of text, and valid UTF-8.
func Line(s string) string {
	return strings.TrimSpace(printable(s))
}

// printable keeps the characters that show, makes spaces of white space, and marks every other.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return utf8.RuneError
		}
		return r
	}, s)
}

// Bounded returns s with the text that came from outside cut to what a record keeps.
func (s Stage) Bounded() Stage {
	s.Finding, s.Note, s.Hint = bounded(s.Finding), cut(s.Note), cut(s.Hint)
	return s
}

// Bounded returns s with the text that came from outside cut to what a record keeps.
func (s Scenario) Bounded() Scenario {
	s.Finding, s.Hint = bounded(s.Finding), cut(s.Hint)
	fields := make(map[string]string, len(s.Fields))
	for k, v := range s.Fields {
		fields[k] = cut(v)
	}
	s.Fields = fields
	s.Repeats = s.Repeats.bounded()
	return s
}

func bounded(f cause.Finding) cause.Finding {
	n := len(f.Evidence)
	kept := f.Evidence[:min(n, maxEvidence)]
	f.Evidence = make([]cause.Evidence, 0, len(kept)+1)
	for _, e := range kept {
		e.File, e.Text = cut(e.File), cut(e.Text)
		f.Evidence = append(f.Evidence, e)
	}
	if more := n - len(kept); more > 0 {
		f.Evidence = append(f.Evidence, cause.Evidence{Text: fmt.Sprintf("(%d more lines are in the logs)", more)})
	}
	return f
}

// cut shortens s to maxText bytes at a character's end.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}
