// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/kmod/kmsg"
	"github.com/mews-farm/mews/results/cause"
)

// refusals are what a kernel logs when it refuses a module, and what that means. The kernel answers all of the
// first three with ENOEXEC, ENOENT or EINVAL and no more; the reason is in its log alone (kernel/module/main.c,
// check_modinfo, simplify_symbols, and kernel/module/version.c; kernel/module.c before 5.19).
var refusals = []struct {
	text  string
	cause cause.Cause
	fault cause.Fault
	what  string
	hint  string
}{
	{"version magic", cause.VermagicMismatch, cause.FaultDriver, "was built for another kernel", "build it against this kernel's own headers"},
	{"disagrees about version of symbol", cause.SymbolCRCMismatch, cause.FaultDriver, "was built against another ABI of this kernel", "build it against the headers of exactly this build"},
	{"Unknown symbol", cause.UnknownSymbol, cause.FaultDriver, "needs symbols that this kernel does not export", ""},
	{"Lockdown:", cause.PolicyDenied, cause.FaultKernel, "may not be loaded on a locked-down kernel", ""},
	{"Loading of unsigned module is rejected", cause.ModuleSignature, cause.FaultKernel, "is not signed, and this kernel insists", "sign it with a key that this kernel trusts"},
	{"Loading of module with unavailable key is rejected", cause.ModuleSignature, cause.FaultKernel, "is signed with a key that this kernel does not know", "sign it with a key that this kernel trusts"},
}

// classify makes a finding of a load that the kernel refused with err, after it had logged lines.
func classify(name string, err error, lines []kmsg.Record) error {
	for _, r := range refusals {
		var evidence []cause.Evidence
		for _, l := range lines {
			if strings.Contains(l.Text, r.text) {
				evidence = append(evidence, cause.Evidence{File: "dmesg.log", Text: l.Text})
			}
		}
		if evidence != nil {
			e := cause.Failf(r.cause, r.fault, "module %s %s: %w", name, r.what, err).With(evidence...)
			e.Hint = r.hint
			return e
		}
	}
	evidence := evidenceOf(lines)
	switch {
	case errors.Is(err, unix.EKEYREJECTED), errors.Is(err, unix.ENOKEY):
		return cause.Failf(cause.ModuleSignature, cause.FaultKernel, "this kernel rejects the signature of module %s: %w", name, err).With(evidence...).
			Advise("sign it with a key that this kernel trusts")
	case errors.Is(err, unix.EPERM):
		return cause.Failf(cause.PolicyDenied, cause.FaultKernel, "this kernel's policy denies loading module %s: %w", name, err).With(evidence...)
	case errors.Is(err, unix.EEXIST):
		return cause.Errorf(cause.Internal, cause.FaultHarness, "module %s is loaded already: %w", name, err)
	case errors.Is(err, unix.ENOEXEC):
		return cause.Errorf(cause.Internal, cause.FaultHarness, "the file of module %s is not a module for this kernel: %w", name, err).With(evidence...).
			Advise("it may be compressed, cut short, or of another architecture")
	}
	return cause.Failf(cause.ModuleInitFailed, cause.FaultDriver, "module %s did not come up: %w", name, err).With(evidence...)
}

// evidenceOf makes evidence of the kernel's last words.
func evidenceOf(lines []kmsg.Record) []cause.Evidence {
	const last = 20
	var out []cause.Evidence
	for _, l := range lines[max(0, len(lines)-last):] {
		out = append(out, cause.Evidence{File: "dmesg.log", Text: l.Text})
	}
	return out
}
