// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/results/cause"
)

// What a boot image can be refused for, all under PACKAGE_CORRUPT.
var (
	ErrFormat      = errors.New("is no kernel image of a kind known here")
	ErrTruncated   = errors.New("ends before its parts do")
	ErrCompression = errors.New("is compressed in a way that is not known here")
	ErrLimit       = decompress.ErrLimit // decompresses to more than a kernel can have
)

// The kinds of boot images, as in Vmlinux.Format.
const (
	FormatBzImage = "bzImage" // x86: setup code, a decompressor and the compressed vmlinux
	FormatImage   = "Image"   // arm64: the kernel as it lies in memory, without ELF headers
	FormatZboot   = "zboot"   // arm64: a compressed Image in an EFI program, CONFIG_EFI_ZBOOT
	FormatELF     = "vmlinux" // the linker's output itself, as COS publishes it
)

const (
	// maxImage bounds a boot image, which is held in memory; the largest of Debian's, arm64's uncompressed, has 38 MB.
	maxImage = 512 << 20
	// maxKernel bounds what a boot image decompresses to; Debian's have 45 to 62 MB.
	maxKernel = 512 << 20
)

// Vmlinux is a kernel out of its boot image.
type Vmlinux struct {
	Format      string // one of the Format constants
	Compression string // none, gzip, xz, lzma, bzip2, lz4, zstd
	Arch        string // x86_64, aarch64, or the name debug/elf gives another machine
	Size        int64  // bytes, decompressed

	r   io.ReaderAt
	elf *elf.File // nil: the raw Image of arm64, all of which raw holds
	raw []byte
}

// Open finds the kernel in a boot image of size bytes: a bzImage, an arm64 Image, bare, in gzip or as EFI zboot,
// or a vmlinux. r must stay open for as long as the Vmlinux is used.
func Open(r io.ReaderAt, size int64) (*Vmlinux, error) {
	v, err := open(r, size, maxKernel)
	if err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "the boot image %w", err)
	}
	return v, nil
}

// Reader reads the kernel: an ELF file, or the raw Image of arm64, as IsELF says.
func (v *Vmlinux) Reader() *io.SectionReader { return io.NewSectionReader(v.r, 0, v.Size) }

// IsELF tells a vmlinux from a raw Image.
func (v *Vmlinux) IsELF() bool { return v.elf != nil }

// head is what is read to tell the formats apart: to the end of payload_length in the setup header of x86.
const head = 0x250

func open(r io.ReaderAt, size, limit int64) (*Vmlinux, error) {
	h := make([]byte, min(size, head))
	if _, err := r.ReadAt(h, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	if bytes.HasPrefix(h, []byte(elf.ELFMAG)) {
		// Not read whole: a vmlinux with debug information has a gigabyte.
		return openELF(r, size, FormatELF, "none")
	}
	if size > maxImage {
		return nil, fmt.Errorf("has %d bytes: %w", size, ErrLimit)
	}
	whole := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), whole); err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	switch {
	case isBzImage(h):
		return openBzImage(whole, limit)
	case isZboot(h):
		return openZboot(whole, limit)
	case isImage(h):
		return openRaw(whole, FormatImage, "none")
	}
	// Debian 11's and Ubuntu's arm64: `gzip < Image > vmlinuz`.
	if c := sniff(h); c != nil {
		kernel, err := c.expand(whole, limit)
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(kernel, []byte(elf.ELFMAG)) {
			return openELF(bytes.NewReader(kernel), int64(len(kernel)), FormatELF, c.name)
		}
		return openRaw(kernel, FormatImage, c.name)
	}
	return nil, fmt.Errorf("%w: it starts with % x", ErrFormat, h[:min(len(h), 8)])
}

// The boot protocol, Documentation/arch/x86/boot.rst: "HdrS" at 0x202, and from 2.08 on payload_offset and
// payload_length, which count from the protected-mode code that follows setup_sects + 1 sectors.
func isBzImage(h []byte) bool { return len(h) >= 0x206 && string(h[0x202:0x206]) == "HdrS" }

func openBzImage(image []byte, limit int64) (*Vmlinux, error) {
	if len(image) < head {
		return nil, fmt.Errorf("%w: a setup header cut off at %d bytes", ErrTruncated, len(image))
	}
	if version := binary.LittleEndian.Uint16(image[0x206:]); version < 0x208 {
		return nil, fmt.Errorf("%w: boot protocol %d.%02d does not tell where the kernel is; 2.08 (Linux 2.6.26) is needed",
			ErrFormat, version>>8, version&0xff)
	}
	sectors := int64(image[0x1f1])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors+1)*512 + int64(binary.LittleEndian.Uint32(image[0x248:]))
	payload, err := slice(image, start, int64(binary.LittleEndian.Uint32(image[0x24c:])))
	if err != nil {
		return nil, err
	}
	kernel, compression, err := expandSized(payload, limit)
	if err != nil {
		return nil, err
	}
	return openELF(bytes.NewReader(kernel), int64(len(kernel)), FormatBzImage, compression)
}

// drivers/firmware/efi/libstub/zboot-header.S: "MZ", "zimg" at 4, then the payload's offset and size, and at 24
// the name of its compression.
func isZboot(h []byte) bool {
	return len(h) >= 0x40 && h[0] == 'M' && h[1] == 'Z' && string(h[4:8]) == "zimg"
}

func openZboot(image []byte, limit int64) (*Vmlinux, error) {
	payload, err := slice(image, int64(binary.LittleEndian.Uint32(image[8:])), int64(binary.LittleEndian.Uint32(image[12:])))
	if err != nil {
		return nil, err
	}
	name, _, _ := bytes.Cut(image[24:0x38], []byte{0})
	c := sniff(payload)
	if c == nil {
		return nil, fmt.Errorf("%w: its header says %q", ErrCompression, name)
	}
	kernel, err := c.expand(payload, limit)
	if err != nil {
		return nil, err
	}
	return openRaw(kernel, FormatZboot, c.name)
}

// Documentation/arch/arm64/booting.rst: "ARM\x64" at 56.
func isImage(h []byte) bool { return len(h) >= 0x40 && string(h[0x38:0x3c]) == "ARMd" }

func openRaw(kernel []byte, format, compression string) (*Vmlinux, error) {
	if !isImage(kernel) {
		return nil, fmt.Errorf("%w: what it decompresses to is neither ELF nor an arm64 Image", ErrFormat)
	}
	return &Vmlinux{
		Format: format, Compression: compression, Arch: "aarch64", Size: int64(len(kernel)),
		r: bytes.NewReader(kernel), raw: kernel,
	}, nil
}

func openELF(r io.ReaderAt, size int64, format, compression string) (*Vmlinux, error) {
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fmt.Errorf("%w: its vmlinux: %w", ErrFormat, err)
	}
	v := &Vmlinux{Format: format, Compression: compression, Size: size, r: r, elf: f}
	switch f.Machine {
	case elf.EM_X86_64:
		v.Arch = "x86_64"
	case elf.EM_AARCH64:
		v.Arch = "aarch64"
	default:
		v.Arch = f.Machine.String()
	}
	return v, nil
}

// slice is b[off:off+n], checked.
func slice(b []byte, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off+n > int64(len(b)) {
		return nil, fmt.Errorf("%w: its payload is at %d to %d of %d bytes", ErrTruncated, off, off+n, len(b))
	}
	return b[off : off+n], nil
}
