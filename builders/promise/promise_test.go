// SPDX-License-Identifier: Apache-2.0

package promise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scratch is a directory as a run leaves it.
func scratch(t *testing.T, files map[string]string) *os.Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	return in
}

func TestComplaint(t *testing.T) {
	for _, c := range []struct{ name, out, want string }{
		{"gcc", "X.c: In function 'f':\nX.c:1:20: error: expected '(' before 'inline'\n    1 | void f(void)\n", "X.c:1:20: error: expected '(' before 'inline'"},
		{"as", "X.s: Assembler messages:\nX.s:1: Error: no such instruction: `tpause %ecx'\n", "X.s:1: Error: no such instruction: `tpause %ecx'"},
		{"the loader", "\n/usr/bin/clang-9: error while loading shared libraries: libmd.so.0\n", "/usr/bin/clang-9: error while loading shared libraries: libmd.so.0"},
		{"not text", "\xff\xfe error: \x00", "? error: \x00"},
		{"nothing", "", ""},
		{"a flood", strings.Repeat("x\n", maxSaid) + "error: too late", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := complaint(scratch(t, map[string]string{"X.out": c.out}), "X"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := complaint(scratch(t, nil), "X"); got != "" {
		t.Errorf("without a file: %q", got)
	}
}

func TestWhatMustComeOut(t *testing.T) {
	in := scratch(t, map[string]string{"A.o": "movq %gs:40, %rax", "B.o": "movq %fs:40, %rax", "C.o": strings.Repeat(" ", maxSaid) + "%gs"})
	for _, c := range []struct {
		symbol, emits string
		want          bool
	}{
		{"A", "%gs", true}, {"B", "%gs", false}, {"C", "%gs", false}, {"none", "%gs", false}, {"none", "", true},
	} {
		if got := (trial{Symbol: c.symbol, Emits: c.emits}).emitted(in); got != c.want {
			t.Errorf("%s, %q: %v", c.symbol, c.emits, got)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(in.Name(), "L.o")); err != nil {
		t.Fatal(err)
	}
	if (trial{Symbol: "L", Emits: "root"}).emitted(in) {
		t.Error("a link out of the scratch directory was followed")
	}
}
