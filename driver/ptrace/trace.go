// SPDX-License-Identifier: Apache-2.0

package ptrace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"sync"
)

// Trace is the tracer: a process of its own, because the kernel reports the stops of a tracee to whoever waits for
// children in the tracer's process, and the parent of the traced waits for its children in other ways. It serves its
// control connection until that ends, and stays until the last tracee has ended: a filter cannot be taken off a
// process, and what it stops nobody but a tracer lets go on (without one the call fails with ENOSYS).
//
// It must be called by the child that [Start] started.
func Trace() error {
	// With a processor to spare the runtime leaves that of a thread in a system call alone for 10 ms (retake in its
	// proc.go), and a tracer that waits for less goes on without waking anybody.
	runtime.GOMAXPROCS(max(2, runtime.NumCPU()))
	control, events := os.NewFile(controlFD, "control"), os.NewFile(eventsFD, "events")
	if control == nil || events == nil {
		return errors.New("the tracer was not started by its driver")
	}
	t := &tracer{teller: newTeller(events), failed: make(chan error, 1)}
	go func() {
		t.serve(control)
		t.trees.Wait()
		t.fail(nil)
	}()
	return <-t.failed
}

// tracer traces trees of processes, and answers for them.
type tracer struct {
	*teller
	trees  sync.WaitGroup
	failed chan error // the first reason to end; nil is a good one
}

func (t *tracer) fail(err error) {
	select {
	case t.failed <- err:
	default:
	}
}

// serve answers requests until there are no more, from when on nobody wants events.
func (t *tracer) serve(control io.ReadWriter) {
	requests, replies := json.NewDecoder(control), json.NewEncoder(control)
	for {
		var r request
		if requests.Decode(&r) != nil || replies.Encode(t.answer(r)) != nil {
			t.mu.Lock()
			t.emit = false
			t.mu.Unlock()
			return
		}
	}
}

func (t *tracer) answer(r request) reply {
	var err error
	if r.Op == opAdopt { // which may not hold the mutex: what it adopts may do something at once
		err = t.adopt(r.PID)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch r.Op {
	case opAttach:
		t.emit = true
	case opDetach:
		t.emit = false
		if err = t.write(message{End: true}); err == nil {
			t.flush()
		}
	case opAdopt, opStats:
	default:
		err = fmt.Errorf("unknown request %q", r.Op)
	}
	out := reply{Sent: t.sent, Lost: maps.Clone(t.lost), Traced: int(t.traced.Load())}
	if err != nil {
		out.Error = err.Error()
	}
	return out
}

// adopt traces a process, and what it starts, on a thread of their own.
func (t *tracer) adopt(pid int) error {
	adopted := make(chan error)
	t.trees.Go(func() {
		runtime.LockOSThread() // never undone: the thread ends with its tree
		tree, err := adopt(pid, t.teller)
		adopted <- err
		if err != nil {
			return
		}
		if err := tree.follow(); err != nil {
			t.fail(err)
		}
	})
	return <-adopted
}
