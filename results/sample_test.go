// SPDX-License-Identifier: Apache-2.0

package results

import (
	"slices"
	"time"

	"github.com/mews-farm/mews/results/cause"
)

var sampleStart = time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)

func passed(name string, at, seconds float64) Stage {
	return Stage{Name: name, Finding: cause.Finding{State: cause.Pass}, Started: sampleStart.Add(time.Duration(at * float64(time.Second))), Seconds: seconds}
}

func failing(name string, f cause.Finding) Stage {
	return Stage{Name: name, Finding: f, Started: sampleStart, Seconds: 2, Stops: true}
}

func finding(s cause.State, c cause.Cause, f cause.Fault, lines ...string) cause.Finding {
	return cause.Finding{State: s, Cause: c, Fault: f, Evidence: cause.Text(lines...)}
}

func passedScenario(name string) Scenario {
	return Scenario{Name: name, Finding: cause.Finding{State: cause.Pass}, Rule: "Rule of " + name, Fired: 1,
		Fields: map[string]string{"proc.exepath": "/usr/dropped", "proc.is_exe_upper_layer": "true"}}
}

// sampleCell is a cell that declares four stages and two scenarios and passes them all.
func sampleCell(release, driver string) Cell {
	k := Kernel{Distro: "debian", Release: release, Version: "1", Arch: "x86_64"}
	return Cell{
		ID: CellID(k, driver), Kernel: k, Lane: "boot",
		Driver:    Driver{Name: driver, Variant: "kmod", Version: "0.23.2", Consumer: "sysdig"},
		Declared:  Declared{Stages: []string{StageBuild, StageBoot, StageScenarios, StageUnload}, Scenarios: []string{"drop-and-execute", "openat2-read-sensitive"}},
		Stages:    []Stage{passed(StageBuild, 0, 12.34), passed(StageBoot, 13, 3.1), passed(StageScenarios, 17, 8), passed(StageUnload, 26, 0.4)},
		Scenarios: []Scenario{passedScenario("drop-and-execute"), passedScenario("openat2-read-sensitive")},
	}
}

// hostile is what a guest might print to break a report.
const hostile = "</script><img src=x onerror=alert(1)> | `rm -rf` \x1b[2J\x00 ]]> \u202egpj.exe [x](javascript:1)"

// sampleRun has a cell in every state.
func sampleRun() Run {
	good := sampleCell("5.10.0-46-cloud-amd64", "falco-kmod")
	good.Stages[0].Note = "gcc 10.2.1, falco.ko 1.1 MB"
	good.Logs = []string{"agent.log", "build.log", "console.log"}
	good.Perf = []Perf{
		{Metric: "guest_insns_per_syscall", Syscall: "openat", Driver: 123.4, Baseline: 100.2, Class: "insn"}, // as an earlier mews wrote it
		MeasuredInsns("getppid", SettingConsumer, []float64{820, 820.1, 820.2}, []float64{387, 387, 387}),
		MeasuredInsns(hostile, SettingConsumer, []float64{17200}, []float64{10270}),
		MeasuredWall(MetricEventRate, 3900, 4000, 4050, 4010, 4020, 3990),
		{Metric: MetricDrops, Category: hostile, Setting: SettingConsumer, Driver: 17, Low: 17, High: 17, Repeats: 1, Class: ClassWall},
		{Metric: MetricVerifierInsns, Program: hostile, Driver: 4321, Limit: LimitVerifierInsns, Class: ClassVerifier},
	}

	good.Declared.Repeat = 20
	for i, s := range good.Scenarios {
		good.Scenarios[i] = Repeat(slices.Repeat([]Scenario{s}, 20))
	}

	compile := sampleCell("6.12.48+deb13-cloud-amd64", "falco-kmod")
	compile.Logs = []string{"build.log"}
	compile.Stages = []Stage{failing(StageBuild, cause.Finding{State: cause.Fail, Cause: cause.CompileError, Fault: cause.FaultDriver, Evidence: []cause.Evidence{
		{Text: "the compiler refused main.c"},
		{File: "build.log", Line: 57, Text: "error: too many arguments to function 'class_create'"},
		{File: "main.c", Line: 2671, Text: "g_ppm_class = class_create(THIS_MODULE, DRIVER_DEVICE_NAME);"}}})}
	compile.Scenarios = nil

	silent := sampleCell("6.1.0-56-cloud-amd64", "falco-kmod")
	silent.Scenarios[1] = Scenario{Name: "openat2-read-sensitive", Rule: "Read sensitive file untrusted", Hint: hostile,
		Finding: finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, hostile)}
	shaky := slices.Repeat([]Scenario{silent.Scenarios[0]}, 20)
	shaky[6].Fired, shaky[6].Fields, shaky[6].Finding = 0, nil, finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, hostile)
	silent.Scenarios[0] = Repeat(shaky)
	silent.Stages[2] = failing(StageScenarios, finding(cause.Fail, cause.RuleSilent, cause.FaultDriver, "1 of 2 scenarios failed"))
	silent.Stages[2].Stops = false
	silent.Perf = []Perf{MeasuredInsns("getppid", SettingConsumer, []float64{830, 830.1, 830.2}, []float64{391, 391, 391})}

	unsupported := sampleCell("6.1.0-56-cloud-amd64", "mews-modern")
	unsupported.Stages = []Stage{failing(StageBuild, finding(cause.Unsupported, cause.ModuleSignature, cause.FaultKernel, "the kernel loads signed modules only: CONFIG_MODULE_SIG_FORCE=y"))}
	unsupported.Scenarios = nil
	unsupported.Expect = &Expect{State: cause.Unsupported}

	skipped := sampleCell("5.10.0-46-cloud-amd64", "mews-modern")
	skipped.Scenarios[0].Finding = finding(cause.Skipped, cause.Cancelled, cause.FaultHarness, "left out by --scenario")

	flake := sampleCell("6.12.48+deb13-cloud-amd64", "mews-modern")
	flake.Attempts = []Stage{failing(StageBoot, finding(cause.Fail, cause.KernelPanic, cause.FaultKernel, "Kernel panic - not syncing: Fatal exception"))}

	killed := sampleCell("7.2.12-cloud-amd64", "falco-kmod")
	killed.Stages, killed.Scenarios = killed.Stages[:2], nil

	return Run{
		ID: "20261121-2200-k3f9", Profile: "quick", Started: sampleStart, Ended: sampleStart.Add(95 * time.Second),
		Host:     Host{Accelerator: "tcg", AcceleratorReason: "the KVM probe guest did not come up in 3s", CPUs: 2, CPU: "a processor", MemoryMiB: 4096, OS: "Debian GNU/Linux 12", QEMU: "7.2.22"},
		Estimate: &Estimate{Seconds: 100, From: "from 4 runs"},
		Warnings: []string{"sid: InRelease is past its Valid-Until by 3 days", hostile},
		Cells:    []Cell{good, skipped, silent, unsupported, compile, flake, killed},
	}
}
