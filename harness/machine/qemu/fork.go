// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/results/cause"
)

// moveTimeout bounds the saving or loading of the devices' state, which takes some 50 ms.
const moveTimeout = 30 * time.Second

// noMemory are the capabilities of a migration that leaves out the memory that is shared, as everything that it needs to
// leave out is in a file already. Its name in QEMU 7.2 is of an experiment; newer ones that call it otherwise are found out
// by ForkKey.
var noMemory = map[string]any{"capabilities": []map[string]any{
	{"capability": "x-ignore-shared", "state": true},
	{"capability": "events", "state": true},
}}

// ForkKey implements machine.Forker. Devices' state depends on QEMU and on each of its arguments; the guest beside that on the
// content of its disks, which never changes under a path and a time, and on the pace of the host's clock.
func (s Starter) ForkKey(ctx context.Context, spec machine.Spec) (string, error) {
	version, err := s.forks(ctx)
	if err != nil {
		return "", err
	}
	spec.CPUs = max(spec.CPUs, 1)
	if spec.MemoryMiB == 0 {
		spec.MemoryMiB = defaultMemoryMiB
	}
	spec.Name, spec.From, spec.Saved = "", nil, true
	h := sha256.New()
	fmt.Fprintf(h, "mews snapshot 1\n%s\n%s\n%s\n%q\n", version, s.Accel.Name(), processor(), argv(devices(spec, s.Accel), spec.Cmdline))
	paths := []string{spec.Kernel, spec.Initrd}
	for _, d := range spec.Disks {
		if !d.ReadOnly {
			return "", cause.Errorf(cause.Internal, cause.FaultHarness, "%s: disk %s can be written to: machines that go on from one place would share it", spec.Name, d.Serial)
		}
		paths = append(paths, d.Path)
	}
	for _, p := range paths {
		fi, err := os.Stat(p)
		if err != nil {
			return "", cause.Errorf(cause.Internal, cause.FaultInfra, "%w", err)
		}
		fmt.Fprintf(h, "%q %d %d\n", p, fi.Size(), fi.ModTime().UnixNano())
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// processor names the host's processor: under TCG the guest's time stamps come at its pace.
func processor() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "model name") {
			return line
		}
	}
	return ""
}

// abilities are what the emulators of this process are known to do, by program.
var abilities sync.Map // string -> func() (version string, err error)

// forks returns QEMU's version if it can save a machine without its memory. It asks once.
func (s Starter) forks(ctx context.Context) (string, error) {
	program := s.Program
	if program == "" {
		program = Program
	}
	ask, _ := abilities.LoadOrStore(program, sync.OnceValues(func() (string, error) { return probeFork(program) }))
	if err := ctx.Err(); err != nil {
		return "", cause.Errorf(cause.Cancelled, cause.FaultHarness, "ask QEMU what it can do: %w", err)
	}
	return ask.(func() (string, error))()
}

// probeFork asks an emulator without a machine.
func probeFork(program string) (string, error) {
	fail := func(err error) (string, error) {
		return "", cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s cannot save a machine without its memory: %w", program, err)
	}
	mon, file, err := monitorSocket()
	if err != nil {
		return fail(err)
	}
	defer file.Close()
	args := append([]string{"-M", "none", "-nodefaults", "-no-user-config", "-display", "none", "-S"}, sandbox{}.args()...)
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fail(err)
	}
	defer null.Close()
	proc, err := startProcess(program, append(args, monitor{}.args()...), []*os.File{null, null, file})
	if err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			err = fmt.Errorf("%w: install qemu-system-x86", err)
		}
		return fail(err)
	}
	file.Close()
	c := newQMPClient(mon)
	defer func() {
		proc.kill()
		<-proc.exited
		c.close(eventGrace)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	select {
	case err = <-c.ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err == nil {
		err = c.run(ctx, "migrate-set-capabilities", noMemory)
	}
	if err != nil {
		return fail(err)
	}
	return c.version(), nil
}

// move runs a command that saves or loads the devices' state, and waits for its end.
func (c *qmpClient) move(ctx context.Context, command, uri string) error {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	if err := c.run(ctx, "migrate-set-capabilities", noMemory); err != nil {
		return err
	}
	if err := c.run(ctx, command, map[string]any{"uri": uri}); err != nil {
		return err
	}
	select {
	case how := <-c.moved:
		if how != "completed" {
			return fmt.Errorf("qmp %s: it %s", command, how)
		}
		return nil
	case <-c.ended:
		return fmt.Errorf("qmp %s: QEMU is gone", command)
	case <-ctx.Done():
		return fmt.Errorf("qmp %s: %w", command, ctx.Err())
	}
}

// restore loads the devices' state.
func (c *qmpClient) restore(ctx context.Context) error {
	return c.move(ctx, "migrate-incoming", fmt.Sprintf("fd:%d", resumeFD))
}

// save writes the devices' state to w. QEMU 7.2 takes a number of a descriptor that it inherited for what comes in, but
// not for what goes out, and go-qemu cannot hand it one through the monitor: so it connects to a socket of ours, whose path
// is gone as soon as it has.
func (c *qmpClient) save(ctx context.Context, w io.Writer) error {
	l, remove, err := listen()
	if err != nil {
		return err
	}
	defer remove()
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	copied := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			defer conn.Close()
			defer context.AfterFunc(sctx, func() { conn.Close() })()
			_, err = io.Copy(w, conn)
		}
		copied <- err
	}()
	err = c.move(ctx, "migrate", "unix:"+l.Addr().String())
	if err != nil { // a QEMU that stands still would neither connect nor close
		l.Close()
		cancel()
	}
	return errors.Join(err, <-copied)
}

// Save implements machine.Saver. The file of the memory is sealed when QEMU has let go of it: nobody can write to it again.
func (g *guest) Save(ctx context.Context) (*machine.Snapshot, error) {
	g.mu.Lock()
	able := g.images.save != nil && !g.saving
	g.saving = g.saving || able
	g.mu.Unlock()
	if !able {
		return nil, cause.Errorf(cause.Internal, cause.FaultHarness, "%s: this machine was not started to be saved", g.end.name)
	}
	err := g.qmp.run(ctx, "stop", nil)
	if err == nil {
		err = g.qmp.save(ctx, g.images.save)
	}
	stopErr := g.Stop(ctx)
	if err = errors.Join(err, stopErr, g.Err()); err == nil {
		_, err = unix.FcntlInt(g.images.memory.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW)
	}
	if err != nil {
		g.images.close()
		if ctx.Err() != nil {
			return nil, cause.Errorf(cause.Cancelled, cause.FaultHarness, "%s: not saved: %w", g.end.name, ctx.Err())
		}
		return nil, cause.Errorf(cause.VMCrashed, cause.FaultInfra, "%s: QEMU did not save the machine: %w", g.end.name, err).With(cause.Text(g.proc.stderr.lines()...)...)
	}
	return &machine.Snapshot{Key: g.key, Memory: g.images.memory, State: g.images.save}, nil
}

// release gives the files of a guest that is gone back, unless they are to be a snapshot.
func (g *guest) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.saving && g.images.save != nil {
		g.images.close()
	}
}
