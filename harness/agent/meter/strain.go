// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// StrainWord is the argument by which the agent's binary becomes the process that makes events.
const StrainWord = "strain"

// Load is how many files are to be opened and closed a second, and for how long.
type Load struct {
	Rate   int `json:"rate"`
	Millis int `json:"millis"`
}

// The bounds of a load.
const (
	maxRate   = 1_000_000
	maxMillis = 10_000
)

// Strained is what came of a load: a guest that is too slow makes fewer opens than it was asked for.
type Strained struct {
	Opens   int     `json:"opens"`
	Seconds float64 `json:"seconds"`
}

// Strain is `mews-agent strain DIR`: it reads a load from in, opens and closes a file of its own in the directory as often,
// and writes to out what came of it.
func Strain(dir string, in io.Reader, out io.Writer) error {
	var l Load
	if err := json.NewDecoder(in).Decode(&l); err != nil {
		return fmt.Errorf("read the load: %w", err)
	}
	if l.Rate < 1 || l.Rate > maxRate || l.Millis < 1 || l.Millis > maxMillis {
		return fmt.Errorf("%d opens a second for %d ms cannot be made: 1 to %d for 1 to %d ms", l.Rate, l.Millis, maxRate, maxMillis)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	call, undo, err := openat(dir)
	if undo != nil {
		defer undo()
	}
	if err != nil {
		return err
	}
	s, err := l.make(call)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(s)
}

// breath is how long the process sleeps when it is ahead of its rate.
const breath = 1_000_000

// make keeps to the rate over the whole time: what a late wake-up left out comes right after it.
func (l Load) make(call func() unix.Errno) (Strained, error) {
	begun := now()
	length := int64(l.Millis) * 1e6
	opens := int64(0)
	for {
		passed := now() - begun
		if passed >= length {
			return Strained{Opens: int(opens), Seconds: float64(passed) / 1e9}, nil
		}
		due := passed*int64(l.Rate)/1e9 - opens
		if due <= 0 {
			nap := unix.NsecToTimespec(breath)
			if err := unix.Nanosleep(&nap, nil); err != nil && err != unix.EINTR {
				return Strained{}, err
			}
			continue
		}
		for range min(due, 64) { // and then a look at the clock
			if errno := call(); errno != 0 {
				return Strained{}, errno
			}
			opens++
		}
	}
}
