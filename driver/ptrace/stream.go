// SPDX-License-Identifier: Apache-2.0

package ptrace

import "github.com/mews-farm/mews/driver/modern"

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
	opClose  = "close"
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
