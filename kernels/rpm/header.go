// SPDX-License-Identifier: Apache-2.0

package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Bounds of a header. rpm's own are 65,535 tags and 256 MiB; that of a kernel-devel with 20,000 files has 3 MB.
const (
	maxTags       = 1 << 16
	maxHeaderData = 64 << 20
	maxValues     = 1 << 20 // of one tag: files of a package, what it provides
)

// headerMagic begins a header: three bytes, the version 1, and four reserved ones.
var headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0}

// tag names a value of a header. The numbers are those of rpm's rpmtag.h; in the signature header some have another meaning.
type tag int32

const (
	sigDSAHeader tag = 267  // OpenPGP signature of the header by any key that is not RSA
	sigRSAHeader tag = 268  // OpenPGP signature of the header
	sigSHA1      tag = 269  // of the header, hexadecimal
	sigSHA256    tag = 273  // of the header, hexadecimal
	sigPGP       tag = 1002 // OpenPGP signature of header and payload, RSA
	sigMD5       tag = 1004 // of header and payload
	sigGPG       tag = 1005 // OpenPGP signature of header and payload, DSA

	tagName              tag = 1000
	tagVersion           tag = 1001
	tagRelease           tag = 1002
	tagEpoch             tag = 1003
	tagArch              tag = 1022
	tagFileSizes         tag = 1028
	tagFileModes         tag = 1030
	tagFileMTimes        tag = 1034
	tagFileLinkTos       tag = 1036
	tagFileFlags         tag = 1037
	tagSourceRPM         tag = 1044
	tagProvideName       tag = 1047
	tagRequireFlags      tag = 1048
	tagRequireName       tag = 1049
	tagRequireVersion    tag = 1050
	tagFileDevices       tag = 1095
	tagFileInodes        tag = 1096
	tagProvideFlags      tag = 1112
	tagProvideVersion    tag = 1113
	tagDirIndexes        tag = 1116
	tagBaseNames         tag = 1117
	tagDirNames          tag = 1118
	tagPayloadFormat     tag = 1124
	tagPayloadCompressor tag = 1125
	tagLongFileSizes     tag = 5008
	tagPayloadDigest     tag = 5092 // hexadecimal, of the compressed payload
	tagPayloadDigestAlgo tag = 5093
)

// kind is the type of a value.
type kind uint32

const (
	kindInt16       kind = 3
	kindInt32       kind = 4
	kindInt64       kind = 5
	kindString      kind = 6
	kindBinary      kind = 7
	kindStringArray kind = 8
	kindI18NString  kind = 9
	kindLast        kind = 9
)

// header is a tag store. Everything in it is checked to lie within its data when it is read.
type header struct {
	raw    []byte // with its magic, as it is signed
	values map[tag]value
}

type value struct {
	kind  kind
	count int
	data  []byte // from the value's start to the end of all data
}

// readHeader reads a header of r, which has left bytes.
//
// go-rpmutils is not used for this: it allocates what a header claims before looking whether it is there (16 bytes
// suffice for 4 GiB), and indexes by offsets that it does not check.
func readHeader(r io.Reader, left int64) (*header, error) {
	var intro [16]byte
	if _, err := io.ReadFull(r, intro[:]); err != nil {
		return nil, fmt.Errorf("header: %w", cut(err))
	}
	if !bytes.Equal(intro[:8], headerMagic) {
		return nil, fmt.Errorf("header begins with % x", intro[:8])
	}
	tags, size := binary.BigEndian.Uint32(intro[8:]), binary.BigEndian.Uint32(intro[12:])
	if tags == 0 || tags > maxTags || size > maxHeaderData {
		return nil, fmt.Errorf("header with %d tags and %d bytes: %w", tags, size, ErrLimit)
	}
	n := 16*int64(tags) + int64(size)
	if n > left-int64(len(intro)) {
		return nil, fmt.Errorf("header needs %d bytes of %d left: %w", n, left-int64(len(intro)), io.ErrUnexpectedEOF)
	}
	h := &header{raw: make([]byte, int64(len(intro))+n), values: make(map[tag]value, tags)}
	copy(h.raw, intro[:])
	if _, err := io.ReadFull(r, h.raw[len(intro):]); err != nil {
		return nil, fmt.Errorf("header: %w", cut(err))
	}
	index, data := h.raw[16:16+16*tags], h.raw[16+16*tags:]
	for ; len(index) > 0; index = index[16:] {
		t := tag(binary.BigEndian.Uint32(index))
		v, err := newValue(index, data)
		if err != nil {
			return nil, fmt.Errorf("header tag %d: %w", t, err)
		}
		if _, ok := h.values[t]; ok {
			return nil, fmt.Errorf("header tag %d is there twice", t)
		}
		h.values[t] = v
	}
	return h, nil
}

