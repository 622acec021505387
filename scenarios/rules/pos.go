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

// source is the text of one condition.
type source struct{ where, text string }

// mark is a place in a source. Line and column are counted only when an error needs them.
type mark struct {
	src *source
	off int
}

func (m mark) errorf(format string, args ...any) error {
	before := m.src.text[:m.off]
	line := strings.Count(before, "\n") + 1
	col := m.off - strings.LastIndexByte(before, '\n')
	return &Error{Where: m.src.where, Line: line, Col: col, Msg: fmt.Sprintf(format, args...)}
}
