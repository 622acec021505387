// SPDX-License-Identifier: Apache-2.0

package facts

import (
	"bytes"
	"debug/elf"
	"slices"
	"strings"

	"github.com/mews-farm/mews/kernels"
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
	c, ok := kernels.ParseCompiler(text)
	if !ok {
		return "", ""
	}
	return c.Family, c.Version
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
