// SPDX-License-Identifier: Apache-2.0

package ebpf

import (
	"regexp"
	"strings"

	"github.com/mews-farm/mews/driver/consumer/child"
	"github.com/mews-farm/mews/driver/internal/verifier"
	"github.com/mews-farm/mews/internal/lazy"
	"github.com/mews-farm/mews/results/cause"
)

// LogFile is the name under which the words of the load are kept beside a cell's record.
const LogFile = "verifier.log"

// The lines between which libscap puts the verifier's log (userspace/libscap/engine/bpf/scap_bpf.c, load_single_prog).
const (
	logBegin = "-- BEGIN PROG LOAD LOG --"
	logEnd   = "-- END PROG LOAD LOG --"
)

// incompatible are libscap's texts, of 2022 and of today, for a driver of another API or schema, whatever its variant. One of
// them has its two versions swapped ("version supported by scap"): the line is evidence, its numbers are not.
var incompatible = lazy.Regexp(`version supported by scap|incompatible with the current driver|(API|schema) version \S+.* but running version needs`)

// Incompatible reports whether libscap refused a driver, probe or module, for its API or schema version.
func Incompatible(stderr string) bool { return incompatible().MatchString(stderr) }

// refusals are libscap's own texts of the same file, before it asks the kernel for a program.
var refusals = []struct {
	text  func() *regexp.Regexp
	cause cause.Cause
	fault cause.Fault
	what  string
	hint  string
}{
	{lazy.Regexp(`BPF probe is compiled for \S+, but running version is`), cause.VermagicMismatch, cause.FaultDriver,
		"the probe was built for another kernel", "build it against this kernel's own headers"},
	{lazy.Regexp(`missing (api|schema)_version section`), cause.APISchemaMismatch, cause.FaultDriver,
		"the probe is older than API versions, and sysdig wants them", ""},
	{incompatible, cause.APISchemaMismatch, cause.FaultDriver,
		"sysdig refuses the probe for its API or schema version", ""},
	{lazy.Regexp(`can't create map \d+`), cause.UnsupportedMapType, cause.FaultKernel,
		"this kernel does not make a map that the probe needs", ""},
	{lazy.Regexp(`unable to open the perf-buffer for cpu`), cause.PolicyDenied, cause.FaultKernel,
		"this kernel does not open the perf ring that the probe writes to", "see kernel.perf_event_paranoid, and what filters perf_event_open"},
}

// broken are the texts of libscap for a file that is no whole probe.
var broken = lazy.Regexp(`can't (open BPF probe|read ELF)|missing SHT_SYMTAB section|invalid (ELF version|filler name)`)

var program = lazy.Regexp(`bpf_load_program\(\) event=(\S+?)(:|$|\s)`)

// Refusal says in the words of the taxonomy why sysdig did not load a probe, of what it wrote to its stderr; nil if that
// tells of no refusal. Its errno is not looked at: libscap takes the -1 of the system call for one, so that every refusal
// reads "Operation not permitted".
func Refusal(stderr string) error {
	if log, ok := verifierLog(stderr); ok {
		name := "a program"
		if m := program().FindStringSubmatch(stderr); m != nil {
			name = "program " + m[1]
		}
		c, fault := verdict(log)
		return cause.Failf(c, fault, "the verifier refuses %s of the probe", name).With(logEvidence(log)...)
	}
	for _, r := range refusals {
		if line := lineOf(stderr, r.text()); line != "" {
			e := cause.Failf(r.cause, r.fault, "%s", r.what).With(cause.Evidence{File: LogFile, Text: line})
			e.Hint = r.hint
			return e
		}
	}
	if line := lineOf(stderr, broken()); line != "" {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "the file is not a whole probe").With(cause.Evidence{File: LogFile, Text: line}).
			Advise("it may be compressed, or cut short")
	}
	return nil
}

// lineOf is the first line that re is in; "" when there is none.
func lineOf(text string, re *regexp.Regexp) string {
	for line := range strings.Lines(text) {
		if re.MatchString(line) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// verifierLog is what stands between libscap's marks. Of a long log the beginning is lost, and the first mark with it.
func verifierLog(stderr string) ([]string, bool) {
	before, _, ok := strings.Cut(stderr, logEnd)
	if !ok {
		return nil, false
	}
	if _, inside, ok := strings.Cut(before, logBegin); ok {
		before = inside
	}
	return strings.Split(strings.TrimSpace(before), "\n"), true
}

// verdict reads the cause out of a verifier's log.
func verdict(log []string) (cause.Cause, cause.Fault) {
	text := strings.Join(log, "\n")
	if text == "" { // the verifier was never asked: the kernel knows no such program
		return cause.UnsupportedProgramType, cause.FaultKernel
	}
	return verifier.Cause(text), cause.FaultDriver
}

// logEvidence is the end of a verifier's log, where it complains.
func logEvidence(log []string) []cause.Evidence {
	return child.Evidence(LogFile, strings.Join(log, "\n"))
}
