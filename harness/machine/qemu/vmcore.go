// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/results/cause"
)

// vmcore keeps the memory of a guest whose kernel died, as an ELF core that crash, drgn and gdb read.
//
// QEMU writes it into a pipe, so that what comes out can be written with holes where the guest's memory is zero, which most
// of it is.
type vmcore struct {
	path string
	need uint64 // bytes of the guest's memory

	once  sync.Once
	taken string // what there is to see, or why there is nothing; empty: nobody asked for it
}

const (
	coreBlock  = 4096     // bytes: the guest's pages, and a file system's blocks
	coreSlack  = 64 << 20 // bytes of the disk that are left to others
	traceGrace = time.Second
	// dumpTimeout bounds QEMU's writing and ours: 640 MiB take 0.5 s on an idle machine.
	dumpTimeout = time.Minute
)

// panicsEnd is the last line that a kernel prints of its panic (kernel/panic.c), when it stays.
const panicsEnd = "---[ end Kernel panic - not syncing"

// newVmcore is nil if spec wants none.
func newVmcore(spec machine.Spec) *vmcore {
	if !spec.Vmcore {
		return nil
	}
	return &vmcore{path: filepath.Join(spec.Dir, machine.VmcoreFile), need: uint64(spec.MemoryMiB) << 20}
}

// watch waits for a panic, lets the kernel say all of it, and takes the memory.
func (g *guest) watch(ctx context.Context) {
	select {
	case <-g.console.panicked:
	case <-g.done:
		return
	case <-ctx.Done():
		return
	}
	tctx, cancel := context.WithTimeout(ctx, g.accel.Scale(traceGrace))
	_ = g.console.Await(tctx, panicsEnd) // without it the panic is there all the same
	cancel()
	g.exhume(ctx)
}

// exhume takes the guest's memory and ends QEMU.
func (g *guest) exhume(ctx context.Context) {
	g.core.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, dumpTimeout)
		defer cancel()
		n, err := g.takeCore(ctx)
		switch {
		case err != nil:
			g.core.taken = "no " + machine.VmcoreFile + ": " + err.Error()
		default:
			g.core.taken = fmt.Sprintf("the guest's memory, %d MiB", n>>20)
		}
	})
}

// takeCore has QEMU write the core, and ends it. A core that is not whole is removed.
func (g *guest) takeCore(ctx context.Context) (n int64, err error) {
	defer g.proc.kill()
	if err := g.core.room(unix.Statfs); err != nil {
		return 0, err
	}
	fifo, err := newFifo()
	if err != nil {
		return 0, noRoom(err)
	}
	defer fifo.remove()
	f, err := os.OpenFile(g.core.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, noRoom(err)
	}
	copied := make(chan error, 1)
	go func() {
		var err error
		n, err = copySparse(f, fifo.r)
		fifo.r.Close() // QEMU's write fails where ours did
		copied <- errors.Join(err, f.Close())
	}()
	err = g.qmp.run(ctx, "dump-guest-memory", map[string]any{"paging": false, "protocol": "file:" + fifo.path})
	g.proc.kill()
	fifo.w.Close() // the end, as QEMU's own is closed
	if werr := <-copied; werr != nil {
		err = noRoom(werr)
	}
	if err != nil {
		return 0, errors.Join(err, os.Remove(g.core.path))
	}
	return n, nil
}

// fifo is a pipe that QEMU opens by its path. It cannot have inherited one, as it truncates what it is to dump to, which a
// pipe refuses with EINVAL, unless it is opened anew.
type fifo struct {
	dir, path string
	r, w      *os.File // while w is open, a reader waits for QEMU
}

func newFifo() (*fifo, error) {
	dir, err := os.MkdirTemp("", "mews-core-")
	if err != nil {
		return nil, err
	}
	p := &fifo{dir: dir, path: filepath.Join(dir, "p")}
	if err = unix.Mkfifo(p.path, 0o600); err == nil {
		p.r, err = os.OpenFile(p.path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	}
	if err == nil {
		p.w, err = os.OpenFile(p.path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	}
	if err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// remove frees what is left of it; closing a file twice, or none, harms nobody.
func (p *fifo) remove() {
	p.r.Close()
	p.w.Close()
	os.RemoveAll(p.dir)
}

// room is nil if the disk holds all of the guest's memory, were none of it zero.
func (c *vmcore) room(statfs func(string, *unix.Statfs_t) error) error {
	var st unix.Statfs_t
	if err := statfs(filepath.Dir(c.path), &st); err != nil {
		return cause.Errorf(cause.Internal, cause.FaultInfra, "look for room: %w", err)
	}
	if free := st.Bavail * uint64(st.Bsize); free < c.need+coreSlack {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "%s: the guest has %d MiB of memory, the disk %d MiB of room", cause.DiskFull, c.need>>20, free>>20)
	}
	return nil
}

func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return cause.Errorf(cause.DiskFull, cause.FaultInfra, "%s: %w", cause.DiskFull, err)
	}
	return err
}

// settle waits for a core that is being taken; from then on none is.
func (c *vmcore) settle() { c.once.Do(func() {}) }

// evidence is what became of the core.
func (c *vmcore) evidence() []cause.Evidence {
	if c == nil || c.taken == "" {
		return nil
	}
	return []cause.Evidence{{File: machine.VmcoreFile, Text: c.taken}}
}

// copySparse copies r to an empty file, with holes for blocks of zeros, and returns the file's size.
func copySparse(w *os.File, r io.Reader) (int64, error) {
	buf := make([]byte, 256*coreBlock)
	zeros := make([]byte, coreBlock)
	var at int64
	for {
		n, err := io.ReadFull(r, buf)
		for b := 0; b < n; b += coreBlock {
			piece := buf[b:min(b+coreBlock, n)]
			if bytes.Equal(piece, zeros[:len(piece)]) {
				continue
			}
			if _, err := w.WriteAt(piece, at+int64(b)); err != nil {
				return at, err
			}
		}
		at += int64(n)
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return at, w.Truncate(at)
		case err != nil:
			return at, err
		}
	}
}
