// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results/cause"
)

func TestEnding(t *testing.T) {
	panicked := splats("Kernel panic - not syncing: Fatal exception")
	killedInit := splats("Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b")
	exited := splats("Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000200")
	nmi := splats("Kernel panic - not syncing: NMI: Not continuing", "RIP: 0010:scap_init+0x12/0x1000 [scap]")

	for name, tt := range map[string]struct {
		e        ending
		want     string // state cause fault; "" is a clean stop
		evidence string
	}{
		"stopped":                     {ending{stopped: true, shutdown: "host-qmp-quit"}, "", ""},
		"stopped, had to be killed":   {ending{stopped: true, exit: "signal: killed"}, "", ""},
		"powered off after answering": {ending{answered: true, shutdown: "guest-shutdown"}, "", ""},
		"powered off before":          {ending{shutdown: "guest-shutdown"}, "error AGENT_LOST harness", "before its agent answered"},

		"disk full":      {ending{stopped: true, logErr: syscall.ENOSPC}, "error DISK_FULL infra", "no space left"},
		"log unwritable": {ending{answered: true, shutdown: "guest-shutdown", logErr: syscall.EIO}, "error INTERNAL infra", "not whole"},

		"panic in the boot":          {ending{shutdown: "guest-reset", splats: panicked}, "fail BOOT_PANIC kernel", "Fatal exception"},
		"panic after the answer":     {ending{shutdown: "guest-reset", splats: panicked, answered: true}, "fail KERNEL_PANIC kernel", "Fatal exception"},
		"panic, then stopped":        {ending{stopped: true, splats: panicked, answered: true}, "fail KERNEL_PANIC kernel", "Fatal exception"},
		"panic, then cancelled":      {ending{canceled: context.Canceled, splats: panicked}, "fail BOOT_PANIC kernel", "Fatal exception"},
		"panic, then QEMU killed":    {ending{exit: "signal: killed", splats: panicked}, "fail BOOT_PANIC kernel", "Fatal exception"},
		"PID 1 killed by a signal":   {ending{shutdown: "guest-reset", splats: killedInit, answered: true}, "fail KERNEL_PANIC kernel", "0x0000000b"},
		"PID 1 exited":               {ending{shutdown: "guest-reset", splats: exited}, "error BOOT_PANIC harness", "0x00000200"},
		"PID 1 exited while at work": {ending{shutdown: "guest-reset", splats: exited, answered: true}, "error KERNEL_PANIC harness", "0x00000200"},
		"nothing to run":             {ending{shutdown: "guest-reset", splats: splats("Kernel panic - not syncing: No working init found.")}, "error BOOT_PANIC harness", "No working init"},
		"the oops before the panic": {ending{shutdown: "guest-reset", splats: append(splat.Scan("console.log", "BUG: kernel NULL pointer dereference, address: 0\nRIP: 0010:evil+0x1/0x2 [evil]\n---[ end trace\n"), panicked...)},
			"fail BOOT_PANIC kernel", `evil\+0x1`},
		"reset without a word":   {ending{shutdown: "guest-reset", console: lines("last words")}, "fail BOOT_PANIC kernel", "last words"},
		"reset after the answer": {ending{shutdown: "guest-reset", answered: true}, "fail KERNEL_PANIC kernel", "reset itself"},
		"pvpanic":                {ending{shutdown: "guest-panic", panicked: true}, "fail BOOT_PANIC kernel", "guest-panic"},

		"deadline":             {ending{timedOut: time.Minute, splats: nmi, shutdown: "guest-reset"}, "error BOOT_TIMEOUT infra", `scap_init\+0x12`},
		"deadline, no NMI":     {ending{timedOut: time.Minute, console: lines("Freeing unused"), exit: "signal: killed"}, "error BOOT_TIMEOUT infra", "Freeing unused"},
		"deadline, port open":  {ending{timedOut: time.Minute, portOpen: true}, "error BOOT_TIMEOUT infra", "opened its port and said nothing"},
		"deadline, locked up":  {ending{timedOut: time.Minute, splats: splats("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [init:1]")}, "fail BOOT_TIMEOUT kernel", "lockup"},
		"silent":               {ending{silent: true, answered: true, splats: nmi, shutdown: "guest-reset"}, "fail KERNEL_HANG kernel", `scap_init\+0x12`},
		"silent, deaf to NMIs": {ending{silent: true, answered: true, exit: "signal: killed", console: lines("last words")}, "fail KERNEL_HANG kernel", "last words"},

		"cancelled":       {ending{canceled: context.Canceled, exit: "signal: killed"}, "error CANCELLED harness", "context canceled"},
		"killed":          {ending{answered: true, exit: "signal: killed"}, "error VM_CRASHED infra", "OOM killer"},
		"QEMU aborted":    {ending{exit: "exit status 1", stderr: []string{"qemu: failed to set MSR 0x10a"}}, "error VM_CRASHED infra", "MSR 0x10a"},
		"QEMU was ended":  {ending{answered: true, shutdown: "host-signal", exit: "exit status 0"}, "error VM_CRASHED infra", "host-signal"},
		"exit 0, no word": {ending{answered: true, exit: "exit status 0"}, "error VM_CRASHED infra", "exit status 0"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.e.name = "cell"
			err := tt.e.err()
			if tt.want == "" {
				if err != nil {
					t.Fatalf("err = %v, want a clean stop", err)
				}
				return
			}
			var e *cause.Err
			if !errors.As(err, &e) {
				t.Fatalf("err = %v, want %s", err, tt.want)
			}
			if got := fmt.Sprintf("%s %s %s", e.State, e.Cause, e.Fault); got != tt.want {
				t.Errorf("err is %s, want %s: %+v", got, tt.want, e)
			}
			if err := e.Check(); err != nil {
				t.Error(err)
			}
			if all := fmt.Sprintf("%+v", e); !matches(t, tt.evidence, all) {
				t.Errorf("%q is not in %s", tt.evidence, all)
			}
		})
	}
}

// PID 1's last words are above the panic, and the panic's own trace would push them out of any tail.
func TestEvidenceOfAnInitThatExitedIsWhatItSaid(t *testing.T) {
	log := "agent: cannot mount /proc: no\nKernel panic - not syncing: Attempted to kill init! exitcode=0x00000200\nCall Trace:\n" +
		strings.Repeat(" do_exit+0x1/0x2\n", 2*evidenceLines)
	e := ending{name: "cell", shutdown: "guest-reset", splats: splat.Scan("console.log", log)}
	for i, l := range strings.Split(strings.TrimSpace(log), "\n") {
		e.console = append(e.console, cause.Evidence{File: "console.log", Line: i + 1, Text: splat.Clean(l)})
	}
	if all := fmt.Sprintf("%+v", e.err()); !strings.Contains(all, "console.log:1: agent: cannot mount /proc") {
		t.Errorf("the agent's last words are lost:\n%s", all)
	}
}

func splats(lines ...string) []splat.Splat {
	return splat.Scan("console.log", strings.Join(lines, "\n"))
}

func lines(text ...string) []cause.Evidence { return cause.Text(text...) }
