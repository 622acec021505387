// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bufio"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

// Compilers is what the artifacts of a kernel say of the compiler that built it.
type Compilers struct {
	Family  string     `json:"family,omitempty"`  // gcc or clang; of the first of Claims that names one
	Version string     `json:"version,omitempty"` // likewise
	Agree   bool       `json:"agree"`             // every claim names the same family and version
	Claims  []Compiled `json:"claims"`            // the most trusted first
}

// Compiled is one such claim.
type Compiled struct {
	From    string `json:"from"`              // config, compile.h, banner, .comment, .comment of MODULE
	Text    string `json:"text"`              // as it stands there
	Family  string `json:"family,omitempty"`  // empty where the text names no compiler known here
	Version string `json:"version,omitempty"` // likewise
}

func (c *Compilers) claim(from, text string) {
	if text == "" {
		return
	}
	n := Compiled{From: from, Text: text}
	n.Family, n.Version = parseCompiler(text)
	c.Claims = append(c.Claims, n)
}

// comment takes the first of the strings of a .comment section that names a compiler: assembler, linker and
// LTO leave theirs beside it.
func (c *Compilers) comment(from string, strings []string) {
	for _, s := range strings {
		if family, _ := parseCompiler(s); family != "" {
			c.claim(from, s)
			return
		}
	}
}

// settle weighs the claims.
func (c *Compilers) settle() {
	named := slices.DeleteFunc(slices.Clone(c.Claims), func(n Compiled) bool { return n.Family == "" })
	if len(named) == 0 {
		return
	}
	c.Family, c.Version = named[0].Family, named[0].Version
	c.Agree = !slices.ContainsFunc(named, func(n Compiled) bool {
		return n.Family != c.Family || n.Version != c.Version
	})
}

// parseCompiler reads CC_VERSION_TEXT, LINUX_COMPILER ("gcc-12 (...) 12.2.0, GNU ld (...) 2.40") and .comment
// ("GCC: (Debian 12.2.0-14) 12.2.0").
func parseCompiler(text string) (family, version string) {
	if gcc, ok := strings.CutPrefix(text, "GCC: "); ok {
		text = "gcc " + gcc
	}
	text = beforeLinker(text)
	// What a compiler's text looks like is the knowledge of kernels.Config.
	c, err := kernels.ParseConfig(strings.NewReader("CONFIG_CC_VERSION_TEXT=" + strconv.Quote(text)))
	if err != nil {
		return "", ""
	}
	compiler, err := c.Compiler()
	if err != nil {
		return "", ""
	}
	return compiler.Family, compiler.Version
}

// beforeLinker cuts the linker off: what follows the first comma outside of parentheses.
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

// compileH returns LINUX_COMPILER of the headers' compile.h, or "" where there is none: Debian's, Ubuntu's and COS's headers
// lie in the first of the folders, those of the RPM family in the second.
func compileH(headers, release string) (string, error) {
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

// moduleFacts are those that any module of a kernel tells.
type moduleFacts struct {
	comments []string
	btf      bool
}

func readModule(module []byte) (moduleFacts, error) {
	f, err := elf.NewFile(bytes.NewReader(module))
	if err != nil {
		return moduleFacts{}, corrupt(err)
	}
	v := &Vmlinux{elf: f}
	comments, err := v.comments()
	return moduleFacts{comments: comments, btf: f.Section(".BTF") != nil}, err
}