func newValue(index, data []byte) (value, error) {
	v := value{kind: kind(binary.BigEndian.Uint32(index[4:]))}
	offset, count := binary.BigEndian.Uint32(index[8:]), binary.BigEndian.Uint32(index[12:])
	if v.kind > kindLast {
		return v, fmt.Errorf("has type %d", v.kind)
	}
	if int64(offset) > int64(len(data)) {
		return v, fmt.Errorf("starts %d bytes into %d", offset, len(data))
	}
	v.data = data[offset:]
	// A value of any type has a byte at least; strings are looked at when they are asked for.
	if width := max(1, v.width()); int64(count)*int64(width) > int64(len(v.data)) {
		return v, fmt.Errorf("has %d values in %d bytes", count, len(v.data))
	}
	v.count = int(count)
	return v, nil
}

// width is the size in bytes of one number of v; 0 for what is no number here.
func (v value) width() int {
	switch v.kind {
	case kindInt16:
		return 2
	case kindInt32:
		return 4
	case kindInt64:
		return 8
	}
	return 0
}

// cut names the end of a file in the middle of something.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// strings returns the strings of t; none where the header has no t.
func (h *header) strings(t tag) ([]string, error) {
	v, ok := h.values[t]
	if !ok {
		return nil, nil
	}
	if v.kind != kindString && v.kind != kindStringArray && v.kind != kindI18NString {
		return nil, fmt.Errorf("header tag %d has type %d, not a string's", t, v.kind)
	}
	if v.count > maxValues {
		return nil, fmt.Errorf("header tag %d has %d strings: %w", t, v.count, ErrLimit)
	}
	out := make([]string, 0, v.count)
	for data := v.data; len(out) < v.count; {
		n := bytes.IndexByte(data, 0)
		if n < 0 {
			return nil, fmt.Errorf("header tag %d: string %d of %d does not end", t, len(out)+1, v.count)
		}
		out = append(out, string(data[:n]))
		data = data[n+1:]
	}
	return out, nil
}

// string returns the first string of t; empty where there is none.
func (h *header) string(t tag) (string, error) {
	all, err := h.strings(t)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

// numbers returns the numbers of t; none where the header has no t.
func (h *header) numbers(t tag) ([]uint64, error) {
	v, ok := h.values[t]
	if !ok {
		return nil, nil
	}
	if v.count > maxValues {
		return nil, fmt.Errorf("header tag %d has %d numbers: %w", t, v.count, ErrLimit)
	}
	out := make([]uint64, v.count)
	for i := range out {
		switch v.kind {
		case kindInt16:
			out[i] = uint64(binary.BigEndian.Uint16(v.data[2*i:]))
		case kindInt32:
			out[i] = uint64(binary.BigEndian.Uint32(v.data[4*i:]))
		case kindInt64:
			out[i] = binary.BigEndian.Uint64(v.data[8*i:])
		default:
			return nil, fmt.Errorf("header tag %d has type %d, not a number's", t, v.kind)
		}
	}
	return out, nil
}

// binary returns the bytes of t; nil where the header has no t.
func (h *header) binary(t tag) ([]byte, error) {
	v, ok := h.values[t]
	if !ok {
		return nil, nil
	}
	if v.kind != kindBinary {
		return nil, fmt.Errorf("header tag %d has type %d, not that of bytes", t, v.kind)
	}
	return v.data[:v.count], nil
}
