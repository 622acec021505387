// SPDX-License-Identifier: Apache-2.0

// Package qemu knows how to run one kernel in QEMU, and how to tell what became of it.
package qemu

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/results/cause"
)

// Program is the emulator that [Starter] runs unless told otherwise.
const Program = "qemu-system-x86_64"

const (
	// defaultMemoryMiB leaves room for a consumer beside the kernel: 6.1 boots in 190 MB, and BPF programs with BTF
	// need 512 MiB. With [translationMiB] and QEMU itself a guest stays below 1 GiB.
	defaultMemoryMiB = 640

	// defaultBootTimeout is for KVM; TCG gets ten times as much. A cold boot under TCG takes 2 to 4 s on an idle
	// core, and one loaded by three builds at once several times that.
	defaultBootTimeout = 12 * time.Second

	handshakeTimeout = 10 * time.Second // of QEMU itself, which needs 0.1 s
	nmiTimeout       = 2 * time.Second  // under KVM, for a kernel to print its call trace; TCG gets ten times as much
	quitTimeout      = time.Second      // before SIGKILL; Stop promises two seconds in all
	eventGrace       = 500 * time.Millisecond
	maxSerial        = 20 // bytes of a disk's serial that virtio-blk keeps (VIRTIO_BLK_ID_BYTES)
)

// Starter starts QEMU machines. Its zero value runs Program under TCG.
type Starter struct {
	Program     string
	Accel       Accel
	BootTimeout time.Duration // until the agent's first byte, under KVM; stretched by Accel. 0 means 12 s
}

var _ machine.Forker = Starter{}

// guest is one running QEMU. It implements machine.Machine, and machine.Saver if images has a place for it.
type guest struct {
	images  images
	accel   Accel
	proc    *process
	qmp     *qmpClient
	agent   *agentConn
	console *consoleLog
	core    *vmcore // nil: not wanted
	done    chan struct{}

	key string // of what is saved of it

	mu     sync.Mutex
	saving bool   // what images holds is Save's
	end    ending // filled in by whoever ends the guest, and completed by reap
	err    error
}

// Start boots spec. It returns as soon as the guest runs; errors are *cause.Err.
func (s Starter) Start(ctx context.Context, spec machine.Spec) (machine.Machine, error) {
	spec.CPUs = max(spec.CPUs, 1)
	if spec.MemoryMiB == 0 {
		spec.MemoryMiB = defaultMemoryMiB
	}
	if spec.Counted {
		s.Accel = Accel{Reason: "only an emulator counts instructions"}
	}
	if err := check(spec); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: not started: %w", spec.Name, err)
	}
	key := ""
	if spec.Saved || spec.From != nil {
		var err error
		if key, err = s.ForkKey(ctx, spec); err != nil {
			return nil, err
		}
		if spec.From != nil && spec.From.Key != key {
			return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%s: the snapshot is of another machine, or of another QEMU", spec.Name)
		}
	}
	g, err := s.launch(spec)
	if err != nil {
		return nil, err
	}
	g.key = key
	go g.reap()
	if err := g.resume(ctx); err != nil {
		g.proc.kill()
		<-g.done
		if ctx.Err() != nil {
			return nil, cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: not started: %w", spec.Name, ctx.Err())
		}
		return nil, g.refused(err)
	}
	timeout := s.BootTimeout
	if timeout == 0 {
		timeout = defaultBootTimeout
	}
	go g.guard(ctx, s.Accel.Scale(timeout))
	if g.core != nil {
		go g.watch(ctx)
	}
	return g, nil
}

// check finds what QEMU would complain of in its own words, or not at all.
func check(spec machine.Spec) error {
	boots := []string{spec.Kernel, spec.Initrd}
	if spec.From != nil {
		boots = nil
	}
	for _, path := range boots {
		if fi, err := os.Stat(path); err != nil {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: boot file: %w", spec.Name, err)
		} else if !fi.Mode().IsRegular() {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: boot file %s is not a file", spec.Name, path)
		}
	}
	if spec.Counted && spec.CPUs > 1 {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: the instructions of %d vCPUs cannot be counted: one has a clock", spec.Name, spec.CPUs)
	}
	for _, d := range spec.Disks {
		if len(d.Serial) == 0 || len(d.Serial) > maxSerial {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: disk %s: serial %q must have 1 to %d bytes", spec.Name, d.Path, d.Serial, maxSerial)
		}
	}
	return nil
}

