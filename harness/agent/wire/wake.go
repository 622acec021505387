// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// Wake ends the session that an agent served and begins another. A guest that was saved and taken up again still has the
// session of the machine that it was, whose numbers of streams the new controller does not know; it has the time of then, and
// every other guest of the same origin has the same random numbers. So the controller's first word says all of that.
//
// It travels as a frame like those of ttrpc, of a type that ttrpc does not have, so that it can come at any time at which
// no call is under way. The agent answers with a frame of that type that holds the id alone, and serves.
type Wake struct {
	Time time.Time
	Seed [SeedSize]byte // for the kernel's random numbers
	ID   string         // of this life of the guest, 1 to 64 bytes
}

// SeedSize is the size of a seed in bytes.
const SeedSize = 64

const (
	headerSize = 10 // of ttrpc: length, stream, type, flags
	wakeType   = 0x77
	maxWakeID  = 64
)

// WriteTo sends it.
func (k Wake) WriteTo(w io.Writer) (int64, error) {
	if len(k.ID) == 0 || len(k.ID) > maxWakeID {
		return 0, fmt.Errorf("%q cannot be the id of a guest's life", k.ID)
	}
	body := binary.BigEndian.AppendUint64(nil, uint64(k.Time.UnixNano()))
	body = append(body, k.Seed[:]...)
	return writeFrame(w, append(body, k.ID...))
}

func writeFrame(w io.Writer, body []byte) (int64, error) {
	frame := make([]byte, headerSize, headerSize+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	frame[8] = wakeType
	n, err := w.Write(append(frame, body...))
	return int64(n), err
}

// Awake tells the controller that the wake of that id was obeyed.
func Awake(w io.Writer, id string) error {
	_, err := writeFrame(w, []byte(id))
	return err
}

// ReadAwake waits for the agent's answer to the wake of id, and takes nothing beyond it from r.
func ReadAwake(r io.Reader, id string) error {
	frame := make([]byte, headerSize+len(id))
	if _, err := io.ReadFull(r, frame); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(frame) != uint32(len(id)) || frame[8] != wakeType || string(frame[headerSize:]) != id {
		return fmt.Errorf("the agent answered %.80q, not that it woke as %s", frame, id)
	}
	return nil
}

// parseWake reads the body of a frame.
func parseWake(body []byte) (*Wake, error) {
	const fixed = 8 + SeedSize
	if len(body) <= fixed || len(body) > fixed+maxWakeID {
		return nil, fmt.Errorf("a wake of %d bytes", len(body))
	}
	k := &Wake{Time: time.Unix(0, int64(binary.BigEndian.Uint64(body))), ID: string(body[fixed:])}
	copy(k.Seed[:], body[8:])
	return k, nil
}

// Frames is the agent's reader of what the controller sends: ttrpc's frames as they are, up to a wake.
type Frames struct {
	r    io.Reader
	head []byte // of the frame at hand, as far as it was not handed out
	left int64  // bytes of its body
	wake *Wake
}

// NewFrames reads frames from r.
func NewFrames(r io.Reader) *Frames { return &Frames{r: r} }

// errWake is a frame that nobody can make sense of any more.
var errWake = errors.New("the controller's words cannot be told apart")

// Read implements io.Reader for one session: it is at its end when a wake came. What follows that is of the next session.
func (f *Frames) Read(p []byte) (int, error) {
	if len(f.head) == 0 && f.left == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if len(f.head) > 0 {
		n := copy(p, f.head)
		f.head = f.head[n:]
		return n, nil
	}
	n, err := f.r.Read(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	return n, err
}

// next reads the header of a frame; of one that is a wake, all of it.
func (f *Frames) next() error {
	if f.wake != nil {
		return io.EOF
	}
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(f.r, head); err != nil {
		return err
	}
	size := binary.BigEndian.Uint32(head)
	if head[8] != wakeType {
		f.head, f.left = head, int64(size)
		return nil
	}
	if size > 8+SeedSize+maxWakeID {
		return fmt.Errorf("%w: a wake of %d bytes", errWake, size)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(f.r, body); err != nil {
		return err
	}
	k, err := parseWake(body)
	if err != nil {
		return fmt.Errorf("%w: %w", errWake, err)
	}
	f.wake = k
	return io.EOF
}

// Woken returns the wake that ended a session, once; nil if something else did.
func (f *Frames) Woken() *Wake {
	k := f.wake
	f.wake = nil
	return k
}
