// SPDX-License-Identifier: Apache-2.0

// Package consumer knows what every reader of a driver's events promises: given conditions to watch for,
// it reports each event that matches one, and what it saw and lost.
package consumer

import (
	"context"
	"time"
)

// Watch is one condition to look out for.
type Watch struct {
	Name      string   // unique among the watches of one Start; comes back in Match.Watch
	Condition string   // Falco filter syntax, lists and macros already expanded
	Fields    []string // the Falco fields to report of a matching event, as in "proc.name" or "proc.aname[2]"
}

// Match is one event that met a watch's condition.
type Match struct {
	Watch  string            // the name of the watch
	Time   time.Time         // when the event happened, by the guest's clock
	Fields map[string]string // the watch's fields; one that the event does not have is absent, never empty
}

// Stats says how much a consumer saw. A silent rule proves nothing when events were dropped.
type Stats struct {
	Events  uint64            // events that reached the consumer
	Drops   uint64            // events that the driver or the consumer lost; the sum of DropsBy
	DropsBy map[string]uint64 // lost events by category, as the consumer names them
}

// Consumer reads a driver's events and evaluates conditions on them. The life of one is Start, any number of
// matches, Stop; it is not started twice.
type Consumer interface {
	// Start begins to watch and returns when events that happen from now on are seen. A condition that
	// cannot be evaluated (an unknown field or operator, a syntax error) is an error here and never a
	// condition that is silently false. ctx bounds the start alone.
	Start(ctx context.Context, watches []Watch) error

	// Matches is the stream of matches in the order of the events. It is closed after Stop, or when the
	// consumer dies, of which Stop then tells the reason. It may be called before Start.
	Matches() <-chan Match

	// Stop ends the watch after the events that already happened were evaluated, and reports the totals.
	Stop(ctx context.Context) (Stats, error)
}

// Flusher is a consumer that looks for events from time to time, and at once when it is asked to.
type Flusher interface {
	// Flush returns at once. What had happened when it was called is evaluated soon after.
	Flush() error
}

// Teller is a consumer that can tell its totals before it stops.
type Teller interface {
	// Totals are those of what was evaluated until now, with what was lost until now.
	Totals() (Stats, error)
}
