// SPDX-License-Identifier: Apache-2.0

// Package kmsg knows how to read the kernel's log from /dev/kmsg (Documentation/ABI/testing/dev-kmsg).
package kmsg

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Device is where the kernel's log is read, and where it is written.
const Device = "/dev/kmsg"

// Record is one record of the log.
type Record struct {
	Sequence uint64
	Level    int           // 0 emergency to 7 debug
	Time     time.Duration // since the kernel's start
	Text     string        // one line; the kernel writes what is not printable as \x..
}

// Read returns the records from number since on, and the number to go on from. lost counts the records that
// were overwritten before they could be read. It stops after limit bytes of text, so that more may be left.
func Read(since uint64, limit int) (records []Record, next, lost uint64, err error) {
	// Not through os.File: the runtime's poller would wait for records that have not been written yet.
	fd, err := unix.Open(Device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, since, 0, &os.PathError{Op: "open", Path: Device, Err: err}
	}
	defer unix.Close(fd)
	next = since
	buf := make([]byte, 8<<10) // CONSOLE_EXT_LOG_MAX: the longest record
	for first, size := true, 0; size < limit; {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return records, next, lost, nil
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR):
			continue // overwritten meanwhile: the numbers show the gap
		case err != nil:
			return records, next, lost, &os.PathError{Op: "read", Path: Device, Err: err}
		}
		r, err := Parse(string(buf[:n]))
		if err != nil {
			return records, next, lost, err
		}
		if r.Sequence < since {
			continue
		}
		if first || r.Sequence > next {
			lost += r.Sequence - next
			first = false
		}
		records, next, size = append(records, r), r.Sequence+1, size+len(r.Text)
	}
	return records, next, lost, nil
}

// End is the number that the next record will have.
func End() (uint64, error) {
	_, next, _, err := Read(0, 1<<30)
	return next, err
}

// Parse reads one record: "priority,sequence,microseconds,flags[,...];text\n KEY=value\n...".
func Parse(s string) (Record, error) {
	head, body, ok := strings.Cut(s, ";")
	if !ok {
		return Record{}, fmt.Errorf("kernel log record without a header: %.80q", s)
	}
	f := strings.SplitN(head, ",", 4)
	if len(f) < 3 {
		return Record{}, fmt.Errorf("kernel log record with a short header: %.80q", s)
	}
	priority, err1 := strconv.ParseUint(f[0], 10, 32)
	sequence, err2 := strconv.ParseUint(f[1], 10, 64)
	micros, err3 := strconv.ParseInt(f[2], 10, 64)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Record{}, fmt.Errorf("kernel log record with a bad header: %.80q", s)
	}
	text, _, _ := strings.Cut(body, "\n")
	return Record{Sequence: sequence, Level: int(priority & 7), Time: time.Duration(micros) * time.Microsecond, Text: text}, nil
}
