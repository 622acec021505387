// SPDX-License-Identifier: Apache-2.0

// Package initramfs knows what a guest finds in memory when its kernel has booted: the agent as /init, and the
// few vendor modules that the machine's devices need.
//
// We boot vendor kernels with an initramfs of our own because they carry virtio as modules: a 9p or virtio-blk
// root panics on stock Ubuntu and RHEL kernels (lmb/vimto #24), and the vendor's own initramfs is made by a
// maintainer script that we do not run.
package initramfs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/u-root/u-root/pkg/cpio"

	"github.com/mews-farm/mews/results/cause"
)

// maxModules is bounded by the two digits that keep the modules in load order by name.
const maxModules = 100

// Module is one kernel object, not compressed: the guest hands it to the kernel as it is.
type Module struct {
	Name  string // without .ko
	Data  []byte
	Spare bool // lies in /modules/spare, for whoever wants to load one
}

// Write writes a newc archive with init as /init, modules as /modules/NN-name.ko in the order given, which
// must be the load order, those to spare as /modules/spare/name.ko, and /dev/console, without which init would start with no standard streams. The same
// input gives the same bytes: all times are zero and inode numbers count up.
//
// The archive is not compressed: under TCG the guest pays more to unpack it than the host saves in reading it. An
// archive of 10 MB (4 MB compressed), booted to a Go init that powers off, costs QEMU 1.81 s of user CPU plain, 1.92 s
// with gzip and 1.93 s with zstd on 5.10.0-46, and 2.00, 2.08 and 2.11 s on 6.1.0-56 (medians of three).
func Write(w io.Writer, init []byte, modules []Module) error {
	if len(modules) > maxModules {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "initramfs: %d modules, at most %d can be ordered by two digits", len(modules), maxModules)
	}
	records := []cpio.Record{
		cpio.Directory("dev", 0o755),
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.Directory("modules", 0o755),
		file("init", 0o755, init),
	}
	var spare []cpio.Record
	for i, m := range modules {
		if m.Name == "" || strings.ContainsAny(m.Name, "/\x00") {
			return cause.Errorf(cause.Internal, cause.FaultHarness, "initramfs: %q is no name of a module", m.Name)
		}
		if m.Spare {
			spare = append(spare, file("modules/spare/"+m.Name+".ko", 0o644, m.Data))
			continue
		}
		records = append(records, file(fmt.Sprintf("modules/%02d-%s.ko", i, m.Name), 0o644, m.Data))
	}
	if len(spare) > 0 {
		records = append(append(records, cpio.Directory("modules/spare", 0o755)), spare...)
	}

	out := cpio.Newc.Writer(w)
	for i, r := range records {
		r.Ino = uint64(i + 1)
		if err := out.WriteRecord(r); err != nil {
			return fmt.Errorf("initramfs: %s: %w", r.Name, err)
		}
	}
	if err := cpio.WriteTrailer(out); err != nil {
		return fmt.Errorf("initramfs: trailer: %w", err)
	}
	return nil
}

func file(name string, perm uint64, data []byte) cpio.Record {
	return cpio.StaticRecord(data, cpio.Info{Name: name, Mode: cpio.S_IFREG | perm})
}

// Cached returns the path of the initramfs for the agent at initPath and modules, in dir, which is made if
// need be. Its name is the digest of its content, so any number of processes may ask for the same one.
func Cached(dir, initPath string, modules []Module) (string, error) {
	init, err := os.ReadFile(initPath)
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "initramfs: read the agent: %w", err).
			Advise("build it: make build")
	}
	var image bytes.Buffer
	if err := Write(&image, init, modules); err != nil {
		return "", err
	}
	sum := sha256.Sum256(image.Bytes())
	path := filepath.Join(dir, hex.EncodeToString(sum[:])+".cpio")
	// Only whole files get this name (see store): the size is a guard against a filesystem that lost the tail in a crash.
	if fi, err := os.Stat(path); err == nil && fi.Size() == int64(image.Len()) {
		return path, nil
	}
	if err := store(path, image.Bytes()); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return "", cause.Errorf(cause.DiskFull, cause.FaultInfra, "initramfs: write %s: %w", path, err).
				Advise("free %d MiB in %s", image.Len()>>20+1, dir)
		}
		return "", cause.Errorf(cause.Internal, cause.FaultInfra, "initramfs: write %s: %w", path, err)
	}
	return path, nil
}

// store makes path appear whole or not at all.
func store(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".initramfs-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // after the rename there is nothing left to remove
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
