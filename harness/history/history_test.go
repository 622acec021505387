// SPDX-License-Identifier: Apache-2.0

package history

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func open(t *testing.T, dir string) *History {
	t.Helper()
	h, note := Open(dir)
	if note != "" {
		t.Fatal(note)
	}
	return h
}

func save(t *testing.T, h *History, dir string) {
	t.Helper()
	if err := h.Save(dir); err != nil {
		t.Fatal(err)
	}
}

var build = Key{Stage: "build", Line: "6.1", Driver: "kmod", Consumer: "sysdig", Accelerator: "tcg"}

func TestTheNearestTimesTell(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	if s, known := h.Seconds(build); known || s != defaults["build"] {
		t.Errorf("with no history a build takes %v s, known: %v", s, known)
	}
	other, line, made, kvm := build, build, build, build
	other.Driver, line.Line, made.Made, kvm.Accelerator = "other", "7.3", true, "kvm"
	h.Add(other, 50)
	save(t, h, dir)
	if s, known := open(t, dir).Seconds(build); !known || s != 50 {
		t.Errorf("another driver's %v, known: %v", s, known)
	}
	h = open(t, dir)
	h.Add(line, 20)
	save(t, h, dir)
	if s, _ := open(t, dir).Seconds(build); s != 20 {
		t.Errorf("the driver's on another kernel %v", s)
	}
	h = open(t, dir)
	for _, s := range []float64{3, 400, 4, 2, 3} { // one of an hour in which the machine was busy
		h.Add(build, s)
	}
	h.Make("a")
	save(t, h, dir)
	h = open(t, dir)
	if s, known := h.Seconds(build); !known || s != 3 || h.Runs() != 3 {
		t.Errorf("its own %v, known: %v, of %d runs", s, known, h.Runs())
	}
	if !h.Made("a") || h.Made("b") {
		t.Error("what was made is not remembered as it was")
	}
	for name, k := range map[string]Key{"one that is there already": made, "another accelerator's": kvm} {
		if _, known := h.Seconds(k); known {
			t.Errorf("%s is taken for known", name)
		}
	}
}

func TestOnlyTheLastTimesAreKept(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 * keep {
		h := open(t, dir)
		h.Add(build, float64(i))
		save(t, h, dir)
	}
	if s, _ := open(t, dir).Seconds(build); s != 2*keep+(keep-1)/2 {
		t.Errorf("the median is %v", s)
	}
}

func TestRunsThatEndTogetherAreAllKept(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range keep {
		h := open(t, dir)
		h.Add(build, 1)
		wg.Go(func() {
			if err := h.Save(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := open(t, dir).Runs(); n != keep {
		t.Errorf("%d of %d runs are known", n, keep)
	}
}

func TestAFileThatCannotBeReadIsForgotten(t *testing.T) {
	for name, text := range map[string]string{
		"torn": `{"version":1,"runs":3,"sec`, "empty": "", "another version": `{"version":2}`, "a time that is none": `{"version":1,"seconds":{"x":[-1]}}`, "another type": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, File), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			h, note := Open(dir)
			if !strings.Contains(note, File) || h.Runs() != 0 {
				t.Errorf("%q is told of %d runs", note, h.Runs())
			}
			h.Add(build, 7)
			save(t, h, dir)
			if s, known := open(t, dir).Seconds(build); !known || s != 7 {
				t.Errorf("then it is kept: %v, %v", s, known)
			}
		})
	}
	if _, note := Open(filepath.Join(t.TempDir(), "none")); note != "" {
		t.Errorf("that there was no run yet is told as %q", note)
	}
}

// A run that came to nothing leaves no trace.
func TestNothingToKeep(t *testing.T) {
	dir := t.TempDir()
	save(t, open(t, dir), dir)
	if _, err := os.Stat(filepath.Join(dir, File)); err == nil {
		t.Error("a file of nothing")
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"version":1,"runs":3,"seconds":{"build|6.1|kmod|sysdig|tcg":[1,2]},"made":["a"]}`))
	f.Add([]byte(`{"version":1,"seconds":{"||||":[1e308,1e308]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, File), text, 0o644); err != nil {
			t.Fatal(err)
		}
		h, _ := Open(dir)
		if s, _ := h.Seconds(build); s < 0 {
			t.Errorf("a build takes %v s", s)
		}
	})
}
