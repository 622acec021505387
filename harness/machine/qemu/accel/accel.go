// SPDX-License-Identifier: Apache-2.0

// Package accel knows whether this host's KVM really runs a stock guest.
//
// That /dev/kvm exists, opens, and makes VMs and vCPUs proves nothing: on a nested host without hardware support
// (PVM, kernel 6.18) all of that works, and then a stock guest hangs in its first instructions. So a guest is
// started, and has a few seconds to come to user code.
package accel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/initramfs"
	"github.com/mews-farm/mews/harness/machine/qemu"
	"github.com/mews-farm/mews/harness/machine/qemu/internal/bareinit"
	"github.com/mews-farm/mews/results/cause"
)

const (
	deadline = 3 * time.Second // to user code; a KVM that works needs a tenth of it
	// A refusal is believed for a day, as the host may only have been too busy; KVM that worked goes on working.
	refusalHolds = 24 * time.Hour
)

// Prober finds the accelerator of this host.
type Prober struct {
	Kernel   string // a vendor's boot image
	CacheDir string // where the answer is kept
	Program  string // of QEMU; "" is qemu.Program
	Device   string // "" is /dev/kvm
}

// Probe returns KVM if a stock guest came up with it, else TCG; Reason says which and why. The only error is a
// context that ended.
func (p Prober) Probe(ctx context.Context) (qemu.Accel, error) {
	if p.Device == "" {
		p.Device = "/dev/kvm"
	}
	if p.Program == "" {
		p.Program = qemu.Program
	}
	dev, reason := p.open()
	if reason != "" {
		return qemu.Accel{Reason: reason}, nil
	}
	key, err := p.key(ctx, dev)
	if err != nil {
		return qemu.Accel{Reason: "KVM not tried: " + err.Error()}, ctx.Err()
	}
	if a, ok := p.recall(key); ok {
		return a, nil
	}
	a := p.try(ctx)
	if err := ctx.Err(); err != nil {
		return qemu.Accel{}, cause.Errorf(cause.Cancelled, cause.FaultHarness, "the accelerator's probe was interrupted: %w", err)
	}
	if err := p.remember(key, a); err != nil {
		a.Reason += fmt.Sprintf(" (not remembered: %v)", err)
	}
	return a, nil
}

// open tells what is wrong with the device, if anything can be seen from outside, else its inode.
func (p Prober) open() (inode uint64, reason string) {
	f, err := os.OpenFile(p.Device, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, "KVM: there is no " + p.Device
	case errors.Is(err, fs.ErrPermission):
		return 0, "KVM: " + p.Device + " may not be opened by this user: join the group kvm"
	case err != nil:
		return 0, "KVM: " + err.Error()
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, "KVM: " + err.Error()
	}
	return fi.Sys().(*syscall.Stat_t).Ino, ""
}

// key is what the answer depends on.
func (p Prober) key(ctx context.Context, inode uint64) (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", err
	}
	version, err := exec.CommandContext(ctx, p.Program, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", p.Program, err)
	}
	first, _, _ := strings.Cut(string(version), "\n")
	return fmt.Sprintf("%s; %s; inode %d", unix.ByteSliceToString(uts.Release[:]), first, inode), nil
}

// try starts a guest.
func (p Prober) try(ctx context.Context) qemu.Accel {
	refuse := func(format string, args ...any) qemu.Accel {
		return qemu.Accel{Reason: "KVM: " + fmt.Sprintf(format, args...)}
	}
	dir, err := os.MkdirTemp("", "mews-accel-")
	if err != nil {
		return refuse("not tried: %v", err)
	}
	defer os.RemoveAll(dir)
	var image bytes.Buffer
	if err := initramfs.Write(&image, bareinit.ELF(), nil); err != nil {
		return refuse("not tried: %v", err)
	}
	initrd := filepath.Join(dir, "initrd")
	if err := os.WriteFile(initrd, image.Bytes(), 0o600); err != nil {
		return refuse("not tried: %v", err)
	}

	starter := qemu.Starter{Program: p.Program, Accel: qemu.Accel{KVM: true}}
	m, err := starter.Start(ctx, machine.Spec{Name: "kvm-probe", Kernel: p.Kernel, Initrd: initrd, MemoryMiB: 256, Dir: dir})
	if err != nil {
		return refuse("%v", err)
	}
	defer m.Stop(ctx) // it is a probe: the answer is known by then
	wait, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	switch err := m.Console().Await(wait, bareinit.Marker); {
	case err == nil:
		return qemu.Accel{KVM: true, Reason: "KVM: a stock guest reached init"}
	case errors.Is(err, context.DeadlineExceeded):
		return refuse("stock guest did not reach init in %v", deadline)
	}
	select {
	case <-m.Done():
		return refuse("stock guest did not reach init: %v", m.Err())
	case <-wait.Done():
		return refuse("stock guest's console ended before init")
	}
}

// memo is the answer as it is kept.
type memo struct {
	Key    string    `json:"key"`
	KVM    bool      `json:"kvm"`
	Reason string    `json:"reason"`
	Probed time.Time `json:"probed"`
}

func (p Prober) path() string { return filepath.Join(p.CacheDir, "accelerator.json") }

// recall returns the kept answer to the same question. One that cannot be read is as good as none.
func (p Prober) recall(key string) (qemu.Accel, bool) {
	data, err := os.ReadFile(p.path())
	if err != nil {
		return qemu.Accel{}, false
	}
	var m memo
	if json.Unmarshal(data, &m) != nil || m.Key != key || m.Reason == "" {
		return qemu.Accel{}, false
	}
	if !m.KVM && time.Since(m.Probed) > refusalHolds {
		return qemu.Accel{}, false
	}
	return qemu.Accel{KVM: m.KVM, Reason: m.Reason}, true
}

func (p Prober) remember(key string, a qemu.Accel) error {
	data, err := json.Marshal(memo{Key: key, KVM: a.KVM, Reason: a.Reason, Probed: time.Now()})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.CacheDir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(p.CacheDir, ".accelerator-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	_, err = tmp.Write(data)
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), p.path())
}