// launch starts QEMU, which waits for the monitor's cont before the guest runs.
func (s Starter) launch(spec machine.Spec) (_ *guest, err error) {
	fail := func(what string, err error) error {
		code := cause.Internal
		if errors.Is(err, syscall.ENOSPC) {
			code = cause.DiskFull
		}
		return cause.Errorf(code, cause.FaultInfra, "%s: %s: %w", spec.Name, what, err)
	}
	log, err := newConsoleLog(filepath.Join(spec.Dir, machine.ConsoleLog), spec.From != nil)
	if err != nil {
		return nil, fail("open the console's log", err)
	}
	consoleR, consoleW, err := os.Pipe()
	if err != nil {
		return nil, fail("make a pipe for the console", err)
	}
	defer consoleW.Close() // QEMU has its own: ours would keep the console from ending
	agent, agentFile, err := agentPair()
	if err != nil {
		return nil, fail("make a socket for the agent", err)
	}
	defer agentFile.Close()
	mon, monFile, err := monitorSocket()
	if err != nil {
		return nil, fail("make a socket for the monitor", err)
	}
	defer monFile.Close() // so that the handshake ends if QEMU dies before it accepts
	img, err := imagesFor(spec)
	if err != nil {
		agent.Close()
		consoleR.Close()
		log.file.Close()
		return nil, fail("make room for the guest's memory", err)
	}
	defer func() {
		if err != nil || !spec.Saved {
			img.close() // QEMU has its own
		}
	}()

	program := s.Program
	if program == "" {
		program = Program
	}
	args := argv(devices(spec, s.Accel), spec.Cmdline)
	proc, err := startProcess(program, args, append([]*os.File{consoleW, agentFile, monFile}, img.files()...))
	if err != nil {
		agent.Close()
		consoleR.Close()
		log.file.Close()
		e := cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s: start QEMU: %w", spec.Name, err)
		if errors.Is(err, exec.ErrNotFound) {
			e.Advise("install it: apt-get install qemu-system-x86")
		}
		return nil, e
	}
	go func() {
		defer consoleR.Close()
		log.consume(consoleR)
	}()
	return &guest{
		images: img, accel: s.Accel, proc: proc, qmp: newQMPClient(mon), agent: agent, console: log, core: newVmcore(spec),
		done: make(chan struct{}), end: ending{name: spec.Name},
	}, nil
}

// agentPair is a connection and the file of its other end, for QEMU.
func agentPair() (*agentConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "agent"), os.NewFile(uintptr(fds[1]), "agent-qemu")
	conn, err := net.FileConn(ours)
	ours.Close() // FileConn has a duplicate
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return &agentConn{Conn: conn, answered: make(chan struct{})}, theirs, nil
}

// agentConn notices the agent's first byte.
type agentConn struct {
	net.Conn
	once     sync.Once
	answered chan struct{}
}

func (a *agentConn) Read(p []byte) (int, error) {
	n, err := a.Conn.Read(p)
	if n > 0 {
		a.once.Do(func() { close(a.answered) })
	}
	return n, err
}

