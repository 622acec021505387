// SPDX-License-Identifier: Apache-2.0

package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Symvers is what a kernel exports to modules: the CRC of each symbol's type, 0 where it has none.
type Symvers map[string]uint32

// maxSymvers bounds a Module.symvers, in bytes; Debian's have 0.8 to 1.4 MB.
const maxSymvers = 64 << 20

// Symbols reads the Module.symvers of a kernel's headers. It is empty when the headers hold none, or there are no headers.
func Symbols(f *kernels.Files) (Symvers, error) {
	if f.Headers == "" || f.HeaderDir == "" {
		return nil, nil
	}
	unreadable := func(err error) error {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "headers of %s: Module.symvers: %w", f.Kernel.Release, err)
	}
	// The headers' links are a package's: an os.Root follows none that leads out of them.
	in, err := os.OpenRoot(f.Headers)
	if err != nil {
		return nil, unreadable(err)
	}
	defer in.Close()
	file, err := in.Open(path.Join(strings.TrimPrefix(f.HeaderDir, "/"), "Module.symvers"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	defer file.Close()
	limited := &io.LimitedReader{R: file, N: maxSymvers}
	s, err := ParseSymvers(limited)
	if err != nil {
		return nil, unreadable(err)
	}
	if limited.N == 0 { // what lies behind would seem not to be exported
		return nil, unreadable(fmt.Errorf("larger than %d bytes", maxSymvers))
	}
	return s, nil
}

// ParseSymvers reads a Module.symvers: lines of CRC, symbol, module, kind of export and, since 5.4, name space, with tabs
// between (scripts/mod/modpost.c, write_dump). Only the first two have stayed in their places, and only they are read.
func ParseSymvers(r io.Reader) (Symvers, error) {
	out := Symvers{}
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		if in.Text() == "" {
			continue
		}
		hex, rest, _ := strings.Cut(in.Text(), "\t")
		symbol, _, ok := strings.Cut(rest, "\t")
		digits, prefixed := strings.CutPrefix(hex, "0x")
		crc, err := strconv.ParseUint(digits, 16, 32)
		if err != nil || !prefixed || !ok || !isSymbol(symbol) {
			return nil, fmt.Errorf("line %d: %.100q is not a CRC, a symbol and its module", n, in.Text())
		}
		if _, twice := out[symbol]; !twice {
			out[symbol] = uint32(crc)
		}
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// versioned reports whether any symbol has a CRC: without CONFIG_MODVERSIONS all are 0.
func (s Symvers) versioned() bool {
	for _, crc := range s {
		if crc != 0 {
			return true
		}
	}
	return false
}
