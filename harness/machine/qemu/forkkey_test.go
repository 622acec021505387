// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mews-farm/mews/harness/machine"
)

// What a snapshot depends on must be in its key, and what it does not must not.
func TestForkKey(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	spec := machine.Spec{Name: "a", Kernel: file("kernel"), Initrd: file("initrd"), Disks: []machine.Disk{{Path: file("disk"), Serial: "userland", ReadOnly: true}}}
	abilities.Store("qemu-a", func() (string, error) { return "7.2.0", nil })
	abilities.Store("qemu-b", func() (string, error) { return "9.0.0", nil })
	a := Starter{Program: "qemu-a"}
	key := func(s Starter, change func(*machine.Spec)) string {
		t.Helper()
		spec := spec
		change(&spec)
		k, err := s.ForkKey(context.Background(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	base := key(a, func(*machine.Spec) {})
	for name, same := range map[string]func(*machine.Spec){
		"name":            func(s *machine.Spec) { s.Name = "b" },
		"directory":       func(s *machine.Spec) { s.Dir = "/elsewhere" },
		"taken up":        func(s *machine.Spec) { s.From = &machine.Snapshot{} },
		"default, spelt":  func(s *machine.Spec) { s.MemoryMiB, s.CPUs = defaultMemoryMiB, 1 },
		"saved once more": func(s *machine.Spec) { s.Saved = true },
	} {
		if key(a, same) != base {
			t.Errorf("%s changes the key", name)
		}
	}
	for name, other := range map[string]func(*machine.Spec){
		"memory":           func(s *machine.Spec) { s.MemoryMiB = 100 },
		"processors":       func(s *machine.Spec) { s.CPUs = 2 },
		"kernel arguments": func(s *machine.Spec) { s.Cmdline = []string{"x"} },
		"vmcore":           func(s *machine.Spec) { s.Vmcore = true },
		"kernel":           func(s *machine.Spec) { s.Kernel = s.Initrd },
		"a disk less":      func(s *machine.Spec) { s.Disks = nil },
	} {
		if key(a, other) == base {
			t.Errorf("%s does not change the key", name)
		}
	}
	none := func(*machine.Spec) {}
	if key(Starter{Program: "qemu-b"}, none) == base || key(Starter{Program: "qemu-a", Accel: Accel{KVM: true}}, none) == base {
		t.Error("another QEMU, or accelerator, does not change the key")
	}
	if err := os.Chtimes(spec.Disks[0].Path, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if key(a, none) == base {
		t.Error("another disk of the same path does not change the key")
	}
	spec.Disks[0].ReadOnly = false
	if _, err := a.ForkKey(context.Background(), spec); err == nil {
		t.Error("machines that write to one disk have a key")
	}
}
