// SPDX-License-Identifier: Apache-2.0

package native

import (
	"strconv"
	"strings"
	"time"
	"unsafe"
)

// scratch is where the texts that an event has no memory for are written while it is evaluated, so that one that matches
// nothing costs no allocation. What it returns is good until the next reset.
type scratch struct {
	text []byte
	list []string
}

// maxScratch is what is kept for the next event, in bytes: a command line is at most that long where most are short.
const maxScratch = 64 << 10

func (s *scratch) reset() {
	if cap(s.text) > maxScratch {
		s.text = nil
	}
	clear(s.list)
	s.text, s.list = s.text[:0], s.list[:0]
}

// since is what was written from start on. Nothing that is written later touches it.
func (s *scratch) since(start int) string {
	t := s.text[start:]
	return unsafe.String(unsafe.SliceData(t), len(t))
}

// join is strings.Join of first, unless it is "", and the rest.
func (s *scratch) join(first string, rest []string, sep string) string {
	start := len(s.text)
	s.text = append(s.text, first...)
	for i, part := range rest {
		if i > 0 || first != "" {
			s.text = append(s.text, sep...)
		}
		s.text = append(s.text, part...)
	}
	return s.since(start)
}

// number is n in decimal.
func (s *scratch) number(n int64) string {
	start := len(s.text)
	s.text = strconv.AppendInt(s.text, n, 10)
	return s.since(start)
}

// unsigned is n in decimal.
func (s *scratch) unsigned(n uint64) string {
	start := len(s.text)
	s.text = strconv.AppendUint(s.text, n, 10)
	return s.since(start)
}

// date is t in a layout of time.Format.
func (s *scratch) date(t time.Time, layout string) string {
	start := len(s.text)
	s.text = t.AppendFormat(s.text, layout)
	return s.since(start)
}

// clean is path.Join of an absolute directory and a name.
func (s *scratch) clean(dir, name string) string {
	start := len(s.text)
	for _, part := range [...]string{dir, name} {
		for part != "" {
			var elem string
			elem, part, _ = strings.Cut(part, "/")
			switch elem {
			case "", ".":
			case "..":
				for n := len(s.text); n > start; n = len(s.text) {
					s.text = s.text[:n-1]
					if s.text[:n][n-1] == '/' {
						break
					}
				}
			default:
				s.text = append(append(s.text, '/'), elem...)
			}
		}
	}
	if len(s.text) == start {
		s.text = append(s.text, '/')
	}
	return s.since(start)
}

// flags joins the names of the bits that are set. A name of several bits must stand before those of one of them.
func (s *scratch) flags(value int, names []flagName, sep string) string {
	start := len(s.text)
	for _, f := range names {
		if f.bits != 0 && value&f.bits == f.bits {
			s.more(start, sep, f.name)
			value &^= f.bits
		}
	}
	return s.since(start)
}

// more goes on with what was written since start.
func (s *scratch) more(start int, sep, text string) {
	if len(s.text) > start {
		s.text = append(s.text, sep...)
	}
	s.text = append(s.text, text...)
}