// resume waits for the monitor and lets the guest run.
func (g *guest) resume(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	select {
	case err := <-g.qmp.ready:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.images.resume != nil {
		if err := g.qmp.restore(ctx); err != nil {
			return err
		}
	}
	return g.qmp.run(ctx, "cont", nil)
}

// refused is the error of a QEMU that did not come to run the guest: its own words say why, if it found any.
func (g *guest) refused(err error) error {
	said := g.proc.stderr.lines()
	if len(said) == 0 {
		return cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s: QEMU did not start the guest: %w", g.end.name, err)
	}
	return cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s: QEMU did not start the guest: %s", g.end.name, said[len(said)-1]).
		With(cause.Text(said...)...)
}

// guard holds the guest to its boot's deadline, and to the context's life.
func (g *guest) guard(ctx context.Context, timeout time.Duration) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	answered := g.agent.answered
	for {
		select {
		case <-g.done:
			return
		case <-answered:
			answered = nil
			deadline.Stop()
		case <-deadline.C:
			g.note(func(e *ending) { e.timedOut = timeout })
			g.interrupt(ctx)
			return
		case <-ctx.Done():
			g.note(func(e *ending) { e.canceled = ctx.Err() })
			g.proc.kill()
			return
		}
	}
}

// reap waits for QEMU to be gone and for all that it and the guest said, and makes the verdict.
func (g *guest) reap() {
	<-g.proc.exited
	defer g.release()
	g.qmp.close(eventGrace)
	<-g.console.closed
	if g.core != nil {
		g.core.settle()
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	e := &g.end
	e.shutdown, e.panicked, e.portOpen = g.qmp.heard()
	e.exit = g.proc.state.String()
	e.stderr = g.proc.stderr.lines()
	e.splats = g.console.Splats()
	e.console = g.console.Tail(keptLines)
	e.logErr = g.console.writeError()
	e.core = g.core.evidence()
	select {
	case <-g.agent.answered:
		e.answered = true
	default:
	}
	g.err = e.err()
	close(g.done)
}

// note records why we end the guest, if it has not ended by itself.
func (g *guest) note(why func(*ending)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.proc.exited:
	default:
		why(&g.end)
	}
}

// interrupt makes the kernel print where it is, which ends it: see traceOnNMI. If it does not answer an NMI, or
// ctx ends, it is killed. Its memory is taken before, where that is wanted.
func (g *guest) interrupt(run context.Context) {
	ctx, cancel := context.WithTimeout(run, g.accel.Scale(nmiTimeout))
	defer cancel()
	var panicked chan struct{} // a kernel that stays after its panic
	if g.core != nil {
		panicked = g.console.panicked
	}
	if err := g.qmp.run(ctx, "inject-nmi", nil); err == nil {
		select {
		case <-g.done:
			return
		case <-panicked: // watch ends it
			<-g.done
			return
		case <-ctx.Done():
		}
	}
	if g.core != nil {
		g.exhume(run)
	}
	g.proc.kill()
	<-g.done
}

func (g *guest) Agent() net.Conn          { return g.agent }
func (g *guest) Done() <-chan struct{}    { return g.done }
func (g *guest) Console() machine.Console { return g.console }

func (g *guest) Err() error {
	select {
	case <-g.done:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.err
	default:
		return nil
	}
}

func (g *guest) Diagnose(ctx context.Context) error {
	select {
	case <-g.proc.exited: // it went by itself, and says why better than silence does
	case <-g.console.panicked: // so does it here; if it stays for its memory to be taken, that is under way
		if g.core == nil {
			g.interrupt(ctx)
		}
	default:
		g.note(func(e *ending) { e.silent = true })
		g.interrupt(ctx)
	}
	<-g.done
	return g.Err()
}

// Stop asks QEMU to quit and kills it if it does not within a second. It does not look at ctx but for that: a
// guest must be gone also, and above all, when everything has been cancelled.
func (g *guest) Stop(ctx context.Context) error {
	select {
	case <-g.done:
		return g.agent.stop()
	default:
	}
	g.note(func(e *ending) { e.stopped = true })
	ctx, cancel := context.WithTimeout(ctx, quitTimeout)
	defer cancel()
	if err := g.qmp.run(ctx, "quit", nil); err == nil {
		select {
		case <-g.proc.exited:
		case <-ctx.Done():
		}
	}
	if err := g.proc.kill(); err != nil {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: QEMU (pid %d) could not be killed: %w", g.end.name, g.proc.pid, err)
	}
	<-g.done
	return g.agent.stop()
}

// stop closes our end; that it was closed before is no error.
func (a *agentConn) stop() error {
	if err := a.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
