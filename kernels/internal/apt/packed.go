// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/mews-farm/mews/kernels/archive"
)

// The fields that are kept of a paragraph. Packed they are lines, in this order, each field's value one.
const (
	fieldName = iota
	fieldVersion
	fieldArch
	fieldFilename
	fieldSum
	fieldDepends
	fieldPreDepends
	fieldProvides
	fieldPriority
	fieldSize
	fields
)

var fieldOf = map[string]int{
	"Package": fieldName, "Version": fieldVersion, "Architecture": fieldArch, "Filename": fieldFilename, "SHA256": fieldSum,
	"Depends": fieldDepends, "Pre-Depends": fieldPreDepends, "Provides": fieldProvides, "Priority": fieldPriority, "Size": fieldSize,
}

// priorities, the most important first.
var priorities = []string{"required", "important", "standard", "optional", "extra"}

// paragraph is one that is being read. Its memory serves the next too.
type paragraph [fields][]byte

func (p *paragraph) clear() {
	for i := range p {
		p[i] = p[i][:0]
	}
}

func (p *paragraph) set(line []byte) {
	key, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || line[0] == ' ' || line[0] == '\t' {
		return // a continuation: none of the fields kept has any in Packages
	}
	if i, ok := fieldOf[string(key)]; ok {
		p[i] = append(p[i][:0], bytes.TrimSpace(value)...)
	}
}

// blockSize is what text is allocated by: grown instead, it would be held twice whenever it moves.
const blockSize = 1 << 20

// pack returns the lines of p, in memory that they share with other paragraphs'.
func (x *Index) pack(p *paragraph) string {
	size := len(p)
	for _, value := range p {
		size += len(value)
	}
	if x.block.Cap()-x.block.Len() < size {
		x.block = &strings.Builder{}
		x.block.Grow(max(size, blockSize))
	}
	from := x.block.Len()
	for _, value := range p {
		x.block.Write(value)
		x.block.WriteByte('\n')
	}
	return x.block.String()[from:]
}

// nameOf is the name of a packed paragraph.
func nameOf(packed string) string {
	name, _, _ := strings.Cut(packed, "\n")
	return name
}

// unpack reads a packed paragraph.
func (r *Record) unpack(packed string) error {
	var p [fields]string
	for i := range p {
		p[i], packed, _ = strings.Cut(packed, "\n")
	}
	r.Name, r.Version, r.Depends, r.PreDepends = p[fieldName], p[fieldVersion], p[fieldDepends], p[fieldPreDepends]
	r.arch, r.filename, r.digest, r.provides = p[fieldArch], p[fieldFilename], archive.Digest(p[fieldSum]), p[fieldProvides]
	if text := p[fieldPriority]; text != "" {
		if r.rank = slices.Index(priorities, text); r.rank < 0 {
			r.rank = len(priorities)
		}
	}
	if text := p[fieldSize]; text != "" {
		n, err := strconv.ParseUint(text, 10, 50)
		if err != nil {
			return fmt.Errorf("size: %w", err)
		}
		r.size = int64(n)
	}
	return nil
}
