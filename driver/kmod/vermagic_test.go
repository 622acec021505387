// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// object makes an ELF file of one section.
func object(name string, data []byte) []byte {
	var b bytes.Buffer
	names := "\x00.shstrtab\x00" + name + "\x00"
	put := func(v ...any) {
		for _, x := range v {
			binary.Write(&b, binary.LittleEndian, x)
		}
	}
	dataAt := uint64(64 + 3*64)
	b.WriteString("\x7fELF\x02\x01\x01" + strings.Repeat("\x00", 9))
	put(uint16(1), uint16(62), uint32(1), uint64(0), uint64(0), uint64(64), uint32(0), uint16(64), uint16(0), uint16(0), uint16(64), uint16(3), uint16(1))
	section := func(name, kind uint32, at, size uint64) {
		put(name, kind, uint64(0), uint64(0), at, size, uint32(0), uint32(0), uint64(1), uint64(0))
	}
	section(0, 0, 0, 0)
	section(1, 3, dataAt, uint64(len(names)))
	section(11, 1, dataAt+uint64(len(names)), uint64(len(data)))
	b.WriteString(names)
	b.Write(data)
	return b.Bytes()
}

func TestVermagic(t *testing.T) {
	const magic = "6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions "
	good := object(".modinfo", []byte("license=GPL\x00vermagic="+magic+"\x00name=scap\x00"))
	if got, ok := vermagic(bytes.NewReader(good)); !ok || got != magic {
		t.Errorf("vermagic = %q, %v", got, ok)
	}
	if why, is := foreign(bytes.NewReader(good)); !is || !strings.Contains(why.Text, magic) {
		t.Errorf("a module for 6.1.0-56-cloud-amd64 is at home here: %v", why)
	}
	for name, bad := range map[string][]byte{
		"no vermagic": object(".modinfo", []byte("license=GPL\x00")),
		"no modinfo":  object(".text", []byte("vermagic=x\x00")),
		"no object":   []byte("#!/bin/sh\n"),
		"cut short":   good[:100],
	} {
		if got, ok := vermagic(bytes.NewReader(bad)); ok {
			t.Errorf("%s: vermagic = %q", name, got)
		}
		if _, is := foreign(bytes.NewReader(bad)); is {
			t.Errorf("%s is taken for another kernel's module", name)
		}
	}
}
