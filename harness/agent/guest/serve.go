// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/kmod"
	"github.com/mews-farm/mews/driver/kmod/kmsg"
	"github.com/mews-farm/mews/driver/ptrace"
	"github.com/mews-farm/mews/harness/agent/wire"
	"github.com/mews-farm/mews/results/cause"
)

// Agent serves the calls of [wire.AgentService]. One thing is done at a time: what is measured of one must not
// be the work of another. Only Hello, Ping, Dmesg and Log are answered meanwhile.
type Agent struct {
	Modules []string // modules that were loaded from the initramfs
	State   string   // directory of its own, writable, on a filesystem that allows exec
	Halt    func()   // ends the machine
	// Woke makes the machine, which was saved and taken up again, one of its own; nil: it cannot be. See [wire.Wake].
	Woke func(*wire.Wake) error

	log      *Log
	busy     sync.Mutex     // held by every call that does something
	versions *kmod.Versions // of the module that was loaded last
	probe    *probe
	legacy   *legacy
	tracer   *ptrace.Driver
	session  *session
	shell    shell
	waiting  map[string]*actor // for their deeds, by these ids
	left     []*actor          // as they are after their deeds, to the guest's end
	forks    chan func()       // what must start a process from the main thread
}

var _ wire.AgentService = (*Agent)(nil)

// ServePort serves the host at the other end of a virtio-serial port until the host hangs up.
func ServePort(path string, modules []string) error {
	conn, err := openPort(path, portDeadline)
	if err != nil {
		return err
	}
	// With its newline: without one the kernel keeps the line back until somebody logs the next.
	if err := os.WriteFile(kmsg.Device, []byte("mews-agent: serving "+path+"\n"), 0); err != nil {
		return err
	}
	return Serve(context.Background(), conn, &Agent{Modules: modules, State: stateDir, Halt: PowerOff, Woke: awaken})
}

// Serve serves the controller at the other end of conn until it hangs up: one session, and another after each wake.
func Serve(ctx context.Context, conn net.Conn, a *Agent) error {
	a.log = NewLog()
	a.forks = make(chan func())
	served := make(chan error, 1)
	go func() { served <- a.sessions(ctx, conn) }()
	for {
		select {
		case fork := <-a.forks:
			fork()
		case err := <-served:
			return err
		}
	}
}

// sessions serves one after the other.
func (a *Agent) sessions(ctx context.Context, conn net.Conn) error {
	defer conn.Close()
	in := wire.NewFrames(conn)
	for {
		if err := a.serve(ctx, &watched{Conn: conn, in: in, gone: make(chan struct{})}); err != nil && !errors.Is(err, errHungUp) {
			return err
		}
		k := in.Woken()
		if k == nil {
			return nil
		}
		if a.Woke == nil {
			return errors.New("told to wake, which is not for an agent on a machine of others")
		}
		if err := a.Woke(k); err != nil {
			return fmt.Errorf("wake as %s: %w", k.ID, err)
		}
		a.log.Info("woke", slog.String("as", k.ID))
		if err := wire.Awake(conn, k.ID); err != nil {
			return err
		}
	}
}

// serve serves one session.
func (a *Agent) serve(ctx context.Context, conn *watched) error {
	s, err := ttrpc.NewServer(ttrpc.WithUnaryServerInterceptor(a.intercept))
	if err != nil {
		return err
	}
	defer s.Close()
	wire.RegisterAgentService(s, a)
	return s.Serve(ctx, &listener{conn: conn})
}

// start starts cmd from the goroutine that called Serve, which in the agent is the main thread. To a driver of 2022
// the parent of a process is the thread that forked it: from any other thread, proc.ppid would be a number that
// no process has (seen with 0.1.1dev on 5.10: 81 for a process whose parent was 79).
func (a *Agent) start(ctx context.Context, cmd *exec.Cmd) error {
	started := make(chan error, 1)
	select {
	case a.forks <- func() { started <- cmd.Start() }:
		return <-started
	case <-ctx.Done():
		return ctx.Err()
	}
}

// intercept logs every call and gives every error a form that the other end understands.
func (a *Agent) intercept(ctx context.Context, u ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, m ttrpc.Method) (any, error) {
	start := time.Now()
	if deadline, ok := ctx.Deadline(); ok {
		// An answer at the caller's own deadline comes too late: keep a tenth of the time to say why.
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/10))
		defer cancel()
	}
	reply, err := m(ctx, u)
	_, name, _ := strings.Cut(strings.TrimPrefix(info.FullMethod, "/"), "/")
	if err != nil {
		a.log.Warn(name, slog.Duration("took", time.Since(start)), slog.String("error", fmt.Sprintf("%+v", err)))
		return nil, wire.Status(err)
	}
	if name != "Ping" && name != "Log" && name != "Shell" {
		a.log.Info(name, slog.Duration("took", time.Since(start)))
	}
	return reply, nil
}

