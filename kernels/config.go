// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"io"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Config is a kernel's configuration.
type Config struct {
	values   map[string]string // without CONFIG_, values unquoted
	lines    map[string]line   // what the file says of each symbol, also that it is not set
	file     string            // its name; "" where it is not known
	compileH string            // LINUX_COMPILER of the headers' compile.h; "" where there is none
}

// line is a line of the file.
type line struct {
	number int
	text   string
}

// maxConfig bounds a configuration; Debian's have 140 to 280 KB.
const maxConfig = 16 << 20

// ParseConfig reads a config-<release> file. Lines that are no assignment are comments.
func ParseConfig(r io.Reader) (*Config, error) {
	c := &Config{values: map[string]string{}, lines: map[string]line{}}
	in := bufio.NewScanner(io.LimitReader(r, maxConfig))
	in.Buffer(nil, 1<<20)
	for n := 1; in.Scan(); n++ {
		if symbol, ok := strings.CutPrefix(in.Text(), "# CONFIG_"); ok {
			if symbol, ok = strings.CutSuffix(symbol, " is not set"); ok {
				c.lines[symbol] = line{n, in.Text()}
			}
		}
		assignment, ok := strings.CutPrefix(in.Text(), "CONFIG_")
		if !ok {
			continue
		}
		symbol, value, ok := strings.Cut(assignment, "=")
		if !ok {
			continue
		}
		c.lines[symbol] = line{n, in.Text()}
		if strings.HasPrefix(value, `"`) {
			if s, err := strconv.Unquote(value); err == nil {
				value = s
			}
		}
		c.values[symbol] = value
	}
	if err := in.Err(); err != nil {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read kernel config: %w", err)
	}
	if len(c.values) == 0 {
		return nil, cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "kernel config sets nothing")
	}
	return c, nil
}

// Get returns the value of a symbol, with or without its CONFIG_ prefix: "y", "m", a number, or a string
// without its quotes; "" when it is not set.
func (c *Config) Get(symbol string) string { return c.values[strings.TrimPrefix(symbol, "CONFIG_")] }

// Line is what the file says of a symbol, with or without its CONFIG_ prefix.
func (c *Config) Line(symbol string) cause.Evidence {
	symbol = strings.TrimPrefix(symbol, "CONFIG_")
	l, ok := c.lines[symbol]
	if !ok {
		l.text = "there is no CONFIG_" + symbol
	}
	file := c.file
	if file == "" {
		file = ".config"
	}
	return cause.Evidence{File: file, Line: l.number, Text: l.text}
}

// IsBuiltin reports whether symbol is y.
func (c *Config) IsBuiltin(symbol string) bool { return c.Get(symbol) == "y" }

// IsModule reports whether symbol is m.
func (c *Config) IsModule(symbol string) bool { return c.Get(symbol) == "m" }
