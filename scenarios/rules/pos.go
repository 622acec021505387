// SPDX-License-Identifier: Apache-2.0

package rules

import (
	"fmt"
	"strings"
)

// Error is a mistake in a rule file or a condition, and where it stands.
type Error struct {
	// Where is the file, line and column of the value in its file, and what it is, as in
	// `falco.yaml:12:14: macro "container"`. Empty for a condition that came from no file.
	Where string
	// Line and Col are the place within the condition, from 1; 0 where the error is not within one. They are
	// those of the condition after YAML folded it, as the engine sees it.
	Line, Col int
	Msg       string
	// Field is the field that the vocabulary lacks; empty for any other mistake.
	Field string
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.Where != "" {
		b.WriteString(e.Where + ": ")
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "condition:%d:%d: ", e.Line, e.Col)
	}
	return b.String() + e.Msg
}

// source is the text of one condition. It has several parts where later entries appended to it.
type source struct {
	text  string
	parts []part // in the order of the text; none for a condition of no file
}

// part is where a piece of a source, from its offset to that of the next, was written.
type part struct {
	off   int
	where string
}

// from adds a piece of text, parted by a blank, as Falco does.
func (s *source) from(where, text string) {
	if s.text != "" {
		s.text += " "
	}
	s.parts = append(s.parts, part{len(s.text), where})
	s.text += text
}

// at is the part that holds the offset.
func (s *source) at(off int) part {
	var in part
	for _, p := range s.parts {
		if p.off <= off {
			in = p
		}
	}
	return in
}

// mark is a place in a source. Line and column are counted only when an error needs them.
type mark struct {
	src *source
	off int
}

func (m mark) errorf(format string, args ...any) *Error {
	in := m.src.at(m.off)
	before := m.src.text[in.off:m.off]
	line := strings.Count(before, "\n") + 1
	col := len(before) - strings.LastIndexByte(before, '\n')
	return &Error{Where: in.where, Line: line, Col: col, Msg: fmt.Sprintf(format, args...)}
}

// where is the part of the source that the mark stands in.
func (m mark) where() string { return m.src.at(m.off).where }