// errHungUp ends Serve when the one connection has ended.
var errHungUp = errors.New("the controller hung up")

// listener hands out one connection, and then waits for its end.
type listener struct {
	conn *watched
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	var first net.Conn
	l.once.Do(func() { first = l.conn })
	if first != nil {
		return first, nil
	}
	<-l.conn.gone
	return nil, errHungUp
}

func (l *listener) Close() error   { return nil }
func (l *listener) Addr() net.Addr { return l.conn.LocalAddr() }

// watched is a connection for one session: closing it leaves the connection open for the next.
type watched struct {
	net.Conn
	in   *wire.Frames
	mu   sync.Mutex // held while a frame is written
	over bool
	gone chan struct{} // closed when it is over: hung up, or woken
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.in.Read(b)
	if err != nil {
		w.Close()
	}
	return n, err
}

// Write refuses what comes late: the next session's words must not have others among them.
func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return 0, net.ErrClosed
	}
	return w.Conn.Write(b)
}

func (w *watched) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.over = true
		close(w.gone)
	}
	return nil
}

// Hello says what this guest is.
func (a *Agent) Hello(context.Context, *wire.Empty) (*wire.HelloReply, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, ours("ask the kernel for its name", err)
	}
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return nil, ours("ask the kernel for its memory", err)
	}
	var boot unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot); err != nil {
		return nil, ours("read the clock", err)
	}
	var cpus unix.CPUSet
	if err := unix.SchedGetaffinity(0, &cpus); err != nil {
		return nil, ours("count the CPUs", err)
	}
	_, err := os.Stat(imageDir)
	return &wire.HelloReply{
		Agent: buildID(), Release: wire.Text(unix.ByteSliceToString(u.Release[:])), Version: wire.Text(unix.ByteSliceToString(u.Version[:])),
		Machine: wire.Text(unix.ByteSliceToString(u.Machine[:])), Hostname: wire.Text(unix.ByteSliceToString(u.Nodename[:])),
		Cpus: int32(cpus.Count()), MemoryBytes: uint64(s.Totalram) * uint64(s.Unit), BootSeconds: time.Duration(boot.Nano()).Seconds(),
		Modules: a.Modules, Userland: userland(), Container: err == nil,
	}, nil
}

// userland is what the root filesystem calls itself.
func userland() string {
	text, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return wire.Text(strings.Trim(v, `"`))
		}
	}
	return ""
}

// buildID names this binary: the commit it was built from, as far as the build knows.
var buildID = sync.OnceValue(func() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	id := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			id += " " + s.Value
		}
	}
	return id
})

// Ping answers.
func (a *Agent) Ping(context.Context, *wire.Empty) (*wire.Empty, error) { return &wire.Empty{}, nil }

// SetTime sets the wall clock.
func (a *Agent) SetTime(_ context.Context, r *wire.SetTimeRequest) (*wire.Empty, error) {
	ts := unix.NsecToTimespec(r.GetUnixNano())
	if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
		return nil, ours("set the clock", err)
	}
	return &wire.Empty{}, nil
}

// maxLogReply bounds the text of one reply, well below the 4 MiB that ttrpc carries.
const maxLogReply = 1 << 20

// Dmesg reads the kernel's log.
func (a *Agent) Dmesg(_ context.Context, r *wire.DmesgRequest) (*wire.DmesgReply, error) {
	lines, next, lost, err := kmsg.Read(r.GetSince(), maxLogReply)
	if err != nil {
		return nil, ours("read the kernel's log", err)
	}
	return &wire.DmesgReply{Lines: kernelLines(lines), Next: next, Lost: lost}, nil
}

func kernelLines(in []kmsg.Record) []*wire.KernelLine {
	out := make([]*wire.KernelLine, 0, len(in))
	for _, l := range in {
		out = append(out, &wire.KernelLine{Sequence: l.Sequence, Level: int32(l.Level), Microseconds: l.Time.Microseconds(), Text: wire.Text(l.Text)})
	}
	return out
}

// Log reads the agent's own log.
func (a *Agent) Log(_ context.Context, r *wire.LogRequest) (*wire.LogReply, error) {
	lines, next := a.log.Since(r.GetSince(), maxLogReply)
	return &wire.LogReply{Lines: lines, Next: next}, nil
}

// Shutdown answers and ends the machine.
func (a *Agent) Shutdown(context.Context, *wire.Empty) (*wire.Empty, error) {
	go a.Halt()
	return &wire.Empty{}, nil
}

func ours(what string, err error) error {
	return cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
}
