// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/results/cause"
)

func TestCopySparse(t *testing.T) {
	const mib = 1 << 20
	data := make([]byte, 8*mib+3*coreBlock+17) // ends within a block, and with zeros
	copy(data, "\x7fELF")
	data[5*mib+1], data[8*mib] = 1, 2
	f, err := os.Create(filepath.Join(t.TempDir(), "vmcore"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := copySparse(f, bytes.NewReader(data))
	if err != nil || n != int64(len(data)) {
		t.Fatalf("%d of %d bytes: %v", n, len(data), err)
	}
	got, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy of %d bytes has %d and differs: %v", len(data), len(got), err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Blocks*512 > mib {
		t.Errorf("%d bytes take %d of the disk: %v", len(data), st.Blocks*512, err)
	}
}

func TestAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	_, err = copySparse(full, bytes.NewReader([]byte("x")))
	if f := cause.Of(noRoom(err)); f.Cause != cause.DiskFull {
		t.Errorf("written to a full disk: %+v", f)
	}

	c := vmcore{path: filepath.Join(t.TempDir(), "vmcore"), need: 640 << 20}
	free := func(mib uint64) func(string, *unix.Statfs_t) error {
		return func(_ string, st *unix.Statfs_t) error {
			st.Bavail, st.Bsize = mib<<8, 4096
			return nil
		}
	}
	if err := c.room(free(704)); err != nil {
		t.Errorf("just enough: %v", err)
	}
	if f := cause.Of(c.room(free(703))); f.Cause != cause.DiskFull || f.Fault != cause.FaultInfra {
		t.Errorf("not enough: %+v", f)
	}
	broken := func(string, *unix.Statfs_t) error { return syscall.EIO }
	if err := c.room(broken); !errors.Is(err, syscall.EIO) {
		t.Errorf("unknown: %v", err)
	}
}

// The verdict is that of the panic, and says where the memory is or why it is nowhere.
func TestEndingTellsOfTheCore(t *testing.T) {
	e := ending{name: "cell", answered: true, splats: splats("Kernel panic - not syncing: x"), exit: "signal: killed"}
	e.core = (&vmcore{taken: "the guest's memory, 640 MiB"}).evidence()
	f := cause.Of(e.err())
	if f.Cause != cause.KernelPanic || f.Evidence[len(f.Evidence)-1] != (cause.Evidence{File: "vmcore", Text: "the guest's memory, 640 MiB"}) {
		t.Errorf("%+v", f)
	}
	if (*vmcore)(nil).evidence() != nil || (&vmcore{}).evidence() != nil {
		t.Error("there is evidence of a core that nobody took")
	}
}
