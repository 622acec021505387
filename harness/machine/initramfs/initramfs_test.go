// SPDX-License-Identifier: Apache-2.0

package initramfs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"
)

var testModules = []Module{{Name: "virtio", Data: []byte("one")}, {Name: "virtio_ring", Data: []byte("two!")}, {Name: "virtio-rng"}, {Name: "dummy", Data: []byte("x"), Spare: true}}

func TestWriteIsDeterministicAndComplete(t *testing.T) {
	var a, b bytes.Buffer
	for _, w := range []*bytes.Buffer{&a, &b} {
		if err := Write(w, []byte("\x7fELF init"), testModules); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("the same input gave different archives")
	}

	records, err := cpio.ReadAllRecords(cpio.Newc.Reader(bytes.NewReader(a.Bytes())))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range records {
		if r.MTime != 0 {
			t.Errorf("%s has a time: %d", r.Name, r.MTime)
		}
		got = append(got, fmt.Sprintf("%s %#o %d", r.Name, r.Mode, r.FileSize))
	}
	want := []string{
		"dev 040755 0", "dev/console 020600 0", "modules 040755 0", "init 0100755 9",
		"modules/00-virtio.ko 0100644 3", "modules/01-virtio_ring.ko 0100644 4", "modules/02-virtio-rng.ko 0100644 0",
		"modules/spare 040755 0", "modules/spare/dummy.ko 0100644 1",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// The kernel's unpacker is strict about alignment; GNU cpio is as strict, and needs no boot.
func TestGNUCpioReadsIt(t *testing.T) {
	gnu, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio on this machine: the boot tests of machine/qemu cover the archive's form")
	}
	var image bytes.Buffer
	if err := Write(&image, []byte("odd"), testModules); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(gnu, "-t", "--quiet")
	cmd.Stdin = &image
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := "modules/01-virtio_ring.ko\n"; !strings.Contains(string(out), want) {
		t.Errorf("cpio -t = %q, want %q in it", out, want)
	}
}

func TestWriteRefuses(t *testing.T) {
	many := make([]Module, maxModules+1)
	for i := range many {
		many[i].Name = "m"
	}
	for name, mods := range map[string][]Module{
		"a path":   {{Name: "../init"}},
		"no name":  {{Name: ""}},
		"too many": many,
	} {
		if err := Write(&bytes.Buffer{}, nil, mods); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func TestCachedNamesByContentAndMendsATornFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	init := filepath.Join(t.TempDir(), "init")
	if err := os.WriteFile(init, []byte("agent 1"), 0o755); err != nil {
		t.Fatal(err)
	}
	first, err := Cached(dir, init, testModules)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(first, 7); err != nil {
		t.Fatal(err)
	}
	again, err := Cached(dir, init, testModules)
	if err != nil {
		t.Fatal(err)
	}
	if again != first {
		t.Errorf("the same content is at %s and %s", first, again)
	}
	if mended, err := os.ReadFile(again); err != nil || !bytes.Equal(mended, whole) {
		t.Errorf("a torn file was not mended (%v)", err)
	}

	if err := os.WriteFile(init, []byte("agent 2"), 0o755); err != nil {
		t.Fatal(err)
	}
	if other, err := Cached(dir, init, testModules); err != nil || other == first {
		t.Errorf("another agent got %s, %v", other, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
}
