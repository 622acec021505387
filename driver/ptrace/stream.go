// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"bufio"
	"encoding/gob"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mews-farm/mews/driver/modern"
)

// Descriptors of the tracer: what it is asked and answers, and where its events go.
const (
	controlFD = 3
	eventsFD  = 4
)

// message is one item of the stream of events. gob carries it: strings of the traced may hold any byte.
type message struct {
	Event modern.Event
	End   bool // no event that happened before the tracer was told to stop comes behind this
}

// What the tracer is asked.
const (
	opAdopt  = "adopt" // trace a process and what it starts
	opAttach = "attach"
	opDetach = "detach"
	opStats  = "stats"
)

type request struct {
	Op  string
	PID int `json:",omitempty"`
}

// reply answers a request.
type reply struct {
	Error  string            `json:",omitempty"`
	Sent   uint64            // events written to the stream
	Lost   map[string]uint64 `json:",omitempty"` // what could not be told, by reason
	Traced int               // threads that are traced now
}

// Why something is not told, or not for certain. A silence proves nothing where one of them was counted.
const (
	lostForeign = "32-bit system calls, which are not decoded"
	lostRaced   = "arguments that changed during their system call"
	lostLayer   = "executables whose layer is unknown"
	lostSocket  = "sockets that the kernel did not show"
	lostGone    = "events of processes that were gone before they were looked at"
)

// Events are sent together: to wake the reader for each would cost the traced more than the event itself. An event waits
// at most sendAfter, and not at all when there are sendSize bytes of them.
const (
	sendAfter = 20 * time.Millisecond
	sendSize  = 32 << 10
)

// teller writes the stream of events. Its mutex orders all that is told, of all trees.
type teller struct {
	traced  atomic.Int64 // threads that are traced now
	mu      sync.Mutex
	cgroups *cgroups
	emit    bool // events are wanted
	out     *bufio.Writer
	enc     *gob.Encoder
	due     *time.Timer // sends what waits
	waits   bool
	sent    uint64
	lost    map[string]uint64
}

func newTeller(events io.Writer) *teller {
	out := bufio.NewWriterSize(events, sendSize)
	t := &teller{cgroups: newCgroups(), out: out, enc: gob.NewEncoder(out), lost: map[string]uint64{}}
	t.due = time.AfterFunc(sendAfter, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.flush()
	})
	return t
}

// flush sends what waits, and waits until it has gone: a driver that is behind slows the traced down, and nothing is
// lost.
func (t *teller) flush() {
	t.waits = false
	if t.out.Flush() != nil {
		t.emit = false // the driver is gone
	}
}

// write sends a message, soon.
func (t *teller) write(m message) error {
	if err := t.enc.Encode(m); err != nil {
		return err
	}
	if !t.waits {
		t.waits = true
		t.due.Reset(sendAfter)
	}
	return nil
}

// send sends an event.
func (t *teller) send(ev *modern.Event) {
	if t.write(message{Event: *ev}) != nil {
		t.emit = false // the driver is gone
		return
	}
	t.sent++
}

func (t *teller) lose(reason string) {
	if t.emit {
		t.lost[reason]++
	}
}
