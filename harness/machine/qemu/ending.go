// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results/cause"
)

// ending is all that is known of how a machine ended. From it alone the verdict is made, so that the verdict can
// be tested without a machine.
type ending struct {
	name     string
	stopped  bool          // we were asked to stop it
	canceled error         // the context's error, if that is why we ended it
	silent   bool          // we ended it to have a hung kernel say where it is
	timedOut time.Duration // the boot's deadline, if that is why we ended it

	answered bool   // the agent had said something
	portOpen bool   // the agent's port had been opened
	shutdown string // why QEMU says the guest stopped; "" if QEMU did not come to say it
	panicked bool   // QEMU says that the guest panicked
	exit     string // "exit status 1", "signal: killed"
	stderr   []string

	splats  []splat.Splat
	console []cause.Evidence // the last lines, as many as are kept
	logErr  error            // console.log could not be written whole
	core    []cause.Evidence // what became of the guest's memory, if that was wanted
}

// Lines of evidence from the console where no splat says it better.
const evidenceLines = 20

// err is the verdict: nil after a clean stop, else a *cause.Err. The order matters: what the kernel said is worth
// more than why we ended it, so a stop or a cancel that came with a panic does not hide the panic.
func (e ending) err() error {
	err := e.verdict()
	if found := (*cause.Err)(nil); errors.As(err, &found) {
		found.With(e.core...)
	}
	return err
}

func (e ending) verdict() error {
	panicked, hasPanic := e.last(splat.Panic)
	switch {
	case e.silent:
		return e.hang()
	case hasPanic && e.timedOut == 0:
		return e.panicErr(panicked)
	case e.timedOut > 0:
		return e.bootTimeout()
	case e.canceled != nil:
		return cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: machine killed: %w", e.name, e.canceled)
	case e.stopped, e.shutdown == "guest-shutdown" && e.answered:
		return e.incomplete()
	case e.shutdown == "guest-shutdown":
		return cause.Errorf(cause.AgentLost, cause.FaultHarness, "%s: the guest powered off before its agent answered", e.name).
			With(e.tail()...).Advise("the agent prints why it gives up on the console")
	case e.shutdown == "guest-reset" || e.shutdown == "guest-panic" || e.panicked:
		return e.reset()
	}
	return e.crash()
}

// incomplete is the error of a machine that ended well and whose log did not: a log with a hole proves nothing.
func (e ending) incomplete() error {
	if e.logErr == nil {
		return nil
	}
	code := cause.Internal
	if errors.Is(e.logErr, syscall.ENOSPC) {
		code = cause.DiskFull
	}
	return cause.Errorf(code, cause.FaultInfra, "%s: the console's log is not whole: %w", e.name, e.logErr).Advise("free space on the disk of the run directory")
}

func (e ending) last(kind splat.Kind) (splat.Splat, bool) {
	for i := len(e.splats) - 1; i >= 0; i-- {
		if e.splats[i].Kind == kind {
			return e.splats[i], true
		}
	}
	return splat.Splat{}, false
}

// initExited is the panic after PID 1 called exit, which is what a Go program that panics does: wait status
// 0x0200. A PID 1 that was killed by a signal has the signal in the low byte, and is not its own fault for sure.
var initExited = regexp.MustCompile(`Attempted to kill init! exitcode=0x[0-9a-f]{6}00`)

// noInit is a kernel that could not start what is in our initramfs, or did not find it.
var noInit = regexp.MustCompile(`No working init found|Unable to mount root fs|Requested init .* failed`)

func (e ending) panicErr(p splat.Splat) error {
	code, when := cause.BootPanic, "before its agent answered"
	if e.answered {
		code, when = cause.KernelPanic, "after its agent had answered"
	}
	title := strings.TrimPrefix(p.Title, "Kernel panic - not syncing: ")
	switch {
	case initExited.MatchString(title):
		return cause.Errorf(code, cause.FaultHarness, "%s: the agent, PID 1, exited %s, and the kernel panicked: %s", e.name, when, title).
			With(e.before(p)...).Advise("the agent's last words are on the console, above the panic")
	case noInit.MatchString(title):
		return cause.Errorf(code, cause.FaultHarness, "%s: the kernel found nothing to run in the initramfs: %s", e.name, title).
			With(e.before(p)...)
	}
	return cause.Failf(code, cause.FaultKernel, "%s: kernel panic %s: %s", e.name, when, title).
		With(e.story()...).Advise("boot it again before you blame anybody: the emulator can do this too")
}

// story is the oops that led to the panic, where there is one, and the panic itself.
func (e ending) story() []cause.Evidence {
	var out []cause.Evidence
	for _, s := range e.splats {
		if s.Kind == splat.Oops || s.Kind == splat.Lockup || s.Kind == splat.Panic {
			out = append(out, s.Lines...)
		}
	}
	return out
}

// tail is the console's last lines.
func (e ending) tail() []cause.Evidence {
	return e.console[max(0, len(e.console)-evidenceLines):]
}

// before is what was printed before s, and its first line: PID 1's last words are above the panic they cause.
func (e ending) before(s splat.Splat) []cause.Evidence {
	head := s.Lines[0]
	for i := len(e.console) - 1; i >= 0; i-- {
		if e.console[i] == head {
			return e.console[max(0, i+1-evidenceLines) : i+1]
		}
	}
	return s.Lines // printed so long before the end that it is not kept
}

func (e ending) hang() error {
	err := cause.Failf(cause.KernelHang, cause.FaultKernel, "%s: the guest fell silent, and was still running when it was interrupted", e.name)
	if _, traced := e.last(splat.Panic); traced {
		return err.With(e.story()...).Advise("the call trace is where the NMI found it")
	}
	return err.With(e.tail()...).Advise("it did not answer an NMI either: no call trace")
}

func (e ending) bootTimeout() error {
	where := "the agent never opened its port"
	if e.portOpen {
		where = "the agent opened its port and said nothing"
	}
	what := fmt.Sprintf("%s: no answer from the agent within %s: %s", e.name, e.timedOut, where)
	ev := e.tail()
	if _, traced := e.last(splat.Panic); traced {
		ev = e.story()
	}
	if _, locked := e.last(splat.Lockup); locked {
		return cause.Failf(cause.BootTimeout, cause.FaultKernel, "%s; the kernel complains of a lockup", what).With(ev...)
	}
	return cause.Errorf(cause.BootTimeout, cause.FaultInfra, "%s", what).With(ev...).
		Advise("the last lines are where an NMI found the kernel; is the machine overloaded?")
}

// reset is a guest that reset itself without a word.
func (e ending) reset() error {
	code := cause.BootPanic
	if e.answered {
		code = cause.KernelPanic
	}
	return cause.Failf(code, cause.FaultKernel, "%s: the guest reset itself and its console says no reason (%s): a triple fault, or reboot(2)", e.name, e.shutdown).
		With(e.tail()...).Advise("boot it again before you blame anybody: the emulator can do this too")
}

func (e ending) crash() error {
	how := "QEMU died"
	if e.shutdown != "" {
		how = "QEMU was told to stop (" + e.shutdown + ")"
	}
	err := cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s: %s: %s", e.name, how, e.exit)
	switch {
	case e.exit == "signal: killed":
		err.Advise("somebody killed it: look for the OOM killer in the host's dmesg")
	case len(e.stderr) > 0:
		err.What += ": " + e.stderr[len(e.stderr)-1]
	}
	return err.With(cause.Text(e.stderr...)...).With(e.tail()...)
}
