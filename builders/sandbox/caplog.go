// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"io"
)

// CapLog keeps the first and the last half of what is written to it, so that a build that prints without end costs
// bounded room, and both its first error and its end stay readable. Close writes the last half.
type CapLog struct {
	w       io.Writer
	half    int
	head    int    // bytes of the head written so far
	ring    []byte // the last half bytes after the head
	pos     int    // where the ring is written next, once it is full
	dropped int64
	err     error
}

// NewCapLog keeps about max bytes of what is written to it in w.
func NewCapLog(w io.Writer, max int) *CapLog { return &CapLog{w: w, half: max / 2} }

// Write never fails: an error of the underlying writer is reported by Close, so that it does not kill the build.
func (c *CapLog) Write(p []byte) (int, error) {
	n := len(p)
	if room := c.half - c.head; room > 0 {
		k := min(room, len(p))
		if _, err := c.w.Write(p[:k]); err != nil && c.err == nil {
			c.err = err
		}
		c.head += k
		p = p[k:]
	}
	if len(p) > c.half {
		c.dropped += int64(len(p) - c.half)
		p = p[len(p)-c.half:]
	}
	if k := min(c.half-len(c.ring), len(p)); k > 0 {
		c.ring = append(c.ring, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(c.ring[c.pos:], p)
		c.dropped += int64(k)
		c.pos = (c.pos + k) % len(c.ring)
		p = p[k:]
	}
	return n, nil
}

// Close writes what was kept of the end, after a line that says how much is left out, and returns the first error met.
func (c *CapLog) Close() error {
	var note string
	if c.dropped > 0 {
		note = fmt.Sprintf("\n[mews: %d bytes left out]\n", c.dropped)
	}
	for _, part := range [][]byte{[]byte(note), c.ring[c.pos:], c.ring[:c.pos]} {
		if c.err == nil && len(part) > 0 {
			_, c.err = c.w.Write(part)
		}
	}
	return c.err
}
