// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/harness/machine"
)

// A device is one part of the machine: the arguments QEMU needs for it, and those the kernel needs because of
// it. Each type is one quirk with its evidence.
type device interface {
	args() []string
	kargs() []string
}

// The file descriptors that QEMU inherits, as exec.Cmd.ExtraFiles numbers them. Descriptors instead of paths:
// nothing to clean up, nothing to race for, no limit of 108 bytes for the path of a socket.
const (
	consoleFD = 3 + iota
	agentFD
	monitorFD
	memoryFD // of a guest that is saved, or taken up
	resumeFD // what was saved of the devices of one that is taken up
)

// devices is the whole machine for spec. The order is part of it: a snapshot can be restored only into the
// same devices in the same order.
func devices(spec machine.Spec, accel Accel) []device {
	out := []device{
		chassis{spec.Name, spec.Vmcore},
		sandbox{},
		accel.device(spec.CPUs),
		processors{spec.CPUs, !accel.KVM},
		memoryOf(spec),
		bootOf(spec),
		console{},
		monitor{},
		entropy{},
		agentPort{},
	}
	for i, d := range spec.Disks {
		out = append(out, disk{i, d})
	}
	if spec.Counted {
		out = append(out, instructionClock{})
	}
	return append(out, traceOnNMI{})
}

// argv is QEMU's command line, without the program.
func argv(devs []device, cmdline []string) []string {
	var args, kargs []string
	for _, d := range devs {
		args = append(args, d.args()...)
		kargs = append(kargs, d.kargs()...)
	}
	if slices.Contains(args, "-incoming") { // the kernel has read its arguments, and QEMU refuses them without one
		return args
	}
	kargs = append(kargs, cmdline...)
	return append(args, "-append", strings.Join(kargs, " "))
}

// escape doubles commas, which QEMU's option parser takes for separators.
func escape(s string) string { return strings.ReplaceAll(s, ",", ",,") }

// chassis is a q35 with nothing on it that we did not ask for, in particular no NIC: an attack has no way out.
//
// Not microvm: with its default ACPI it never gets past timer calibration under TCG on Debian's 6.1, and without
// ACPI a kernel that lacks VIRTIO_MMIO_CMDLINE_DEVICES (Debian's do) sees no virtio device. q35 costs 0.2 s more.
//
// It starts paused (-S): go-qemu's handshake loses an event that comes with its reply, so the guest must not
// run before the monitor listens.
//
// -no-reboot with panic=-1 turns a panic into an exit at once, with the reason guest-reset. A guest whose memory is wanted
// then stays instead, with panic=0: vendors build pvpanic, by which QEMU could notice, as a module, and it is the panic's
// own words on the console that tell.
type chassis struct {
	name  string
	stays bool // after a panic
}

func (c chassis) args() []string {
	return []string{"-name", "mews-" + escape(c.name), "-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"}
}

// kargs skips what this chassis does not have, and changes nothing of what is tested: i8042.* do not probe for
// a keyboard and a mouse, no_timer_check believes QEMU's IO-APIC. Together with the loglevel of [console] they take a
// boot of 6.1 under TCG from 2.7 s to 1.9 s. Left alone on purpose: mitigations, KASLR, audit, watchdogs and RCU
// are as the vendor has them, since a driver certified without them is not certified.
func (c chassis) kargs() []string {
	after := "panic=-1"
	if c.stays {
		after = "panic=0"
	}
	return []string{after, "no_timer_check", "i8042.noaux=1", "i8042.nokbd=1"}
}

// sandbox takes from QEMU what a guest that breaks out of it would want first. spawn=deny also proves that
// QEMU has no child that could outlive it.
type sandbox struct{}

func (sandbox) args() []string {
	return []string{"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"}
}
func (sandbox) kargs() []string { return nil }

// tcg is the emulator. With more than one vCPU it uses one thread for all: under multi-threaded TCG (QEMU 7.2) a
// guest panics now and then while it patches its own text, 2 of about 36 boots of 7.2.12, against 0 of 32 with
// one vCPU. Its cache of translated code is bounded, as QEMU's default of 1 GiB is as much as the whole guest may have.
type tcg struct{ cpus int }

// translationMiB holds a boot and a consumer at work: a 6.1 boot fills about 50 MiB.
const translationMiB = 128

func (t tcg) args() []string {
	opt := fmt.Sprintf("tcg,tb-size=%d", translationMiB)
	if t.cpus > 1 {
		opt += ",thread=single"
	}
	return []string{"-accel", opt}
}
func (tcg) kargs() []string { return nil }

