// SPDX-License-Identifier: Apache-2.0

// Package verifier knows what the kernel's verifier says that a program cost it.
package verifier

import (
	"regexp"
	"strconv"
	"strings"
)

// Stats is what the verifier counted of one program.
type Stats struct {
	Insns      int // instructions that it looked at, each as often as it did
	Limit      int // of Insns
	PeakStates int
	Stack      []int // bytes of each function, the main one first
}

// StackBytes is what the functions need together; the kernel's limit is of one chain of calls, which needs no more.
func (s Stats) StackBytes() int {
	sum := 0
	for _, n := range s.Stack {
		sum += n
	}
	return sum
}

// "processed 1234 insns (limit 1000000) max_states_per_insn 4 total_states 88 peak_states 88 mark_read 12" since 5.2, and
// "stack depth 96+0" (kernel/bpf/verifier.c, print_verification_stats). What comes later in a log counts: logs are hostile
// to nobody but a guest may print what it likes, so that numbers are bounded too.
var (
	processed = regexp.MustCompile(`(?m)^processed (\d{1,9}) insns \(limit (\d{1,9})\) max_states_per_insn \d+ total_states \d+ peak_states (\d{1,9}) mark_read \d+`)
	stack     = regexp.MustCompile(`(?m)^stack depth (\d{1,6}(?:\+\d{1,6})*)$`)
)

// Parse reads the end of a verifier's log at the level of statistics. It is not ok if the log has none.
func Parse(log string) (Stats, bool) {
	p := last(processed, log)
	if p == nil {
		return Stats{}, false
	}
	s := Stats{Insns: number(p[1]), Limit: number(p[2]), PeakStates: number(p[3])}
	if d := last(stack, log); d != nil {
		for _, n := range strings.Split(d[1], "+") {
			s.Stack = append(s.Stack, number(n))
		}
	}
	return s, true
}

func last(re *regexp.Regexp, log string) []string {
	all := re.FindAllStringSubmatch(log, -1)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// number is of digits that the expression has bounded.
func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}
