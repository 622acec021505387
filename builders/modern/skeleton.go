// SPDX-License-Identifier: Apache-2.0

package modern

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
)

// elfMagic is how bpftool writes the beginning of an object: each byte as an escape, in a string of many lines. A zero is \0.
const elfMagic = `\x7f\x45\x4c\x46`

// embedded returns the object that a skeleton holds.
func embedded(skeleton []byte) ([]byte, error) {
	at := bytes.Index(skeleton, []byte(elfMagic))
	if at < 0 {
		return nil, errors.New("it holds no object")
	}
	text := skeleton[at:]
	var out []byte
	for len(text) > 0 && text[0] != '"' {
		switch {
		case bytes.HasPrefix(text, []byte("\\\n")):
			text = text[2:]
		case bytes.HasPrefix(text, []byte(`\0`)):
			out, text = append(out, 0), text[2:]
		case len(text) >= 4 && text[0] == '\\' && text[1] == 'x':
			var one [1]byte
			if _, err := hex.Decode(one[:], text[2:4]); err != nil {
				return nil, fmt.Errorf("byte %d of its object: %w", len(out), err)
			}
			out, text = append(out, one[0]), text[4:]
		default:
			return nil, fmt.Errorf("byte %d of its object is written as %q", len(out), text[:min(4, len(text))])
		}
	}
	if len(text) == 0 {
		return nil, errors.New("its object has no end")
	}
	return out, nil
}
