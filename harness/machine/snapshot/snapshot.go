// SPDX-License-Identifier: Apache-2.0

// Package snapshot knows how a machine that was saved is kept in a directory, and how one is told that is whole.
package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/internal/sparse"
)

// The files of a directory, beside [machine.ConsoleLog], which is what the kernel said until then.
const (
	memoryFile = "memory"
	stateFile  = "state"
	labelFile  = "snapshot.json"
)

// Label says what a snapshot is.
type Label struct {
	Key   string        `json:"key"`
	Taken time.Time     `json:"taken"`
	Boot  time.Duration `json:"boot_ns"` // from the start of its kernel

	Memory part `json:"memory"`
	State  part `json:"state"`
}

// part is a file as it must be.
type part struct {
	Size int64  `json:"size"`
	Sum  uint32 `json:"sum"`
}

// ErrTorn is of a directory that does not hold what was kept there.
var ErrTorn = errors.New("the snapshot is torn")

// Keep writes s into an empty directory. Of its label, key and parts are filled in.
func Keep(dir string, s *machine.Snapshot, label Label, console []byte) error {
	label.Key = s.Key
	for name, p := range map[string]struct {
		from *os.File
		part *part
	}{memoryFile: {s.Memory, &label.Memory}, stateFile: {s.State, &label.State}} {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		if err != nil {
			return err
		}
		p.part.Sum, err = sparse.Copy(f, p.from)
		if fi, serr := f.Stat(); serr == nil {
			p.part.Size = fi.Size()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	text, err := json.Marshal(label)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, machine.ConsoleLog), console, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, labelFile), text, 0o600)
}

// Load opens what was kept in dir, under key, and reads all of it: an error that is ErrTorn says that it is of no use. It
// is the memory's file itself that machines map, for which QEMU wants to be able to write to it; it never does.
func Load(dir, key string) (_ *machine.Snapshot, _ Label, console []byte, err error) {
	torn := func(format string, args ...any) (*machine.Snapshot, Label, []byte, error) {
		return nil, Label{}, nil, fmt.Errorf("%w: %w", ErrTorn, fmt.Errorf(format, args...))
	}
	var label Label
	text, err := os.ReadFile(filepath.Join(dir, labelFile))
	if err != nil {
		return torn("%w", err)
	}
	if err := json.Unmarshal(text, &label); err != nil {
		return torn("%s: %w", labelFile, err)
	}
	if label.Key != key {
		return torn("it is of another machine")
	}
	if console, err = os.ReadFile(filepath.Join(dir, machine.ConsoleLog)); err != nil {
		return torn("%w", err)
	}
	open := func(name string, want part) (*os.File, error) {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		fi, err := f.Stat()
		if err == nil && fi.Size() != want.Size {
			err = fmt.Errorf("%s has %d bytes, not %d", name, fi.Size(), want.Size)
		}
		if err == nil {
			var sum uint32
			if sum, err = sparse.Sum(f); err == nil && sum != want.Sum {
				err = fmt.Errorf("%s is not what was kept", name)
			}
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
	memory, err := open(memoryFile, label.Memory)
	if err != nil {
		return torn("%w", err)
	}
	state, err := open(stateFile, label.State)
	if err != nil {
		memory.Close()
		return torn("%w", err)
	}
	return &machine.Snapshot{Key: key, Memory: memory, State: state}, label, console, nil
}
