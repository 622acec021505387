// SPDX-License-Identifier: Apache-2.0

// Package ptrace knows how to see what a tree of processes does without a driver in the kernel: by ptrace(2) and a
// seccomp filter, as Falco's pdig does it. It gives the events of the probe, [modern.Event], so that the same consumer
// evaluates them.
//
// Only what is started by [Driver.Launch] is seen, with all that it starts. Every system call of the table stops its
// thread twice, at its entry and at its end. The arguments are read both times; the event has them as they stood at the
// entry, and where they were changed in between, by another thread of the process, that is counted as lost: which of
// the two the kernel has used cannot be known. What the kernel itself says is always of the end: which file was opened,
// which program was started. A system call that a filter of the traced refuses is not made, and not seen; one of
// another ABI (32-bit, x32) is not decoded, and counted.
//
// The traced run under two conditions that they would not have otherwise: ptrace(2) of one of them fails with EPERM,
// because a process has one tracer; and each keeps the filter to its end, so that the tracer stays as long as one of
// them lives, even when nobody wants its events any more.
package ptrace

import (
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/driver/modern"
	"github.com/mews-farm/mews/results/cause"
)

// Driver is the traced processes' side of a consumer: native.Driver. Its methods may be called beside Read, which is
// for one reader.
type Driver struct {
	cmd    *exec.Cmd
	self   []string // the command that becomes a traced one: see Launch
	events chan message
	closed chan struct{}
	ended  chan struct{} // closed when the stream of events has ended
	err    error         // why, to be read after ended

	mu       sync.Mutex // of the control connection
	control  *os.File
	enc      *json.Encoder
	dec      *json.Decoder
	received uint64
	once     sync.Once
}

// eventBuffer is how many events may wait in this process; those beyond it wait in the tracer, and the traced with them.
const eventBuffer = 256

// Start starts the tracer. self is how this program is started again: with the arguments self and [TraceWord] it must
// call [Trace] on its main thread, with self and [ExecWord] and more, [Exec].
func Start(self ...string) (*Driver, error) {
	fail := func(what string, err error) (*Driver, error) {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%s: %w", what, err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fail("make a connection to the tracer", err)
	}
	control, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	r, w, err := os.Pipe()
	if err != nil {
		control.Close()
		return fail("make a stream of events", err)
	}
	defer w.Close()
	cmd := exec.Command(self[0], append(self[1:len(self):len(self)], TraceWord)...)
	cmd.ExtraFiles = []*os.File{theirs, w}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := startSlack(cmd); err != nil {
		control.Close()
		r.Close()
		return fail("start the tracer", err)
	}
	d := &Driver{
		cmd: cmd, self: self, control: control, enc: json.NewEncoder(control), dec: json.NewDecoder(control),
		events: make(chan message, eventBuffer), closed: make(chan struct{}), ended: make(chan struct{}),
	}
	go d.receive(r)
	if _, err := d.ask(request{Op: opStats}); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// timerSlack is by how much a sleep of the tracer may take longer. The watchman of the Go runtime (sysmon in its proc.go)
// sleeps for 20 us again and again whenever a thread comes back from a long system call, such as to wait for the traced.
// Under an emulator, on one processor, that was most of what a traced system call cost.
const timerSlack = 20 * time.Millisecond

// startSlack starts a process all of whose threads have that slack: it is inherited, and stays over execve(2).
func startSlack(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0); err != nil {
		return err
	}
	err := cmd.Start()
	return errors.Join(err, unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)) // 0: as it was by default
}

// receive passes the stream on until it ends.
func (d *Driver) receive(r *os.File) {
	defer close(d.ended)
	defer r.Close()
	dec := gob.NewDecoder(r)
	for {
		var m message
		if err := dec.Decode(&m); err != nil {
			d.err = err
			return
		}
		select {
		case d.events <- m:
		case <-d.closed:
			// Read to its end, so that the tracer does not wait for somebody to read.
			_, d.err = io.Copy(io.Discard, r)
			return
		}
	}
}

// ask makes one request.
func (d *Driver) ask(q request) (reply, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	broken := func(err error) error {
		return cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the tracer does not answer to %q: %w", q.Op, err).
			Advise("read what it wrote last, on the console of the guest or the standard error of its driver")
	}
	if err := d.enc.Encode(q); err != nil {
		return reply{}, broken(err)
	}
	var r reply
	if err := d.dec.Decode(&r); err != nil {
		return reply{}, broken(err)
	}
	if r.Error != "" {
		return r, cause.Failf(cause.PolicyDenied, cause.FaultKernel, "the tracer: %s", r.Error).
			Advise("to trace takes root with CAP_SYS_PTRACE and CAP_SYS_ADMIN, and kernel.yama.ptrace_scope below 3")
	}
	return r, nil
}

// Attach makes the events flow.
func (d *Driver) Attach() error {
	_, err := d.ask(request{Op: opAttach})
	return err
}

// Detach ends the events; the traced go on. Read still returns those that happened before, and then io.EOF.
func (d *Driver) Detach() error {
	_, err := d.ask(request{Op: opDetach})
	return err
}

// Flush does nothing: the tracer keeps no event back.
func (d *Driver) Flush() error { return nil }

// Read waits for the next event. It returns io.EOF when there is none any more after Detach, and os.ErrClosed after
// Close.
func (d *Driver) Read() (modern.Event, error) {
	select {
	case m := <-d.events:
		return d.unpack(m)
	case <-d.closed:
		return modern.Event{}, os.ErrClosed
	case <-d.ended:
		select {
		case m := <-d.events:
			return d.unpack(m)
		default:
			return modern.Event{}, cause.Errorf(cause.ConsumerBroken, cause.FaultHarness, "the tracer is gone: %v", d.err) // not %w: io.EOF would be a good end
		}
	}
}

func (d *Driver) unpack(m message) (modern.Event, error) {
	if m.End {
		return modern.Event{}, io.EOF
	}
	d.mu.Lock()
	d.received++
	d.mu.Unlock()
	return m.Event, nil
}

// lostOnTheWay is what the tracer sent and nobody received. It cannot be but by a mistake of ours, and is counted all
// the same.
const lostOnTheWay = "events between the tracer and its reader"

// Stats says how many events there were, and what could not be told. To be counted to the end, it must be called after
// Read has returned io.EOF.
func (d *Driver) Stats() (modern.Stats, error) {
	r, err := d.ask(request{Op: opStats})
	if err != nil {
		return modern.Stats{}, err
	}
	s := modern.Stats{Events: r.Sent, DropsBy: maps.Clone(r.Lost)}
	if s.DropsBy == nil {
		s.DropsBy = map[string]uint64{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.received != r.Sent {
		s.DropsBy[lostOnTheWay] = r.Sent - d.received
	}
	return s, nil
}

// Traced is how many threads are traced now.
func (d *Driver) Traced() (int, error) {
	r, err := d.ask(request{Op: opStats})
	return r.Traced, err
}

// Close lets the tracer go, which ends as soon as nobody is left whom it must let go on. A Read that waits returns
// os.ErrClosed.
func (d *Driver) Close() error {
	var err error
	d.once.Do(func() {
		close(d.closed)
		r, askErr := d.ask(request{Op: opStats})
		d.mu.Lock()
		err = d.control.Close()
		d.mu.Unlock()
		if askErr == nil && r.Traced > 0 {
			go d.cmd.Wait() // it stays with them
			return
		}
		if waitErr := d.cmd.Wait(); waitErr != nil {
			err = errors.Join(askErr, err, fmt.Errorf("the tracer: %w", waitErr))
		}
	})
	return err
}
