// SPDX-License-Identifier: Apache-2.0

package deb

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arMagic begins every ar file; deb(5) and ar(5).
const arMagic = "!<arch>\n"

const arHeaderSize = 60

// member is one file of an ar archive.
type member struct {
	name string
	data *io.SectionReader
}

// arMembers lists the members of the ar archive in r, which has size bytes. A .deb has three; many more are refused.
func arMembers(r io.ReaderAt, size int64) ([]member, error) {
	const maxMembers = 32
	magic := make([]byte, len(arMagic))
	if _, err := r.ReadAt(magic, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != arMagic {
		return nil, fmt.Errorf("not an ar archive: begins with %q", magic)
	}
	var out []member
	for off := int64(len(arMagic)); off < size; {
		if len(out) == maxMembers {
			return nil, fmt.Errorf("ar archive has more than %d members", maxMembers)
		}
		if size-off < arHeaderSize {
			return nil, fmt.Errorf("ar header at byte %d: %w", off, io.ErrUnexpectedEOF)
		}
		var h [arHeaderSize]byte
		if _, err := r.ReadAt(h[:], off); err != nil {
			return nil, fmt.Errorf("ar header at byte %d: %w", off, err)
		}
		if !bytes.Equal(h[58:], []byte("`\n")) {
			return nil, fmt.Errorf("ar header at byte %d does not end as one", off)
		}
		// GNU ar ends names with a slash, dpkg does not.
		name := strings.TrimSuffix(strings.TrimRight(string(h[:16]), " "), "/")
		n, err := strconv.ParseUint(strings.TrimRight(string(h[48:58]), " "), 10, 62)
		if err != nil {
			return nil, fmt.Errorf("size of ar member %q: %w", name, err)
		}
		off += arHeaderSize
		if int64(n) > size-off {
			return nil, fmt.Errorf("ar member %q needs %d bytes of %d left: %w", name, n, size-off, io.ErrUnexpectedEOF)
		}
		out = append(out, member{name, io.NewSectionReader(r, off, int64(n))})
		off += int64(n + n%2)
	}
	return out, nil
}
