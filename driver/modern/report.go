// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/bpf"
	"github.com/mews-farm/mews/driver/internal/verifier"
	"github.com/mews-farm/mews/results/cause"
)

// ProgramReport says what became of one program of the probe.
type ProgramReport struct {
	Name     string
	Loaded   bool
	Verified uint32 // instructions that the verifier looked at, 0 where the kernel does not tell (before 5.16)
	Err      error  // a *cause.Err: why it is not loaded; state unsupported: the kernel lacks what it would watch
	Took     time.Duration
	Log      string // the verifier's whole log where it refused; of a program that is loaded what it cost, if asked for
}

// neededTypes are kernel types without which there is nothing for a program to watch. Such a program is left
// out before the verifier sees it; any other missing type is for the verifier to refuse.
var neededTypes = map[string]string{
	bpf.ProbeProgOpenat2: "open_how",
}

func missingType(program string, types *btf.Spec) error {
	name, ok := neededTypes[program]
	if !ok {
		return nil
	}
	var s *btf.Struct
	err := types.TypeByName(name, &s)
	if !errors.Is(err, btf.ErrNotFound) {
		return err
	}
	e := cause.Failf(cause.CORERelocation, cause.FaultKernel, "program %s is left out: the kernel's types have no struct %s", program, name)
	e.State = cause.Unsupported
	return e
}

// verifierLog is the whole log that err carries, or "".
func verifierLog(err error) string {
	var v *ebpf.VerifierError
	if !errors.As(err, &v) {
		return ""
	}
	return strings.Join(v.Log, "\n")
}

// programError says in the words of the taxonomy why a program was not loaded.
func programError(name string, err error) *cause.Err {
	var known *cause.Err
	if errors.As(err, &known) {
		return known
	}
	var v *ebpf.VerifierError
	if !errors.As(err, &v) || len(v.Log) == 0 {
		if errors.Is(err, ebpf.ErrNotSupported) {
			return cause.Failf(cause.UnsupportedProgramType, cause.FaultKernel, "load program %s: %w", name, err)
		}
		if strings.Contains(err.Error(), "CO-RE") {
			// Relocation ends before the kernel is asked where two of its types fit and differ.
			return cause.Failf(cause.CORERelocation, cause.FaultDriver, "relocate program %s: %w", name, err)
		}
		return denied("load program "+name, err)
	}
	// Only the errno: cilium/ebpf puts a part of the log into its text, and the evidence has the right part.
	reason := errors.Unwrap(err)
	for errors.Unwrap(reason) != nil {
		reason = errors.Unwrap(reason)
	}
	return cause.Failf(refusal(v.Log, v.Cause), cause.FaultDriver, "the verifier refuses program %s: %w", name, reason).
		With(logEvidence(v.Log)...)
}

// The text of the verifier for a call that CO-RE could not relocate: cilium/ebpf and libbpf put this number
// there on purpose.
const poison = "unknown#195896080"

// refusal reads the cause out of a verifier's log.
func refusal(log []string, err error) cause.Cause {
	text := strings.Join(log, "\n")
	switch {
	case strings.Contains(text, poison), strings.Contains(fmt.Sprint(err), "bad CO-RE relocation"):
		return cause.CORERelocation
	case errors.Is(err, unix.E2BIG):
		return cause.VerifierComplexity
	}
	return verifier.Cause(text)
}

// logEvidence picks the lines that say what the verifier refuses and where: its complaint, the nearest line of C
// above it and its count of instructions.
func logEvidence(log []string) []cause.Evidence {
	const name = "verifier.log"
	at := func(i int) cause.Evidence {
		return cause.Evidence{File: name, Line: i + 1, Text: strings.TrimSpace(log[i])}
	}
	complaint := len(log) - 1
	var summary []cause.Evidence
	for complaint > 0 && (strings.TrimSpace(log[complaint]) == "" || isSummary(log[complaint])) {
		if isSummary(log[complaint]) {
			summary = append(summary, at(complaint))
		}
		complaint--
	}
	var source []cause.Evidence
	for i := complaint; i >= 0; i-- {
		if strings.HasPrefix(log[i], "; ") {
			source = append(source, at(i))
			break
		}
	}
	return slices.Concat(source, []cause.Evidence{at(complaint)}, summary)
}

func isSummary(line string) bool {
	for _, p := range []string{"processed ", "verification time ", "stack depth "} {
		if strings.HasPrefix(line, p) {
			return true
		}
	}
	return false
}

func mapError(spec *ebpf.MapSpec, err error) *cause.Err {
	if errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, unix.EINVAL) {
		return cause.Failf(cause.UnsupportedMapType, cause.FaultKernel, "make map %s of type %s: %w", spec.Name, spec.Type, err)
	}
	return denied(fmt.Sprintf("make map %s of type %s", spec.Name, spec.Type), err)
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
