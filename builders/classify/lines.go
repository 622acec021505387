// SPDX-License-Identifier: Apache-2.0

package classify

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/mews-farm/mews/results/cause"
)

const (
	maxLine   = 32 << 10 // bytes of a line that are looked at, from its beginning
	tailLines = 5        // non-empty last lines kept as evidence where no better is known
)

// plain turns gcc's UTF-8 quotes into those that it prints in the C locale.
var plain = strings.NewReplacer("‘", "'", "’", "'", "`", "'")

// eachLine calls fn for every line, valid UTF-8 and at most maxLine long, and returns the last ones.
// A log of any size takes the room of one line.
func eachLine(r io.Reader, fn func(n int, text string)) (tail []cause.Evidence, err error) {
	br := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		b, err := br.ReadSlice('\n')
		text := strings.ToValidUTF8(strings.TrimRight(string(b), "\r\n"), "\uFFFD")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = br.ReadSlice('\n')
		}
		if text != "" {
			fn(n, text)
			if len(tail) == tailLines {
				tail = append(tail[:0], tail[1:]...)
			}
			tail = append(tail, cause.Evidence{Line: n, Text: around(text, 0)})
		}
		if errors.Is(err, io.EOF) {
			return tail, nil
		}
		if err != nil {
			return tail, err
		}
	}
}
