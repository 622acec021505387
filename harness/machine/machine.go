// SPDX-License-Identifier: Apache-2.0

// Package machine knows what a machine that runs one kernel looks like from outside, whoever provides it.
package machine

import (
	"context"
	"net"
	"time"

	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results/cause"
)

// AgentPort is the name of the virtio-serial port that the guest's agent opens. Exactly one process of the
// guest may hold it: a blocking writer beside a poller loses wake-ups in Linux's virtio_console (lmb/vimto #29).
const AgentPort = "mews.agent"

// ConsoleLog is the name of the file in [Spec].Dir that holds what the guest wrote to its console.
const ConsoleLog = "console.log"

// VmcoreFile is the name of the file in [Spec].Dir that holds the memory of a guest whose kernel died.
const VmcoreFile = "vmcore"

// Spec says what to boot. Paths are of the host.
type Spec struct {
	Name      string   // names the machine in errors and process titles: the cell's id
	Kernel    string   // the vendor's boot image
	Initrd    string   // our initramfs
	Cmdline   []string // kernel arguments beside those that the machine itself needs
	MemoryMiB int      // 0 means the provider's default
	CPUs      int      // 0 means 1
	Disks     []Disk
	Dir       string // an existing directory: console.log lands here
	Vmcore    bool   // after a panic or a hang the guest's memory is kept too, as an ELF core: [VmcoreFile]
	Counted   bool   // emulated, on one vCPU, and the guest's clocks count its instructions: one is a nanosecond

	// From is what the machine goes on from, instead of booting; its memory stays as it is for others. What the machine
	// consists of must be what the snapshot was taken of. The console goes on in [ConsoleLog] if it is there.
	From *Snapshot
	// Saved: the machine is a [Saver].
	Saved bool
}

// Disk is one raw image.
type Disk struct {
	Path     string
	Serial   string // how the guest finds it: /sys/block/vd*/serial; at most 20 bytes, which is all virtio-blk keeps
	ReadOnly bool
}

// Machine is one started machine.
type Machine interface {
	// Agent is the byte stream to the guest's port [AgentPort]. What is written before the guest opened the
	// port waits; the first byte read from it tells the machine that the agent is up, which ends the boot and
	// its deadline. What comes out of it is untrusted.
	Agent() net.Conn

	// Done is closed when the machine is gone and everything it said has been read.
	Done() <-chan struct{}

	// Err says why the machine is gone: nil before Done is closed and after a clean stop (Stop, or a guest
	// that powered off after its agent had answered), else a *[cause.Err]. Only the kernel is known here: a
	// caller that had loaded a driver decides whether a KERNEL_PANIC is the driver's fault.
	Err() error

	// Console is what the guest's kernel said.
	Console() Console

	// Diagnose is for a guest whose agent fell silent: it makes the kernel say where it is, ends the machine and
	// returns a KERNEL_HANG with the console's last lines, or what Err says if the machine had gone by itself.
	Diagnose(ctx context.Context) error

	// Stop ends the machine, which is gone within two seconds, even if ctx is already done. It may be called
	// more than once and from several goroutines; it returns an error only if the machine could not be ended.
	Stop(ctx context.Context) error
}

// Delayed is a [Machine] that knows how busy its host is.
type Delayed interface {
	Machine

	// Delayed is how long the host has kept the machine waiting for a processor, all in all: it could have run, and others
	// did. It is zero where the host does not tell, and when the machine is gone.
	Delayed() time.Duration
}

// Console is the captured kernel console of a machine. Its text is untrusted: it is bounded, and lines come
// without control characters.
type Console interface {
	// Path is the captured file.
	Path() string

	// Tail is the last lines, at most n, as evidence with their line numbers in [ConsoleLog].
	Tail(n int) []cause.Evidence

	// Splats is what the kernel complained of so far.
	Splats() []splat.Splat

	// Splatted is closed at the first splat.
	Splatted() <-chan struct{}

	// Await returns nil when a line that holds text was printed, now or earlier; else ctx's error, or io.EOF
	// if the console ended first.
	Await(ctx context.Context, text string) error
}

// Starter starts machines. If ctx ends, a machine it started is killed, also after Start has returned.
type Starter interface {
	Start(ctx context.Context, spec Spec) (Machine, error)
}
