// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/snapshot"
)

// Shelf keeps what can be made again, from one run to the next; an archive.Archive is one.
type Shelf interface {
	Made(name string) (dir string, err error)
	Make(ctx context.Context, name string, fill func(dir string) error) error
	Unmake(name string) error
}

// booted is a kernel that was booted to its agent, and stopped there.
type booted struct {
	*machine.Snapshot
	label   snapshot.Label
	console []byte // what the kernel said in its boot
	kept    bool   // it is of an earlier run
}

// nest holds the booted kernels of a run. Cells that need the same one share it: the first boots it, or finds it on the shelf,
// and the others wait for that.
type nest struct {
	shelf Shelf        // nil: nothing outlives the run
	warn  func(string) // of a shelf that cannot be used, which costs time and nothing else

	mu   sync.Mutex
	eggs map[string]*egg
}

type egg struct {
	mu   sync.Mutex // held while it is made
	b    *booted
	lost []*booted // found wanting; others may still be going on from them
}

func newNest(shelf Shelf, warn func(string)) *nest {
	return &nest{shelf: shelf, warn: warn, eggs: map[string]*egg{}}
}

// get returns the booted kernel of key. If there is none, boot makes it; its errors are those of get.
func (n *nest) get(ctx context.Context, key string, boot func() (*booted, error)) (*booted, error) {
	n.mu.Lock()
	e := n.eggs[key]
	if e == nil {
		e = &egg{}
		n.eggs[key] = e
	}
	n.mu.Unlock()

	e.mu.Lock()
	defer e.mu.Unlock()
	if e.b == nil {
		e.b = n.fetch(key)
	}
	if e.b != nil {
		return e.b, nil
	}
	b, err := boot()
	if err != nil {
		return nil, err
	}
	e.b = b
	n.keep(ctx, b)
	return b, nil
}

// shelved is the name of a booted kernel on the shelf.
func shelved(key string) string { return "booted-" + key }

// fetch looks for one on the shelf. One that is torn goes.
func (n *nest) fetch(key string) *booted {
	if n.shelf == nil {
		return nil
	}
	dir, err := n.shelf.Made(shelved(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var b booted
		if b.Snapshot, b.label, b.console, err = snapshot.Load(dir, key); err == nil {
			b.kept = true
			return &b
		}
	}
	n.warn(fmt.Sprintf("a booted kernel that was kept is of no use, and is booted again: %v", err))
	n.unmake(key)
	return nil
}

func (n *nest) keep(ctx context.Context, b *booted) {
	if n.shelf == nil {
		return
	}
	err := n.shelf.Make(ctx, shelved(b.Key), func(dir string) error { return snapshot.Keep(dir, b.Snapshot, b.label, b.console) })
	if err != nil && ctx.Err() == nil {
		n.warn(fmt.Sprintf("a booted kernel is not kept for later runs: %v", err))
	}
}

func (n *nest) unmake(key string) {
	if n.shelf == nil {
		return
	}
	if err := n.shelf.Unmake(shelved(key)); err != nil {
		n.warn(fmt.Sprintf("a booted kernel that is of no use stays: %v", err))
	}
}

// discard throws away one that did not come to life. It reports whether another is worth a try: one that was just made, and
// failed, would fail again.
func (n *nest) discard(b *booted) bool {
	n.mu.Lock()
	e := n.eggs[b.Key]
	n.mu.Unlock()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.b != b {
		return true // another did so already
	}
	e.b, e.lost = nil, append(e.lost, b)
	n.unmake(b.Key)
	return b.kept
}

// close gives everything back.
func (n *nest) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.eggs {
		if e.b != nil {
			e.lost = append(e.lost, e.b)
		}
		for _, b := range e.lost {
			_ = b.Close() // two files that nobody writes to
		}
	}
	n.eggs = map[string]*egg{}
}

// age tells a reader how a cell came by its kernel.
func (b *booted) age(took time.Duration) string {
	since := "of this run"
	if b.kept {
		since = "of " + b.label.Taken.UTC().Format(time.DateTime)
	}
	return fmt.Sprintf("taken up in %.2f s from the boot %s, whose agent served %.1f s after the kernel's start", took.Seconds(), since, b.label.Boot.Seconds())
}
