// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/internal/splat"
	"github.com/mews-farm/mews/results/cause"
)

// Bounds on what a guest can make us keep.
const (
	maxConsoleBytes = 16 << 20 // of console.log: a night of boots is 40 KB each, a guest that prints in a loop is endless
	maxConsoleLine  = 4 << 10
	keptLines       = 256 // for Tail
)

// consoleLog captures a guest's console to a file while it looks for splats.
type consoleLog struct {
	file *os.File
	room int // bytes that may still be written to file

	mu       sync.Mutex
	scanner  splat.Scanner
	tail     []cause.Evidence // the last lines, at most keptLines
	lines    int              // lines begun so far
	waiters  map[*waiter]struct{}
	splatted chan struct{}
	panicked chan struct{} // closed at the first panic
	closed   chan struct{} // the guest will not print any more
	writeErr error         // the first failure to write the file
}

type waiter struct {
	text  string
	found chan struct{}
}

// newConsoleLog begins a log. With goesOn it is the rest of what is in the file already, whose lines are counted so that
// the numbers of those to come are right.
func newConsoleLog(path string, goesOn bool) (*consoleLog, error) {
	how := os.O_TRUNC
	if goesOn {
		how = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|how, 0o644)
	if err != nil {
		return nil, err
	}
	var before []byte
	if goesOn {
		if before, err = io.ReadAll(io.LimitReader(f, maxConsoleBytes)); err != nil {
			f.Close()
			return nil, err
		}
	}
	return &consoleLog{
		file: f, room: maxConsoleBytes - len(before), lines: bytes.Count(before, []byte{'\n'}),
		waiters:  map[*waiter]struct{}{},
		splatted: make(chan struct{}), panicked: make(chan struct{}), closed: make(chan struct{}),
	}, nil
}

// consume reads the console to its end. It goes on reading when the file is full or cannot be written: a guest
// that nobody listens to would block, and a panic that comes later still counts.
func (c *consoleLog) consume(r io.Reader) {
	defer close(c.closed)
	br := bufio.NewReaderSize(r, maxConsoleLine)
	for {
		// A line longer than the buffer comes in pieces, each of which counts as a line.
		piece, err := br.ReadSlice('\n')
		if len(piece) > 0 {
			c.line(piece)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			if err := c.file.Close(); err != nil {
				c.failed(err)
			}
			return
		}
	}
}

func (c *consoleLog) line(raw []byte) {
	logged := c.write(append(bytes.TrimRight(raw, "\r\n"), '\n'))

	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines++
	ev := cause.Evidence{Text: splat.Clean(string(raw))}
	if logged {
		ev.File, ev.Line = machine.ConsoleLog, c.lines
	}
	if len(c.tail) == keptLines {
		c.tail = append(c.tail[:0], c.tail[1:]...)
	}
	c.tail = append(c.tail, ev)
	if c.scanner.Line(ev) {
		select {
		case <-c.splatted:
		default:
			close(c.splatted)
		}
		c.look()
	}
	for w := range c.waiters {
		if strings.Contains(ev.Text, w.text) {
			close(w.found)
			delete(c.waiters, w)
		}
	}
}

// look closes panicked if the newest splat is the first panic.
func (c *consoleLog) look() {
	found := c.scanner.Splats()
	if found[len(found)-1].Kind != splat.Panic {
		return
	}
	select {
	case <-c.panicked:
	default:
		close(c.panicked)
	}
}

// write reports whether line is in the file.
func (c *consoleLog) write(line []byte) bool {
	if c.room == 0 {
		return false
	}
	if c.room -= len(line); c.room < 0 {
		c.room = 0
		line = fmt.Appendf(nil, "[mews: the console is cut here, after %d MiB]\n", maxConsoleBytes>>20)
	}
	if _, err := c.file.Write(line); err != nil {
		c.failed(err)
		c.room = 0
	}
	return c.room > 0
}

func (c *consoleLog) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writeErr == nil {
		c.writeErr = err
	}
}

// writeError is why the file is not whole; that it is cut at its bound is no error.
func (c *consoleLog) writeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.writeErr
}

func (c *consoleLog) Path() string { return c.file.Name() }

func (c *consoleLog) Tail(n int) []cause.Evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]cause.Evidence(nil), c.tail[max(0, len(c.tail)-n):]...)
}

func (c *consoleLog) Splats() []splat.Splat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.scanner.Splats()
}

func (c *consoleLog) Splatted() <-chan struct{} { return c.splatted }

func (c *consoleLog) Await(ctx context.Context, text string) error {
	w := &waiter{text, make(chan struct{})}
	c.mu.Lock()
	for _, ev := range c.tail {
		if strings.Contains(ev.Text, text) {
			c.mu.Unlock()
			return nil
		}
	}
	c.waiters[w] = struct{}{}
	c.mu.Unlock()

	select {
	case <-w.found:
		return nil
	case <-ctx.Done():
		c.forget(w)
		return ctx.Err()
	case <-c.closed:
		select {
		case <-w.found: // in the last lines
			return nil
		default:
			c.forget(w)
			return io.EOF
		}
	}
}

func (c *consoleLog) forget(w *waiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiters, w)
}
