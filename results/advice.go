// SPDX-License-Identifier: Apache-2.0

package results

import (
	"maps"
	"slices"

	"github.com/mews-farm/mews/results/cause"
)

// Advice says what to do next about a cause, for a finding that brought no hint of its own.
func Advice(c cause.Cause) string { return advice[c] }

// Causes lists the taxonomy, sorted: each cause has its advice.
func Causes() []cause.Cause { return slices.Sorted(maps.Keys(advice)) }

var advice = map[cause.Cause]string{
	cause.HeadersMissing:   "find the headers package of this exact kernel release; old ones move to the distribution's snapshot archive",
	cause.PackageCorrupt:   "fetch the package again from another mirror; the archive kept nothing of it",
	cause.PackageMissing:   "the mirror answers and does not have it: look for its name with `mews plan`, or at another suite",
	cause.SignatureInvalid: "check the mirror and the keyring before trusting anything from there",

	cause.ToolchainMismatch: "build with the compiler that the kernel's config names, or a newer one",
	cause.ToolchainBroken:   "mend the build root (`mews doctor` says what it lacks); the driver has not been tried",
	cause.CompileError:      "read build.log at the line shown: the driver uses an interface that this kernel has changed",
	cause.ModpostUnresolved: "the driver calls a function that this kernel does not export; see build.log",
	cause.BuildTimeout:      "the build did not end in its time: look at the end of build.log; a loaded machine needs fewer --jobs",
	cause.OutOfMemory:       "give the machine more memory or run fewer --jobs; the driver has not been judged",
	cause.BuilderLost:       "see whether the Docker daemon runs (docker info), or build with --builder local; the driver has not been judged",

	cause.SourceUnusable: "name a DKMS tree, a checkout of falcosecurity/libs, or a package or tarball of one; the evidence says what was looked for",

	cause.VariantGone: "nothing: this source has no such variant; name one that has, or another variant",

	cause.VermagicMismatch:  "build the module against the headers of exactly this kernel release",
	cause.SymbolCRCMismatch: "build the module against the headers of exactly this build of the kernel: same release, other symbols",
	cause.APISchemaMismatch: "use a driver whose API and schema version the consumer accepts",

	cause.SyscallMissing: "nothing: this kernel is too old for the deed, which its errno proves",
	cause.SyscallDenied:  "the kernel's own symbols have the call, and it answers ENOSYS: find what stands before it (seccomp, a driver)",
	cause.KernelLacks:    "nothing: this kernel has not what the deed needs, which the evidence proves",
	cause.AlreadyTraced:  "nothing: who traces a process keeps everybody else from it; such a deed is for a driver in the kernel",
	cause.NotBootable:    "this kernel can be built for and looked at, not booted here; `mews kernels show` tells what is known of it",
	cause.BootTimeout:    "read the last lines of console.log; a slow host may need a longer deadline",
	cause.BootPanic:      "read console.log from the first line of the panic; try the kernel without the driver",

	cause.MissingBTF:             "give the kernel's BTF as a file, or use a driver that needs none",
	cause.CORERelocation:         "the probe reads a type or field that this kernel's BTF lacks: guard it with bpf_core_field_exists",
	cause.UnsupportedMapType:     "probe for the map type before using it: this kernel lacks it",
	cause.UnsupportedProgramType: "probe for the program type before using it: this kernel lacks it",
	cause.UnsupportedHelper:      "probe for the helper before calling it: this kernel lacks it",
	cause.VerifierRejection:      "read the verifier's log in the evidence: the last instruction is the one refused",
	cause.VerifierComplexity:     "split the program, or make its loops smaller: this kernel's verifier gave up",
	cause.ModuleSignature:        "this kernel loads signed modules only: sign the module, or use the eBPF driver",
	cause.PolicyDenied:           "a policy of this kernel (lockdown, seccomp, sysctl) forbids the load; use a driver it allows",
	cause.UnknownSymbol:          "dmesg.log names the symbol: this kernel does not export it, or the module it lives in is not loaded",
	cause.ModuleInitFailed:       "the kernel took the module and its own init refused: see dmesg.log for what it said",
	cause.ModuleBusy:             "somebody still holds the module: see the holders in the evidence",

	cause.KernelSplat: "read dmesg.log from the first line of the splat: its stack names the driver or does not",
	cause.KernelPanic: "read console.log from the first line of the panic, and run the cell again: it came more than once",
	cause.KernelHang:  "read the end of console.log, and run the cell again: it came more than once",

	cause.NoEvents:        "the driver loaded and delivers nothing: see agent.log for how it was attached",
	cause.EventFieldWrong: "compare the field in the evidence with what the program really did",
	cause.EventDrops:      "enlarge the driver's buffer, or give the guest more memory; for programs that the kernel did not run no buffer helps: see the evidence",

	cause.RuleSilent:          "the attack happened and the rule saw nothing: look in alerts.jsonl for the events it should have matched",
	cause.RuleFalseAlarm:      "the harmless twin fired the rule: look in alerts.jsonl for the field that misled it",
	cause.RuleUnsupported:     "nothing about the kernel: the evidence names what the consumer lacks; an overlay (scenarios/rules) can say the rule in fields that it has",
	cause.SuiteUnsupported:    "nothing about the kernel: the evidence names what of the test is not done here; event-generator itself may do it",
	cause.ScenarioBroken:      "the attack or its twin could not do its deed in the guest: see agent.log",
	cause.ScenarioTimeout:     "a step never returned, and was ended: nothing is known of the driver; give the step an end of its own",
	cause.ScenarioLimit:       "the deed asked for more processes or memory than a deed may have, and was ended: nothing is known of the driver",
	cause.ConsumerBroken:      "the consumer did not start or died: see agent.log for its last words",
	cause.ConsumerFailed:      "read the program's own words in the evidence: it saw the driver, and says that it fell short",
	cause.ConsumerUnsupported: "nothing: the program says that this kernel lacks what the driver needs, and its words are in the evidence",
	cause.NoRules:             "judge the scenario with sysdig or a Falco; a profile for commands alone has `scenarios: []`",
	cause.VariantDisagreement: "two drivers saw the same attack on the same kernel differently: one of them is wrong",

	cause.OverheadRegression: "compare with the baseline's run, metric by metric",

	cause.FlakeSuspected:    "it happened once and not again; run the cell some more times before blaming anybody",
	cause.AgentLost:         "the guest stopped answering: see the end of console.log and agent.log, then run the cell again",
	cause.VMCrashed:         "the virtual machine's process ended by itself: see qemu's last words in the evidence, then run the cell again",
	cause.CloudCapacity:     "try again later, or in another zone",
	cause.MirrorUnreachable: "check the network and the mirror, or run with --offline from the archive",
	cause.DiskFull:          "free disk space and run the cell again",
	cause.StoreUnreachable:  "check the store's URL, AWS_ENDPOINT_URL and the network; what was built is kept and published when it is run again",
	cause.StoreDenied:       "check the credentials and that they may read, write and list there; what was built is kept",
	cause.StoreConflict:     "see what differs in the two sidecars; publish with --replace if the new artifact is the right one",
	cause.StoreCorrupt:      "remove the object that is named, and publish it again",
	cause.Cancelled:         "the run was interrupted; run the cell again",
	cause.Internal:          "this is a bug in mews: please report it with the run directory",
	cause.NotRecorded:       "nothing was recorded, which proves nothing: run the cell again",
}

// next is what to do about a finding; about what somebody asked to skip, nothing.
func next(f cause.Finding, hint string) string {
	if hint != "" || f.State == cause.Skipped {
		return hint
	}
	return Advice(f.Cause)
}