// instructionClock makes the guest's clocks count its instructions, with shift=0 one a nanosecond, whatever the host does
// meanwhile: the time-stamp counter's difference around some code is what that code executed. While the guest is idle its
// time is the host's (sleep=on): with sleep=off each wait for a disk would take the guest's clock from timer to timer, and
// every deadline in it would be over at once.
//
// nokaslr and norandmaps take away what makes two boots differ for no reason of the kernel's or the driver's.
type instructionClock struct{}

func (instructionClock) args() []string {
	return []string{"-icount", "shift=0,sleep=on", "-rtc", "base=utc,clock=vm"}
}
func (instructionClock) kargs() []string { return []string{"nokaslr", "norandmaps"} }

// kvm is the host's virtualisation; package accel finds out whether it is to be trusted.
type kvm struct{}

func (kvm) args() []string  { return []string{"-accel", "kvm"} }
func (kvm) kargs() []string { return nil }

// processors are all that the accelerator can do, without 57-bit addresses: no cloud node's kernel walks five
// levels of page tables for them, old kernels trip over it (libbpf/ci boots with no5lvl since June 2026), and
// TCG would pay for each level. Not -cpu host: a nested host may refuse its MSRs ("failed to set MSR 0x10a").
//
// Nor does an emulated processor say that it is quick at rep movsb and rep stosb: kernels and C libraries believe that, and
// TCG copies and clears byte by byte then. Without it they take eight at once: a boot of 6.1 takes 4.0 s of processor time
// instead of 4.8 (medians of five).
type processors struct {
	n        int
	emulated bool
}

func (p processors) args() []string {
	model := "max,la57=off"
	if p.emulated {
		model += ",erms=off"
	}
	return []string{"-cpu", model, "-smp", strconv.Itoa(p.n)}
}
func (processors) kargs() []string { return nil }

// bootImages boots directly: no boot loader, no disk.
type bootImages struct{ kernel, initrd string }

func (b bootImages) args() []string {
	return []string{"-kernel", b.kernel, "-initrd", b.initrd} // plain file names, not options: no escape
}
func (bootImages) kargs() []string { return nil }

// console is the first serial port, which every kernel has built in. It is slow, 47 KB/s under TCG, so it only
// gets what must not be lost: loglevel=5 prints warnings and worse (WARN, stalls, oopses, panics). A boot's
// chatter would cost 0.6 s; the agent reads that from /dev/kmsg. Only one of the four ports is probed.
type console struct{}

func (console) args() []string {
	return []string{
		"-add-fd", fmt.Sprintf("fd=%d,set=1", consoleFD),
		"-chardev", "file,id=console,path=/dev/fdset/1,append=on", // else QEMU truncates, which a pipe refuses
		"-serial", "chardev:console",
	}
}
func (console) kargs() []string { return []string{"console=ttyS0", "loglevel=5", "8250.nr_uarts=1"} }

// monitor is QMP on a socket that listens already, see dialMonitor.
type monitor struct{}

func (monitor) args() []string {
	return []string{
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d,server=on,wait=off", monitorFD),
		"-mon", "chardev=monitor,mode=control",
	}
}
func (monitor) kargs() []string { return nil }

// entropy spares kernels of 5.x the wait for it.
type entropy struct{}

func (entropy) args() []string  { return []string{"-device", "virtio-rng-pci"} }
func (entropy) kargs() []string { return nil }

// agentPort is the byte stream to the agent: 105 MB/s under TCG where the serial port does 47 KB/s. Port 0 is
// reserved for a console, hence two ports for one.
type agentPort struct{}

func (agentPort) args() []string {
	return []string{
		"-device", "virtio-serial-pci,max_ports=2",
		"-chardev", fmt.Sprintf("socket,id=agent,fd=%d", agentFD),
		"-device", "virtserialport,nr=1,chardev=agent,id=agent-port,name=" + machine.AgentPort,
	}
}
func (agentPort) kargs() []string { return nil }

// disk is a raw image on virtio-blk. Image locking stays on, so that two guests cannot write to one image;
// any number may read one.
type disk struct {
	n int
	machine.Disk
}

func (d disk) args() []string {
	readOnly := "off"
	if d.ReadOnly {
		readOnly = "on"
	}
	return []string{
		"-blockdev", fmt.Sprintf("driver=raw,node-name=disk%d,read-only=%s,file.driver=file,file.filename=%s", d.n, readOnly, escape(d.Path)),
		"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s", d.n, escape(d.Serial)),
	}
}
func (disk) kargs() []string { return nil }

// traceOnNMI makes a hung kernel say where it is: the NMI that Diagnose injects becomes a panic with a
// call trace, where the default is a shrug ("Dazed and confused, but trying to continue"). Nobody else sends one.
type traceOnNMI struct{}

func (traceOnNMI) args() []string  { return nil }
func (traceOnNMI) kargs() []string { return []string{"unknown_nmi_panic"} }
