// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Magics of cpio archives (cpio(5)), the last one rpm's own for packages with a file of 4 GiB or more: its entries hold
// nothing but the number of a file in the package's header.
const (
	magicNewc     = "070701"
	magicCRC      = "070702"
	magicStripped = "07070X"
)

const (
	newcSize     = 110   // of an entry's header, its magic included; 13 numbers of 8 hexadecimal digits
	strippedSize = 6 + 8 // likewise; one number
	trailer      = "TRAILER!!!"
)

// cpio reads an archive, entry by entry.
type cpio struct {
	r   *bufio.Reader
	at  int64        // bytes read so far
	now *cpioContent // of the last entry
}

// cpioEntry is one entry. Its number is -1 where it has a name.
type cpioEntry struct {
	name   string
	number int
	size   int64 // -1: by number; content must be told
	sum    uint32
	summed bool // sum is the sum of all bytes
}

func newCpio(r io.Reader) *cpio { return &cpio{r: bufio.NewReaderSize(r, 64<<10)} }

// next returns the entry after the last one, whose content is passed over; io.EOF behind the trailer.
func (c *cpio) next() (*cpioEntry, error) {
	if c.now != nil {
		if _, err := io.Copy(io.Discard, c.now); err != nil {
			return nil, err
		}
		c.now = nil
	}
	if err := c.pad(); err != nil {
		return nil, err
	}
	var h [newcSize]byte
	if err := c.full(h[:6]); err != nil {
		return nil, err
	}
	switch magic := string(h[:6]); magic {
	case magicStripped:
		return c.stripped(h[:strippedSize])
	case magicNewc, magicCRC:
		return c.newc(h[:], magic == magicCRC)
	}
	return nil, fmt.Errorf("cpio archive has % x for an entry's magic", h[:6])
}

func (c *cpio) stripped(h []byte) (*cpioEntry, error) {
	if err := c.full(h[6:]); err != nil {
		return nil, err
	}
	n, err := number(h[6:])
	if err != nil {
		return nil, err
	}
	return &cpioEntry{number: int(n), size: -1}, c.pad()
}

func (c *cpio) newc(h []byte, summed bool) (*cpioEntry, error) {
	if err := c.full(h[6:]); err != nil {
		return nil, err
	}
	var field [13]uint32 // inode, mode, links, uid, gid, time, size, device (2), its own device (2), length of the name, sum
	for i := range field {
		var err error
		if field[i], err = number(h[6+8*i : 14+8*i]); err != nil {
			return nil, err
		}
	}
	length := field[11]
	if length == 0 || length > maxName {
		return nil, fmt.Errorf("cpio entry's name has %d bytes: %w", length, ErrLimit)
	}
	name := make([]byte, length)
	if err := c.full(name); err != nil {
		return nil, err
	}
	if name[length-1] != 0 {
		return nil, errors.New("cpio entry's name does not end")
	}
	e := &cpioEntry{name: string(name[:length-1]), number: -1, size: int64(field[6]), sum: field[12], summed: summed}
	if e.name == trailer {
		return nil, io.EOF
	}
	return e, c.pad()
}

// content returns the size bytes of e, which is the last entry. It ends with an error where they are not all there.
func (c *cpio) content(e *cpioEntry, size int64) io.Reader {
	c.now = &cpioContent{c: c, e: e, left: size}
	return c.now
}

type cpioContent struct {
	c    *cpio
	e    *cpioEntry
	left int64
	sum  uint32
}

func (r *cpioContent) Read(p []byte) (int, error) {
	if r.left == 0 {
		if r.e.summed && r.sum != r.e.sum {
			return 0, fmt.Errorf("%q %w", r.e.name, ErrDigest)
		}
		return 0, io.EOF
	}
	if int64(len(p)) > r.left {
		p = p[:r.left]
	}
	n, err := r.c.r.Read(p)
	r.left -= int64(n)
	r.c.at += int64(n)
	if r.e.summed {
		for _, b := range p[:n] {
			r.sum += uint32(b)
		}
	}
	if err != nil {
		return n, cut(err)
	}
	return n, nil
}

// pad passes over what aligns the archive to 4 bytes.
func (c *cpio) pad() error {
	var b [3]byte
	return c.full(b[:-c.at&3])
}

func (c *cpio) full(p []byte) error {
	n, err := io.ReadFull(c.r, p)
	c.at += int64(n)
	if err != nil {
		return fmt.Errorf("cpio archive: %w", cut(err))
	}
	return nil
}

func number(digits []byte) (uint32, error) {
	var b [4]byte
	if _, err := hex.Decode(b[:], digits); err != nil {
		return 0, fmt.Errorf("cpio entry has %q for a number", digits)
	}
	return binary.BigEndian.Uint32(b[:]), nil
}
