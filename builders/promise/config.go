// SPDX-License-Identifier: Apache-2.0

package promise

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxConfig bounds a configuration, in bytes; Debian's have 140 to 280 KB.
const maxConfig = 16 << 20

// promised matches what Kconfig found out about the tools by trying them, not which tools they were.
var promised = regexp.MustCompile(`^(?:CC_HAS|AS|LD)_[A-Z0-9_]+$`)

// config is what a .config sets to y.
type config struct {
	lines    map[string]int // of each symbol, counted from 1
	promises []string       // in the file's order
}

func readConfig(r io.Reader) (*config, error) {
	c := &config{lines: map[string]int{}}
	in := bufio.NewScanner(io.LimitReader(r, maxConfig))
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		symbol, ok := strings.CutPrefix(strings.TrimSuffix(in.Text(), "=y"), "CONFIG_")
		if !ok || !strings.HasSuffix(in.Text(), "=y") || c.lines[symbol] > 0 {
			continue
		}
		c.lines[symbol] = n
		if promised.MatchString(symbol) && !strings.HasPrefix(symbol, "AS_IS_") && !strings.HasPrefix(symbol, "LD_IS_") {
			c.promises = append(c.promises, symbol)
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read .config: %w", err)
	}
	return c, nil
}

// trials are those of the promises that can be tried, and the promises that are left.
func (c *config) trials() (try []trial, untried []string) {
	known := map[string]trial{}
	for _, t := range table {
		known[t.Symbol] = t
	}
	for _, symbol := range c.promises {
		if t, ok := known[symbol]; ok {
			try = append(try, t)
		} else {
			untried = append(untried, symbol)
		}
	}
	return try, untried
}

// uses reports whether a module of this configuration relies on what t tries.
func (c *config) uses(t trial) bool {
	if t.KernelOnly {
		return false
	}
	for _, symbol := range t.Uses {
		if c.lines[symbol] > 0 {
			return true
		}
	}
	return len(t.Uses) == 0
}
