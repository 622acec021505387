// SPDX-License-Identifier: Apache-2.0

// Package sparse knows files with holes: how to copy them with their holes, and how to tell whether they changed.
package sparse

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Block is the unit in which holes are told from data.
const Block = 4096

var table = crc32.MakeTable(crc32.Castagnoli) // which processors have an instruction for

// Copy copies what is in src to the same place of dst, an empty file, which gets holes where src has zeros only, and src's
// size. The sum is that of [Sum].
func Copy(dst *os.File, src *os.File) (sum uint32, err error) {
	fi, err := src.Stat()
	if err != nil {
		return 0, err
	}
	if err := dst.Truncate(fi.Size()); err != nil {
		return 0, err
	}
	return scan(src, func(at int64, data []byte) error {
		_, err := dst.WriteAt(data, at)
		return err
	})
}

// Sum depends on every byte of f that is not zero and on its place. Where f has holes does not matter.
func Sum(f *os.File) (uint32, error) {
	return scan(f, func(int64, []byte) error { return nil })
}

// scan calls each for every run of blocks that are not zero, and sums them up.
func scan(f *os.File, each func(at int64, data []byte) error) (uint32, error) {
	buf, zeros := make([]byte, 256*Block), make([]byte, Block)
	var sum uint32
	var place [8]byte
	err := extents(f, func(at, n int64) error {
		in := io.NewSectionReader(f, at, n)
		for {
			got, err := io.ReadFull(in, buf)
			for from := 0; from < got; {
				to := from
				for to < got {
					block := buf[to:min(to+Block, got)]
					if bytes.Equal(block, zeros[:len(block)]) {
						break
					}
					to += len(block)
				}
				if to > from {
					for b := from; b < to; b += Block {
						binary.LittleEndian.PutUint64(place[:], uint64(at+int64(b)))
						sum = crc32.Update(sum, table, place[:])
						sum = crc32.Update(sum, table, buf[b:min(b+Block, to)])
					}
					if err := each(at+int64(from), buf[from:to]); err != nil {
						return err
					}
				}
				from = to + Block // the block that ended the run is zero
			}
			at += int64(got)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return sum, err
}

// extents calls f for every part of src that is no hole, in their order.
func extents(src *os.File, f func(at, n int64) error) error {
	for at := int64(0); ; {
		begin, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, syscall.ENXIO) {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		end, err := unix.Seek(int(src.Fd()), begin, unix.SEEK_HOLE)
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		if err := f(begin, end-begin); err != nil {
			return err
		}
		at = end
	}
}
