// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

// Compiler is the one that a kernel was built with.
type Compiler struct {
	Family  string // gcc or clang
	Major   int
	Version string // 12.2.0
	Command string // by which Debian's packages name it: gcc-12, clang-19
	Text    string // what told it, whole: CONFIG_CC_VERSION_TEXT as a rule
}

var (
	// Debian: gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0, x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0.
	// Amazon: gcc10-gcc (GCC) 10.3.1 20210422 (Red Hat 10.3.1-1). So: the first version outside of parentheses.
	compilerVersion = regexp.MustCompile(`^(\d+)(\.\d+)+$`)
	clangVersion    = regexp.MustCompile(`clang version (\d+)((?:\.\d+)+)`)
	parentheses     = regexp.MustCompile(`\([^()]*\)`)
)

// Compiler says which compiler built the kernel: by CONFIG_CC_VERSION_TEXT, else, since that is there only from 4.19 on and may
// name nothing known, by CONFIG_CLANG_VERSION and CONFIG_GCC_VERSION, else by the compile.h of its headers. Where none of
// them names one it is TOOLCHAIN_MISMATCH: guessing would build with a compiler that the kernel was not built with.
func (c *Config) Compiler() (Compiler, error) {
	for _, text := range []string{c.Get("CC_VERSION_TEXT"), c.compilerNumbers(), c.compileH} {
		if found, ok := ParseCompiler(text); ok {
			return found, nil
		}
	}
	return Compiler{}, cause.Errorf(cause.ToolchainMismatch, cause.FaultToolchain, "CONFIG_CC_VERSION_TEXT=%q names no compiler known here, and neither do its numbers and compile.h",
		c.Get("CC_VERSION_TEXT"))
}

// ParseCompiler reads CONFIG_CC_VERSION_TEXT, or LINUX_COMPILER of compile.h and of a kernel's banner, where the linker's
// name follows; false when it names no compiler known here.
func ParseCompiler(text string) (Compiler, bool) {
	tool := beforeLinker(text)
	if m := clangVersion.FindStringSubmatch(tool); m != nil {
		return newCompiler("clang", m[1], m[1]+m[2], text)
	}
	if command, rest, _ := strings.Cut(tool, " "); strings.Contains(command, "gcc") {
		for word := range strings.FieldsSeq(parentheses.ReplaceAllString(rest, " ")) {
			if m := compilerVersion.FindStringSubmatch(word); m != nil {
				return newCompiler("gcc", m[1], word, text)
			}
		}
	}
	return Compiler{}, false
}

func newCompiler(family, major, version, text string) (Compiler, bool) {
	n, err := strconv.Atoi(major)
	if err != nil {
		return Compiler{}, false
	}
	return Compiler{Family: family, Major: n, Version: version, Command: family + "-" + major, Text: text}, true
}

// compilerNumbers writes what Kconfig counts the versions as (120200 is 12.2.0) as a text. clang was taken for gcc 4.2.1
// up to 5.11: its number counts first.
func (c *Config) compilerNumbers() string {
	for _, n := range []struct{ symbol, text string }{{"CLANG_VERSION", "clang version"}, {"GCC_VERSION", "gcc"}} {
		v, err := strconv.Atoi(c.Get(n.symbol))
		if err != nil || v < 10000 || n.symbol == "GCC_VERSION" && c.IsBuiltin("CC_IS_CLANG") {
			continue
		}
		return fmt.Sprintf("%s %d.%d.%d (CONFIG_%s=%d)", n.text, v/10000, v/100%100, v%100, n.symbol, v)
	}
	return ""
}

// beforeLinker cuts the linker off LINUX_COMPILER: what follows the first comma outside of parentheses.
func beforeLinker(text string) string {
	depth := 0
	for i, c := range text {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				return text[:i]
			}
		}
	}
	return text
}

// CompileH returns LINUX_COMPILER of the compile.h in a tree of headers, or "" where there is none: Debian's, Ubuntu's and
// COS's headers lie in the first of the folders, those of the RPM family in the second.
func CompileH(headers, release string) (string, error) {
	for _, dir := range []string{"usr/src/linux-headers-" + release, "usr/src/kernels/" + release} {
		path := filepath.Join(headers, dir, "include/generated/compile.h")
		if fi, err := os.Lstat(path); err != nil || !fi.Mode().IsRegular() {
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "read compile.h: %w", err)
		}
		defer f.Close()
		return defined(f, "LINUX_COMPILER"), nil
	}
	return "", nil
}

// defined returns the string that a header defines name as, or "".
func defined(r io.Reader, name string) string {
	in := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for in.Scan() {
		directive, rest, _ := strings.Cut(in.Text(), " ")
		if f := strings.Fields(rest); directive != "#define" || len(f) == 0 || f[0] != name {
			continue
		}
		if s, err := strconv.Unquote(strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), name))); err == nil {
			return s
		}
	}
	return ""
}
