// SPDX-License-Identifier: Apache-2.0

package kmod

import (
	"bytes"
	"debug/elf"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

// foreign says whether a module was built for another release than the one that runs. The kernel itself may not
// say so: with CONFIG_MODVERSIONS it leaves the release out of its comparison of version magics, and complains
// of checksums, or since 6.4 of the size of struct module, before it gets there.
func foreign(image io.ReaderAt) (cause.Evidence, bool) {
	magic, ok := vermagic(image)
	if !ok {
		return cause.Evidence{}, false
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return cause.Evidence{}, false
	}
	built, _, _ := strings.Cut(magic, " ")
	running := unix.ByteSliceToString(u.Release[:])
	return cause.Evidence{Text: "the module's version magic is " + magic + "; the running kernel is " + running}, built != running
}

// vermagic is the version magic in a module's .modinfo section, which is a list of NUL-terminated key=value.
func vermagic(image io.ReaderAt) (string, bool) {
	f, err := elf.NewFile(image)
	if err != nil {
		return "", false
	}
	section := f.Section(".modinfo")
	if section == nil {
		return "", false
	}
	data, err := section.Data()
	if err != nil {
		return "", false
	}
	for entry := range bytes.SplitSeq(data, []byte{0}) {
		if v, ok := bytes.CutPrefix(entry, []byte("vermagic=")); ok {
			return string(v), true
		}
	}
	return "", false
}
