// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// maxEvidence bounds the lines that are kept for one class.
const maxEvidence = 8

// configure-kmod and configure-bpf of Falco's drivers make trial builds and print what came of them. Those fail where
// an API is not there: that is their purpose.
var (
	probeOf   = regexp.MustCompile(`^\[configure-(?:kmod|bpf)\] Build output for HAS_(\S+):`)
	probeEnd  = regexp.MustCompile(`^\[configure-(?:kmod|bpf)\] (?:Setting|Build system is sane)`)
	probePath = regexp.MustCompile(`/configure/([^/\s]+)/`)
	// From 6.13 on kbuild works in the module's directory and names files without one; all trial builds are of test.c.
	ownStep = regexp.MustCompile(`^  (?:CC|LD)(?: \[M\])? +(?:\S*/)?(?:[^t/\s]|t[^e]|te[^s]|tes[^t])\S*$`)
	// The probe's command line: a step of its own whose lines name no configure directory.
	ownProbe = regexp.MustCompile(`^\S+ (?:\S+ )*-I\S`)
)

// sanity is the one trial build that must succeed.
const sanity = "0__SANITY"

// finder sorts the lines of a log.
type finder struct {
	by      []pattern
	logName string
	source  string // with a slash behind; "" when not known
	probe   string // the trial build whose output is being read; "" outside
	found   [classes][]cause.Evidence
	drifts  []cause.Evidence
}

// line sorts one line of the log, its number counted from 1.
func (f *finder) line(n int, text string) {
	f.enter(text)
	if !telling(text) {
		return
	}
	text = plain.Replace(text)
	if f.source != "" {
		text = strings.ReplaceAll(text, f.source, own)
	}
	for _, p := range f.by {
		at := p.re.FindStringIndex(text)
		if at == nil {
			continue
		}
		if !f.counts(p.is) {
			return
		}
		ev := f.evidence(p.is, n, text, at[0])
		if p.is == asserted && drift.MatchString(text) && len(f.drifts) < maxEvidence {
			f.drifts = append(f.drifts, ev)
		}
		if len(f.found[p.is]) < maxEvidence {
			f.found[p.is] = append(f.found[p.is], ev)
		}
		return
	}
}

// counts tells whether a class means anything where the line stands. A trial build may fail of a missing API, never for
// want of room; and of the sanity check only the code means nothing, because the driver's is another.
func (f *finder) counts(is class) bool {
	switch {
	case f.probe == "" || is == insane || is == diskFull || is == outOfMemory:
		return true
	case f.probe == sanity:
		return is != asserted
	}
	return false
}

// enter notices where the output of a trial build begins and ends. The plain looks are for the time that a long log takes.
func (f *finder) enter(text string) {
	switch {
	case strings.HasPrefix(text, "[configure-"):
		if m := probeOf.FindStringSubmatch(text); m != nil {
			f.probe = m[1]
		} else if probeEnd.MatchString(text) {
			f.probe = ""
		}
	case strings.Contains(text, "/configure/"):
		if m := probePath.FindStringSubmatch(text); m != nil {
			f.probe = m[1]
		}
	case strings.HasPrefix(text, "  ") && ownStep.MatchString(text), strings.Contains(text, " -I") && ownProbe.MatchString(text):
		f.probe = ""
	}
}

func (f *finder) evidence(is class, n int, text string, at int) cause.Evidence {
	if is == asserted || is == mismatch {
		if m := compilerError.FindStringSubmatch(text); m != nil {
			var line int
			if _, err := fmt.Sscan(m[2], &line); err == nil {
				return cause.Evidence{File: strings.TrimPrefix(m[1], own), Line: line, Text: "error: " + around(m[3], 0)}
			}
		}
	}
	return cause.Evidence{File: f.logName, Line: n, Text: around(strings.ReplaceAll(text, own, ""), at)}
}

// around keeps evidence readable: configure-kmod prints a whole trial build as one line, of which only what is near
// the match says anything.
func around(s string, at int) string {
	const before, most = 100, 400
	from, to := max(0, min(at, len(s))-before), min(len(s), at+most-before)
	out := strings.TrimSpace(strings.ToValidUTF8(s[from:max(from, to)], ""))
	if from > 0 {
		out = "... " + out
	}
	if to < len(s) {
		out += " ..."
	}
	return out
}

// compileErrors are the first to the last, the drift's lines among them for sure.
func (f *finder) compileErrors() []cause.Evidence {
	out := f.found[asserted][:1:1]
	for _, ev := range append(f.drifts, f.found[asserted][1:]...) {
		if len(out) == maxEvidence {
			break
		}
		seen := false
		for _, o := range out {
			seen = seen || o == ev
		}
		if !seen {
			out = append(out, ev)
		}
	}
	return out
}
