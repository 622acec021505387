// SPDX-License-Identifier: Apache-2.0

// Package fence knows how to prove that a consumer has seen everything up to now: it makes an event that every
// watch must report, and waits for the reports. Silence before a fence that was reported is real silence.
package fence

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mews-farm/mews/driver/consumer"
)

// field is where a fence shows.
const field = "fd.name"

// Fence makes events below one directory, which nobody else opens files in.
type Fence struct{ dir string }

// In makes the directory, if need be, and a fence in it.
func In(dir string) (*Fence, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &Fence{dir: filepath.Clean(dir)}, nil
}

// Guard is w so that it reports fences beside what it is about.
func (f *Fence) Guard(w consumer.Watch) consumer.Watch {
	w.Condition = "(" + w.Condition + ") or (evt.type in (open, openat) and fd.name startswith " + f.dir + "/)"
	if !slices.Contains(w.Fields, field) {
		w.Fields = append(slices.Clone(w.Fields), field)
	}
	return w
}

// NewToken makes the name of a fence that was never made before.
func NewToken() string {
	b := make([]byte, 8)
	rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// Make makes the event: it opens a new file, and removes it.
func (f *Fence) Make(token string) error {
	path := filepath.Join(f.dir, token)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		file.Close()
		return err
	}
	return file.Close()
}

// Token is the token of the fence that m reports. ok is false if m is about something else.
func (f *Fence) Token(m consumer.Match) (token string, ok bool) {
	return strings.CutPrefix(m.Fields[field], f.dir+"/")
}
