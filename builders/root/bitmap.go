// SPDX-License-Identifier: Apache-2.0

package root

import (
	"encoding/binary"
	"errors"
	"io"
)

// padInodeBitmaps sets the bits of each inode bitmap that stand for no inode. tar2ext4 (hcsshim 0.15.0) leaves them clear,
// which the kernel does not mind and e2fsck calls an error: "Padding at end of inode bitmap is not set".
// Offsets are those of fs/ext4/ext4.h.
func padInodeBitmaps(f interface {
	io.ReaderAt
	io.WriterAt
}) error {
	const (
		superAt      = 1024
		metadataCsum = 0x400 // read-only features that put check sums over the bitmaps
		gdtCsum      = 0x10
	)
	super := make([]byte, 1024)
	if _, err := f.ReadAt(super, superAt); err != nil {
		return err
	}
	field := func(at int) uint32 { return binary.LittleEndian.Uint32(super[at:]) }
	if magic := binary.LittleEndian.Uint16(super[56:]); magic != 0xEF53 || field(100)&(metadataCsum|gdtCsum) != 0 {
		return errors.New("not an ext4 file system without check sums")
	}
	blockSize := int64(1024) << field(24)
	perGroup := field(40)
	descSize := int64(32)
	if field(96)&0x80 != 0 { // feature 64bit
		descSize = int64(binary.LittleEndian.Uint16(super[254:]))
	}
	if blockSize < 4096 || perGroup == 0 || int64(perGroup) > 8*blockSize || perGroup%8 != 0 {
		return errors.New("unknown ext4 geometry")
	}
	padding := make([]byte, blockSize-int64(perGroup)/8)
	for i := range padding {
		padding[i] = 0xff
	}
	for group := range int64(field(0) / perGroup) {
		desc := make([]byte, 8)
		// The descriptors begin in the block after the superblock's.
		if _, err := f.ReadAt(desc, blockSize+group*descSize); err != nil {
			return err
		}
		bitmap := int64(binary.LittleEndian.Uint32(desc[4:]))
		if _, err := f.WriteAt(padding, bitmap*blockSize+int64(perGroup)/8); err != nil {
			return err
		}
	}
	return nil
}
