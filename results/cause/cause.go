// SPDX-License-Identifier: Apache-2.0

// Package cause knows why a result is not a pass, and whose fault that is.
//
// Every part of mews that can fail returns an error that carries a [Finding], so that the controller
// never has to guess from an error's text whether the kernel, the driver or mews itself fell short.
package cause

import (
	"errors"
	"fmt"
	"strings"
)

// State is the outcome of a stage, a scenario or a cell.
type State string

// The states. Missing and Error never count as, or render as, Pass.
const (
	Pass        State = "pass"        // proven good
	Fail        State = "fail"        // the driver or the kernel is at fault
	Unsupported State = "unsupported" // known, explained and proven not to be possible there
	Skipped     State = "skipped"     // somebody asked for it to be left out
	Error       State = "error"       // ours, or the infrastructure's, fault: no verdict
	Missing     State = "missing"     // declared, and no result was recorded
)

// Fault says who is to blame. The zero value is invalid on purpose: a result that is not a pass must say.
type Fault string

// The parties that can be at fault.
const (
	FaultKernel    Fault = "kernel"
	FaultDriver    Fault = "driver"
	FaultToolchain Fault = "toolchain"
	FaultScenario  Fault = "scenario"
	FaultHarness   Fault = "harness"
	FaultInfra     Fault = "infra"
)

// Cause is a code of the taxonomy. Codes are added, never reused with another meaning.
type Cause string

// The taxonomy, in the order of the stages that usually meet them.
const (
	HeadersMissing   Cause = "HEADERS_MISSING"
	PackageMissing   Cause = "PACKAGE_MISSING" // the mirror answers, and does not have it
	PackageCorrupt   Cause = "PACKAGE_CORRUPT"
	SignatureInvalid Cause = "SIGNATURE_INVALID"

	SourceUnusable Cause = "SOURCE_UNUSABLE" // what was named as a driver's source holds none, or nothing that is safe to unpack

	ToolchainMismatch Cause = "TOOLCHAIN_MISMATCH"
	ToolchainBroken   Cause = "TOOLCHAIN_BROKEN"
	CompileError      Cause = "COMPILE_ERROR"
	ModpostUnresolved Cause = "MODPOST_UNRESOLVED"
	BuildTimeout      Cause = "BUILD_TIMEOUT" // a build that did not end in its time
	OutOfMemory       Cause = "OUT_OF_MEMORY" // a compiler that was killed, or stopped at its memory limit
	BuilderLost       Cause = "BUILDER_LOST"  // the daemon that builds run in does not answer, or went away in the middle of one

	VariantGone Cause = "VARIANT_GONE" // the driver's source has no such variant: not any more, or never had

	VermagicMismatch  Cause = "VERMAGIC_MISMATCH"
	SymbolCRCMismatch Cause = "SYMBOL_CRC_MISMATCH"
	APISchemaMismatch Cause = "API_SCHEMA_MISMATCH"

	NotBootable Cause = "NOT_BOOTABLE" // nothing that QEMU could boot is published, or it lacks what our machine needs
	BootTimeout Cause = "BOOT_TIMEOUT"
	BootPanic   Cause = "BOOT_PANIC"

	MissingBTF             Cause = "MISSING_BTF"
	CORERelocation         Cause = "CORE_RELOCATION"
	UnsupportedMapType     Cause = "UNSUPPORTED_MAP_TYPE"
	UnsupportedProgramType Cause = "UNSUPPORTED_PROGRAM_TYPE"
	UnsupportedHelper      Cause = "UNSUPPORTED_HELPER"
	VerifierRejection      Cause = "VERIFIER_REJECTION"
	VerifierComplexity     Cause = "VERIFIER_COMPLEXITY"
	ModuleSignature        Cause = "MODULE_SIGNATURE"
	PolicyDenied           Cause = "POLICY_DENIED"
	UnknownSymbol          Cause = "UNKNOWN_SYMBOL"
	ModuleInitFailed       Cause = "MODULE_INIT_FAILED" // the module's own init function gave an error
	ModuleBusy             Cause = "MODULE_BUSY"        // it cannot be unloaded: somebody holds it

	KernelSplat Cause = "KERNEL_SPLAT"
	KernelPanic Cause = "KERNEL_PANIC"
	KernelHang  Cause = "KERNEL_HANG"

	NoEvents        Cause = "NO_EVENTS"
	EventFieldWrong Cause = "EVENT_FIELD_WRONG"
	EventDrops      Cause = "EVENT_DROPS"

	RuleSilent          Cause = "RULE_SILENT"
	RuleFalseAlarm      Cause = "RULE_FALSE_ALARM"
	RuleUnsupported     Cause = "RULE_UNSUPPORTED"     // the consumer lacks a field or an operator that the rule uses
	SuiteUnsupported    Cause = "SUITE_UNSUPPORTED"    // a test of event-generator's wants what is not done here
	SyscallMissing      Cause = "SYSCALL_MISSING"      // the kernel answers ENOSYS to what a scenario needs
	SyscallDenied       Cause = "SYSCALL_DENIED"       // the kernel has the call, and whoever asked for it got ENOSYS
	KernelLacks         Cause = "KERNEL_LACKS"         // the kernel's version or configuration has not what a scenario needs
	AlreadyTraced       Cause = "ALREADY_TRACED"       // a process has one tracer, and the driver is that of the deed's
	ScenarioBroken      Cause = "SCENARIO_BROKEN"      // the attack or its twin could not do its deed
	ScenarioTimeout     Cause = "SCENARIO_TIMEOUT"     // its deed did not end in its time
	ScenarioLimit       Cause = "SCENARIO_LIMIT"       // its deed came to a bound of processes or memory
	ConsumerBroken      Cause = "CONSUMER_BROKEN"      // the consumer did not start, or died
	ConsumerFailed      Cause = "CONSUMER_FAILED"      // a program of the user's own judged the driver, and not well
	ConsumerUnsupported Cause = "CONSUMER_UNSUPPORTED" // it found that the kernel lacks what the driver needs
	NoRules             Cause = "NO_RULES"             // it judges by its exit status alone, and a scenario by no rule
	VariantDisagreement Cause = "VARIANT_DISAGREEMENT"

	OverheadRegression Cause = "OVERHEAD_REGRESSION"

	FlakeSuspected    Cause = "FLAKE_SUSPECTED"
	AgentLost         Cause = "AGENT_LOST"
	VMCrashed         Cause = "VM_CRASHED"
	CloudCapacity     Cause = "CLOUD_CAPACITY"
	MirrorUnreachable Cause = "MIRROR_UNREACHABLE"
	DiskFull          Cause = "DISK_FULL"
	StoreUnreachable  Cause = "STORE_UNREACHABLE" // the artifact store does not answer, or is gone
	StoreDenied       Cause = "STORE_DENIED"      // the artifact store does not let us
	StoreConflict     Cause = "STORE_CONFLICT"    // the artifact store has something else under that name
	StoreCorrupt      Cause = "STORE_CORRUPT"     // what the artifact store has is not what it says it has
	Cancelled         Cause = "CANCELLED"
	Internal          Cause = "INTERNAL"     // a bug in mews; says so instead of blaming anybody else
	NotRecorded       Cause = "NOT_RECORDED" // the cause of every missing result
)

