// SPDX-License-Identifier: Apache-2.0

package scenarios

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// LoadModule loads a module into the kernel by finit_module(2), and unloads it again.
type LoadModule struct {
	Path   string `yaml:"path,required" json:"path"`
	GiveUp bool   `yaml:"give_up" json:"give_up,omitempty"` // gives CAP_SYS_MODULE up before: the kernel must refuse
}

// Kind implements [Action].
func (LoadModule) Kind() string { return "load-module" }

// Do implements [Action].
func (a LoadModule) Do(context.Context) (Detail, error) {
	d := Detail{Path: a.Path, FD: -1}
	f, err := os.Open(a.Path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	if a.GiveUp {
		if err := dropCapability(unix.CAP_SYS_MODULE); err != nil {
			return d, fmt.Errorf("give up CAP_SYS_MODULE: %w", err)
		}
	}
	err = unix.FinitModule(int(f.Fd()), "", 0)
	switch {
	case a.GiveUp && errors.Is(err, unix.EPERM):
		return d, nil
	case a.GiveUp:
		return d, fmt.Errorf("finit_module %s without the capability: %w; it must be refused", a.Path, orNone(err))
	case err != nil:
		return d, fmt.Errorf("finit_module %s: %w", a.Path, err)
	}
	name := strings.TrimSuffix(filepath.Base(a.Path), ".ko")
	if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil {
		return d, fmt.Errorf("delete_module %s: %w", name, err)
	}
	return d, nil
}

// errNone says in a sentence that there was no error.
var errNone = errors.New("no error")

func orNone(err error) error {
	if err == nil {
		return errNone
	}
	return err
}

// dropCapability takes a capability out of the effective ones of this thread, which makes the calls of the deed.
func dropCapability(number int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[number/32].Effective &^= 1 << (number % 32)
	return unix.Capset(&header, &data[0])
}

func (a LoadModule) check() error { return absolute(a.Path) }

func (LoadModule) needs() []string { return nil }

func (a LoadModule) fill(sub substitution) (Action, error) { return filled(a, sub) }
