// SPDX-License-Identifier: Apache-2.0

// Package splat knows the texts with which a Linux kernel complains: panics, oopses, warnings, stalls, hung tasks.
//
// It reads text and nothing else: a serial console, dmesg, /dev/kmsg without its header. The text is untrusted.
package splat

import (
	"regexp"
	"slices"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Kind is a class of complaint.
type Kind string

// The kinds, worst first. Panic is the only one after which the kernel is surely gone.
const (
	Panic   Kind = "panic"   // Kernel panic - not syncing
	Oops    Kind = "oops"    // BUG:, Oops:, general protection fault, invalid opcode, kernel BUG at
	Lockup  Kind = "lockup"  // soft and hard lockups, RCU stalls, hung tasks
	Warning Kind = "warning" // WARNING:, UBSAN, and any call trace that nothing else announced
)

// Splat is one complaint.
type Splat struct {
	Kind  Kind
	Title string           // its first line, without the addresses that differ between boots
	Lines []cause.Evidence // the title's line, then those that say where: RIP, comm, call trace; at most MaxLines
}

// Bounds on what is kept of a hostile or a very unhappy guest.
const (
	MaxLines  = 32   // of one splat; a call trace of 24 frames says where
	MaxSplats = 64   // of one scanner: a kernel that warns in a loop says nothing new
	maxText   = 1024 // bytes of one line
)

// heads is the deny-list: the first line of every complaint, in the order in which they are tried.
//
// All are anchored: "traps: sh[17] general protection fault ip:..." is a crash of a user's process, and
// "Spectre V2 : WARNING: ..." is an opinion.
var heads = []struct {
	kind Kind
	re   *regexp.Regexp
}{
	{Panic, regexp.MustCompile(`^Kernel panic - not syncing`)},
	{Lockup, regexp.MustCompile(`^(watchdog: )?BUG: (soft lockup|workqueue lockup)`)},
	{Lockup, regexp.MustCompile(`^(NMI )?[wW]atchdog: .*(hard LOCKUP|soft lockup)`)},
	{Lockup, regexp.MustCompile(`^(rcu: )?INFO: rcu\w* .*stall`)},
	{Lockup, regexp.MustCompile(`^INFO: task .* blocked for more than \d+ seconds`)},
	{Oops, regexp.MustCompile(`^BUG: `)},
	{Oops, regexp.MustCompile(`^BUG \S+ \(`)}, // SLUB: "BUG kmalloc-64 (Tainted: G  OE): Redzone overwritten"
	{Oops, regexp.MustCompile(`^kernel BUG at `)},
	{Oops, regexp.MustCompile(`^(Oops|Internal error): `)}, // the latter is arm64's word
	{Oops, regexp.MustCompile(`^(general protection fault|invalid opcode|int3|divide error|double fault|stack segment|PANIC: double fault)[,:]`)},
	{Warning, regexp.MustCompile(`^WARNING: `)},
	{Warning, regexp.MustCompile(`^UBSAN: `)},
	{Warning, regexp.MustCompile(`^Call [Tt]race:`)},
}

var (
	// "<4>[   12.345678][  T117] " in all the forms in which parts of it may be absent.
	prefix = regexp.MustCompile(`^(<\d{1,3}>)?(\[ *\d+\.\d+\])?(\[ *[TC]\d+\])? ?`)
	// Where a complaint is: kept beside its first line.
	where = regexp.MustCompile(`^(RIP: |pc : |lr : |CPU: |Comm: |Workqueue: |Modules linked in:|Call [Tt]race:|#PF: |CR2: )`)
	frame = regexp.MustCompile(`^ *(<(TASK|IRQ|NMI|#\w+)>|\w[\w.]*\+0x[0-9a-f]+/0x[0-9a-f]+)`)
	end   = regexp.MustCompile(`^---\[ end `)

	address = regexp.MustCompile(`\b(0x)?[0-9a-f]{16}\b`)
)

// Scanner finds the splats in a log that is fed to it line by line. Its zero value is ready.
type Scanner struct {
	splats []Splat
	open   bool // the last splat may still get lines
	quiet  int  // lines since the open splat last got one
}

// maxQuiet lines that say nothing of a splat's place end it: registers and code bytes are fewer.
const maxQuiet = 24

// Line takes the next line; ev.Text may carry printk's prefix. It reports whether a new splat began with it.
func (s *Scanner) Line(ev cause.Evidence) bool {
	ev.Text = Clean(ev.Text)
	text := prefix.ReplaceAllString(ev.Text, "")
	if end.MatchString(text) {
		s.open = false
		return false
	}
	if kind, ok := head(text); ok && !s.continues(kind, text) {
		if len(s.splats) == MaxSplats {
			s.open = false
			return false
		}
		s.splats = append(s.splats, Splat{Kind: kind, Title: title(text), Lines: []cause.Evidence{ev}})
		s.open, s.quiet = true, 0
		return true
	}
	if !s.open {
		return false
	}
	last := &s.splats[len(s.splats)-1]
	if _, ok := head(text); ok || where.MatchString(text) || frame.MatchString(text) {
		s.quiet = 0
		if len(last.Lines) < MaxLines {
			last.Lines = append(last.Lines, ev)
		}
		return false
	}
	if s.quiet++; s.quiet > maxQuiet {
		s.open = false
	}
	return false
}

// continues says whether a line that could begin a complaint belongs to the open one: a page fault is a
// "BUG: unable to handle", an "Oops: 0002" and a "Call Trace:", and is one splat.
func (s *Scanner) continues(kind Kind, text string) bool {
	if !s.open {
		return false
	}
	trace := strings.HasPrefix(text, "Call ")
	return trace || kind == Oops && s.splats[len(s.splats)-1].Kind == Oops
}

// Splats is what was found so far, oldest first. The caller owns it.
func (s *Scanner) Splats() []Splat {
	out := make([]Splat, 0, len(s.splats))
	for _, sp := range s.splats {
		if sp.asked() {
			continue
		}
		sp.Lines = append([]cause.Evidence(nil), sp.Lines...)
		out = append(out, sp)
	}
	return out
}

// asked says that the kernel did what it was asked to do, and showed where, which it does of complaints too: it ended a process
// that came to the memory bound of its cgroup (mem_cgroup_out_of_memory, mm/memcontrol.c). A kernel whose own memory is at its
// end does not come that way.
func (sp Splat) asked() bool {
	return sp.Kind == Warning && strings.HasPrefix(sp.Title, "Call ") &&
		slices.ContainsFunc(sp.Lines, func(l cause.Evidence) bool { return strings.Contains(l.Text, " mem_cgroup_out_of_memory+") })
}

// Scan finds the splats in a whole log. File names the log in the evidence; lines count from 1.
func Scan(file, log string) []Splat {
	var s Scanner
	n := 0
	for line := range strings.Lines(log) {
		n++
		s.Line(cause.Evidence{File: file, Line: n, Text: line})
	}
	return s.Splats()
}

// Clean makes a line of a guest fit to be shown: no control characters (an escape sequence in a log must not
// drive somebody's terminal), valid UTF-8, bounded.
func Clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if len(line) > maxText {
		line = line[:maxText]
	}
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r < ' ', r >= 0x7f && r < 0xa0: // C0, DEL and C1
			return -1
		case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069: // bidirectional overrides
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "?"))
}

func head(text string) (Kind, bool) {
	for _, h := range heads {
		if h.re.MatchString(text) {
			return h.kind, true
		}
	}
	return "", false
}

func title(text string) string {
	return strings.TrimSpace(address.ReplaceAllString(text, "ADDR"))
}