// Evidence is one line that proves a finding. File is relative to the cell's directory, or names the source
// file a compiler complained about; Line counts from 1, and 0 means that the line is not known.
type Evidence struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Text string `json:"text"`
}

func (e Evidence) String() string {
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
	case e.File != "":
		return e.File + ": " + e.Text
	}
	return e.Text
}

// Text makes evidence out of bare lines.
func Text(lines ...string) []Evidence {
	out := make([]Evidence, 0, len(lines))
	for _, l := range lines {
		out = append(out, Evidence{Text: l})
	}
	return out
}

// Finding says what is the matter. Its zero value, and only that, is no finding.
type Finding struct {
	State    State      `json:"state"`
	Cause    Cause      `json:"cause"`
	Fault    Fault      `json:"fault"`
	Evidence []Evidence `json:"evidence"`
}

// Check reports what is wrong with f as a record: a state but pass needs a cause and a fault.
func (f Finding) Check() error {
	switch f.State {
	case Pass:
		if f.Cause != "" || f.Fault != "" {
			return fmt.Errorf("a pass carries cause %q and fault %q", f.Cause, f.Fault)
		}
		return nil
	case Fail, Unsupported, Skipped, Error, Missing:
	default:
		return fmt.Errorf("unknown state %q", f.State)
	}
	if f.Cause == "" {
		return fmt.Errorf("state %s without a cause", f.State)
	}
	switch f.Fault {
	case FaultKernel, FaultDriver, FaultToolchain, FaultScenario, FaultHarness, FaultInfra:
		return nil
	}
	return fmt.Errorf("state %s, cause %s: invalid fault %q", f.State, f.Cause, f.Fault)
}

// Err is an error that carries a finding: what happened, to what, and what to do next.
type Err struct {
	Finding
	What string // what happened and to what, one line, without a trailing period
	Hint string // what to do next; may be empty
	Wrap error  // the underlying error; may be nil
}

// Error is the short form: one line, and the hint where there is one.
func (e *Err) Error() string {
	var b strings.Builder
	b.WriteString(e.What)
	if e.Wrap != nil {
		if e.What != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Wrap.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

func (e *Err) Unwrap() error { return e.Wrap }

// Format prints the whole evidence for %+v and the short form otherwise.
func (e *Err) Format(s fmt.State, verb rune) {
	fmt.Fprint(s, e.Error())
	if verb == 'v' && s.Flag('+') {
		for _, ev := range e.Evidence {
			fmt.Fprintf(s, "\n\t%s", ev)
		}
	}
}

// Errorf makes an *Err in state [Error] with the error that a %w in the format wraps kept reachable.
func Errorf(c Cause, f Fault, format string, args ...any) *Err {
	return newErr(Error, c, f, format, args...)
}

// Failf makes an *Err in state [Fail].
func Failf(c Cause, f Fault, format string, args ...any) *Err {
	return newErr(Fail, c, f, format, args...)
}

func newErr(s State, c Cause, f Fault, format string, args ...any) *Err {
	inner := fmt.Errorf(format, args...)
	e := &Err{Finding: Finding{State: s, Cause: c, Fault: f}, What: inner.Error()}
	// The text already holds the wrapped error's: keep it for errors.Is without printing it twice.
	if errors.Unwrap(inner) != nil {
		e.What, e.Wrap = "", inner
	}
	return e
}

// With adds evidence and returns e.
func (e *Err) With(ev ...Evidence) *Err {
	e.Evidence = append(e.Evidence, ev...)
	return e
}

// Advise sets what to do next and returns e.
func (e *Err) Advise(format string, args ...any) *Err {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// Of extracts the finding of err. An error that carries none is a bug in mews and is called one:
// state error, cause INTERNAL, fault harness, never a pass and never somebody else's fault.
func Of(err error) Finding {
	if err == nil {
		return Finding{State: Pass}
	}
	var e *Err
	if errors.As(err, &e) {
		f := e.Finding
		// The message itself is the first evidence: the lines alone do not say what happened.
		f.Evidence = append([]Evidence{{Text: err.Error()}}, f.Evidence...)
		return f
	}
	return Finding{State: Error, Cause: Internal, Fault: FaultHarness, Evidence: Text(err.Error())}
}
