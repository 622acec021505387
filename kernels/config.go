// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Config is a kernel's configuration.
type Config struct {
	values map[string]string // without CONFIG_, values unquoted
}

// maxConfig bounds a configuration; Debian's have 140 to 280 KB.
const maxConfig = 16 << 20

// ParseConfig reads a config-<release> file. Lines that are no assignment are comments.
func ParseConfig(r io.Reader) (*Config, error) {
	c := &Config{values: map[string]string{}}
	in := bufio.NewScanner(io.LimitReader(r, maxConfig))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		assignment, ok := strings.CutPrefix(in.Text(), "CONFIG_")
		if !ok {
			continue
		}
		symbol, value, ok := strings.Cut(assignment, "=")
		if !ok {
			continue
		}
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

// IsBuiltin reports whether symbol is y.
func (c *Config) IsBuiltin(symbol string) bool { return c.Get(symbol) == "y" }

// IsModule reports whether symbol is m.
func (c *Config) IsModule(symbol string) bool { return c.Get(symbol) == "m" }

// Compiler is what CONFIG_CC_VERSION_TEXT tells.
type Compiler struct {
	Family  string // gcc or clang
	Major   int
	Version string // 12.2.0
	Command string // by which Debian's packages name it: gcc-12, clang-19
	Text    string // CONFIG_CC_VERSION_TEXT whole
}

var (
	// Debian: gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0.
	// Amazon: gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1). So: the first version outside of parentheses.
	compilerVersion = regexp.MustCompile(`^(\d+)(\.\d+)+$`)
	clangVersion    = regexp.MustCompile(`clang version (\d+)((?:\.\d+)+)`)
	parentheses     = regexp.MustCompile(`\([^()]*\)`)
)

// Compiler says which compiler built the kernel. A text that names none is TOOLCHAIN_MISMATCH: guessing would
// build with a compiler that the kernel was not built with.
func (c *Config) Compiler() (Compiler, error) {
	text := c.Get("CC_VERSION_TEXT")
	if m := clangVersion.FindStringSubmatch(text); m != nil {
		return newCompiler("clang", m[1], m[1]+m[2], text)
	}
	if command, rest, _ := strings.Cut(text, " "); strings.Contains(command, "gcc") {
		for word := range strings.FieldsSeq(parentheses.ReplaceAllString(rest, " ")) {
			if m := compilerVersion.FindStringSubmatch(word); m != nil {
				return newCompiler("gcc", m[1], word, text)
			}
		}
	}
	return Compiler{}, noCompiler(text)
}

func newCompiler(family, major, version, text string) (Compiler, error) {
	n, err := strconv.Atoi(major)
	if err != nil {
		return Compiler{}, noCompiler(text)
	}
	return Compiler{Family: family, Major: n, Version: version, Command: family + "-" + major, Text: text}, nil
}

func noCompiler(text string) error {
	return cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "CONFIG_CC_VERSION_TEXT=%q names no compiler known here", text)
}
