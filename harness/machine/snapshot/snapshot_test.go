// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/harness/machine"
	"github.com/mews-farm/mews/harness/machine/snapshot"
)

func kept(t *testing.T) string {
	t.Helper()
	file := func(text string) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if _, err := f.WriteAt([]byte(text), 1<<20); err != nil {
			t.Fatal(err)
		}
		return f
	}
	dir := t.TempDir()
	s := &machine.Snapshot{Key: "k", Memory: file("memory"), State: file("state")}
	if err := snapshot.Keep(dir, s, snapshot.Label{Boot: time.Second}, []byte("console\n")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestKeptIsLoaded(t *testing.T) {
	s, label, console, err := snapshot.Load(kept(t), "k")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	memory, err := io.ReadAll(io.NewSectionReader(s.Memory, 1<<20, 100))
	if err != nil || string(memory) != "memory" || s.Key != "k" || label.Boot != time.Second || string(console) != "console\n" {
		t.Errorf("%q, %+v, %q, %v", memory, label, console, err)
	}
}

func TestTornIsTold(t *testing.T) {
	edit := func(name string, change func(f *os.File) error) func(string) error {
		return func(dir string) error {
			f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
			if err != nil {
				return err
			}
			return errors.Join(change(f), f.Close())
		}
	}
	flip := func(at int64) func(*os.File) error {
		return func(f *os.File) error { _, err := f.WriteAt([]byte("X"), at); return err }
	}
	for name, tear := range map[string]func(dir string) error{
		"a byte of memory":  edit("memory", flip(1<<20)),
		"a hole of memory":  edit("memory", flip(100)),
		"memory cut":        edit("memory", func(f *os.File) error { return f.Truncate(1<<20 + 1) }),
		"memory too long":   edit("memory", func(f *os.File) error { return f.Truncate(1 << 21) }),
		"a byte of state":   edit("state", flip(1<<20+2)),
		"state empty":       edit("state", func(f *os.File) error { return f.Truncate(0) }),
		"label cut":         edit("snapshot.json", func(f *os.File) error { return f.Truncate(20) }),
		"no memory":         func(dir string) error { return os.Remove(filepath.Join(dir, "memory")) },
		"no label":          func(dir string) error { return os.Remove(filepath.Join(dir, "snapshot.json")) },
		"of a directory":    func(dir string) error { return os.RemoveAll(dir) },
		"no console of its": func(dir string) error { return os.Remove(filepath.Join(dir, machine.ConsoleLog)) },
	} {
		dir := kept(t)
		if err := tear(dir); err != nil {
			t.Fatal(err)
		}
		if s, _, _, err := snapshot.Load(dir, "k"); !errors.Is(err, snapshot.ErrTorn) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, _, _, err := snapshot.Load(kept(t), "other"); !errors.Is(err, snapshot.ErrTorn) || !strings.Contains(err.Error(), "another machine") {
		t.Errorf("another key: %v", err)
	}
}
