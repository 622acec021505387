// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mikelolasagasti/xz"
	"github.com/pierrec/lz4/v4"

	"github.com/mews-farm/mews/kernels/internal/decompress"
)

// compression is one that a kernel's image can have, CONFIG_KERNEL_*.
type compression struct {
	name   string
	magic  string
	expand func(packed []byte, limit int64) ([]byte, error) // stops where the stream ends
}

// compressions are all the kernel's own, lib/decompress.c. LZO, which no distribution uses, has no Go library
// that is not derived from GPL code.
var compressions = []compression{
	{"gzip", "\x1f\x8b\x08", suffixed(".gz")},
	{"xz", "\xfd7zXZ\x00", suffixed(".xz")},
	{"zstd", "\x28\xb5\x2f\xfd", suffixed(".zst")},
	{"lz4", lz4Magic, expandLZ4},
	{"lzma", "\x5d\x00\x00", suffixed(".lzma")},
	{"bzip2", "BZh", suffixed(".bz2")},
	{"lzo", "\x89LZO\x00", func([]byte, int64) ([]byte, error) {
		return nil, fmt.Errorf("%w: LZO", ErrCompression)
	}},
}

// sniff returns the compression that b starts like, or nil.
func sniff(b []byte) *compression {
	for i, c := range compressions {
		if bytes.HasPrefix(b, []byte(c.magic)) {
			return &compressions[i]
		}
	}
	return nil
}

// expandSized decompresses the payload of a bzImage, the last four bytes of which are the size that comes out. gzip
// ends in that anyhow; to all others arch/x86/boot/compressed/Makefile adds it ("_with_size").
func expandSized(payload []byte, limit int64) (kernel []byte, name string, err error) {
	if len(payload) < 4 {
		return nil, "", fmt.Errorf("%w: a payload of %d bytes", ErrTruncated, len(payload))
	}
	body := payload[:len(payload)-4]
	size := int64(binary.LittleEndian.Uint32(payload[len(body):]))
	if size > limit {
		return nil, "", fmt.Errorf("announces %d bytes: %w", size, ErrLimit)
	}
	c := sniff(body)
	switch {
	case c != nil && c.name == "gzip":
		body = payload
	case c == nil && bytes.HasPrefix(body, []byte(elf.ELFMAG)): // CONFIG_KERNEL_UNCOMPRESSED
		c = &compression{name: "none", expand: func(b []byte, _ int64) ([]byte, error) { return b, nil }}
	case c == nil:
		return nil, "", fmt.Errorf("%w: its payload starts with % x", ErrCompression, body[:min(len(body), 8)])
	}
	if kernel, err = c.expand(body, size); err != nil {
		return nil, "", fmt.Errorf("announces %d bytes, and %w", size, err)
	}
	if int64(len(kernel)) != size {
		return nil, "", fmt.Errorf("%w: %d bytes announced, %d came out", ErrTruncated, size, len(kernel))
	}
	return kernel, c.name, nil
}

func suffixed(suffix string) func([]byte, int64) ([]byte, error) {
	return func(packed []byte, limit int64) ([]byte, error) {
		z, err := decompress.NewReader(bytes.NewReader(packed), suffix, limit)
		if err != nil {
			return nil, fmt.Errorf("cannot be decompressed: %w", err)
		}
		defer z.Close()
		return gather(z, packed, limit)
	}
}

// gather reads z, the decompressed packed, up to limit bytes.
func gather(z io.Reader, packed []byte, limit int64) ([]byte, error) {
	var out bytes.Buffer
	// No image is packed better than 1:8; what a header claims is not worth an allocation.
	out.Grow(int(min(limit, 8*int64(len(packed)))) + bytes.MinRead)
	n, err := out.ReadFrom(io.LimitReader(z, limit+1))
	switch {
	case n > limit:
		return nil, fmt.Errorf("cannot be decompressed: %w", ErrLimit)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, xz.ErrBuf):
		return nil, fmt.Errorf("%w: %w", ErrTruncated, err)
	case err != nil:
		return nil, fmt.Errorf("cannot be decompressed: %w", err)
	}
	return out.Bytes(), nil
}

const (
	lz4Magic = "\x02\x21\x4c\x18"
	lz4Block = 8 << 20 // what a block decompresses to at most
)

// expandLZ4 reads the legacy format of `lz4 -l`: the magic, and blocks after their sizes. It has no end of its own
// but the end of the file, so that a reader of files takes the size word of an image for a block.
func expandLZ4(packed []byte, limit int64) ([]byte, error) {
	in := packed[len(lz4Magic):]
	out := make([]byte, 0, min(limit, 8*int64(len(packed))))
	for len(in) > 0 {
		if len(in) < 4 {
			return nil, fmt.Errorf("%w: %d bytes after its last block", ErrTruncated, len(in))
		}
		n := int64(binary.LittleEndian.Uint32(in))
		block, err := slice(in, 4, n)
		if err != nil {
			return nil, err
		}
		room := min(lz4Block, limit-int64(len(out)))
		at := len(out)
		out = append(out, make([]byte, room)...)
		got, err := lz4.UncompressBlock(block, out[at:])
		switch {
		case err != nil && room < lz4Block:
			return nil, fmt.Errorf("cannot be decompressed: %w, or %w", ErrLimit, err)
		case err != nil:
			return nil, fmt.Errorf("cannot be decompressed: lz4: %w", err)
		}
		out, in = out[:at+got], in[4+n:]
	}
	return out, nil
}
