// SPDX-License-Identifier: Apache-2.0

package rundir

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mews-farm/mews/results"
)

// The kinds of events in a journal.
const (
	KindStart    = "start"    // a stage begins
	KindStage    = "stage"    // a stage ended
	KindScenario = "scenario" // a scenario ended
	KindPerf     = "perf"     // measurements were taken
	KindWarning  = "warning"  // about the run as a whole
	KindFinish   = "finish"   // the run is complete
)

// Event is a line of the journal.
type Event struct {
	Time     time.Time         `json:"time"`
	Kind     string            `json:"kind"`
	Cell     string            `json:"cell,omitempty"`
	Name     string            `json:"name,omitempty"` // of the stage or the scenario
	Stage    *results.Stage    `json:"stage,omitempty"`
	Scenario *results.Scenario `json:"scenario,omitempty"`
	Perf     []results.Perf    `json:"perf,omitempty"`
	Text     string            `json:"text,omitempty"`
	Line     int               `json:"-"` // in the file, from 1
}

// maxLine is far above the longest line a bounded record makes.
const maxLine = 1 << 20

// appendEvent adds one line to the journal and returns when it is on disk. One write call for the line and
// O_APPEND: a crash can tear the last line only.
func appendEvent(f *os.File, e Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return unwritable(err)
	}
	if _, err := f.Write(append(b, '\n')); err != nil {
		return unwritable(err)
	}
	return unwritable(f.Sync())
}

// ReadJournal reads a journal. A last line without its end was in flight when the run was killed and is
// dropped; a line within that cannot be read is an error that names it, next to the events that can.
func ReadJournal(r io.Reader) ([]Event, error) {
	var events []Event
	var errs []error
	br := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := readLine(br)
		if errors.Is(err, io.EOF) {
			return events, errors.Join(errs...)
		}
		if err != nil && !errors.Is(err, errLong) {
			return events, errors.Join(append(errs, err)...)
		}
		var e Event
		if err == nil {
			err = json.Unmarshal(line, &e)
		}
		if err != nil {
			// One error tells that the journal is damaged; a thousand tell no more.
			if len(errs) < 3 {
				errs = append(errs, fmt.Errorf("%s:%d: %w", JournalFile, n, err))
			}
			continue
		}
		e.Line = n
		events = append(events, e)
	}
}

var errLong = fmt.Errorf("line longer than %d bytes", maxLine)

// readLine reads a line with its end, holding no more than maxLine bytes of it; io.EOF where there is no
// whole line any more.
func readLine(br *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := br.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case long:
			return nil, errLong
		default:
			return bytes.TrimSuffix(line, []byte("\n")), nil
		}
	}
}
