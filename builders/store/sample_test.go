// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mews-farm/mews/builders/product"
	"github.com/mews-farm/mews/internal/suite"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

func TestStore(t *testing.T) { suite.Run(t, "builders/store") }

// finished is when every build of these tests ended.
var finished = time.Date(2026, 11, 22, 3, 4, 5, 0, time.UTC)

func key(version, names string, v product.Variant) Key {
	n, err := ParseNames(names)
	if err != nil {
		panic(err)
	}
	return Key{DriverVersion: version, Arch: "x86_64", Kernel: n, Variant: v}
}

// bookworm and trixie are two kernels as falcoctl names them; the second has a + in its name.
var (
	bookwormKo = key("0.23.2", "debian_6.1.192-2-cloud-amd64_1", product.KMod)
	bookwormO  = key("0.23.2", "debian_6.1.192-2-cloud-amd64_1", product.EBPF)
	plusKo     = key("7.2.1+driver", "debian_6.12.57+deb12-cloud-amd64_1", product.KMod)
	plusO      = key("7.2.1+driver", "debian_6.12.57+deb12-cloud-amd64_1", product.EBPF)
	cosKo      = key("0.23.2", "cos_6.6.105+_1", product.KMod)
)

// built makes an entry of an artifact whose bytes are text, in dir.
func built(dir string, k Key, text string) Entry {
	sum := archive.DigestOf([]byte(text))
	logText := "make of " + text + "\n"
	a := &product.Artifact{
		Path: filepath.Join(dir, string(sum)), LogPath: filepath.Join(dir, string(sum)+".log"),
		Variant: k.Variant, File: "scap" + k.Variant.Suffix(), SHA256: sum, Size: int64(len(text)),
		Kernel:        kernels.Kernel{Distro: k.Kernel.Target, Release: "6.1.0-56-cloud-amd64", Version: "1", Arch: k.Arch},
		DriverVersion: "0.23.2", Source: archive.DigestOf([]byte("source")), ModuleName: "scap", Device: "scap", Machine: "EM_X86_64",
		Vermagic: "6.1.0-56-cloud-amd64 SMP preempt mod_unload modversions ", KernelRelease: "6.1.0-56-cloud-amd64",
		APIVersion: "8.0.0", SchemaVersion: "2.0.0",
		Compiler: product.Compiler{Command: "gcc-12", Family: "gcc", Major: 12, Text: "gcc-12 (Debian 12.2.0-14+deb12u1) 12.2.0"},
		Root:     "0123456789abcdef", Headers: []archive.Digest{archive.DigestOf([]byte("headers"))}, HeaderSums: []string{"sha1:da39a3ee"},
		Has: map[string]bool{"0__SANITY": true, "CLASS_CREATE_1": false}, Log: archive.DigestOf([]byte(logText)), Seconds: 4.5,
	}
	for path, content := range map[string]string{a.Path: text, a.LogPath: logText} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			panic(err)
		}
	}
	return Entry{Key: k, Kernel: a.Kernel, Inputs: "inputs of " + text, Artifact: a, Finished: finished}
}

func unavailable(k Key, why string) Entry {
	return Entry{Key: k, Kernel: kernels.Kernel{Distro: k.Kernel.Target, Release: k.Kernel.Release, Version: "1", Arch: k.Arch}, Unavailable: why}
}

func failed(dir string, k Key) Entry {
	log := filepath.Join(dir, "failed.log")
	if err := os.WriteFile(log, []byte("main.c:3: error: no member <b>f</b>\n"), 0o644); err != nil {
		panic(err)
	}
	return Entry{
		Key: k, Kernel: kernels.Kernel{Distro: k.Kernel.Target, Release: k.Kernel.Release, Version: "1", Arch: k.Arch}, LogPath: log, Inputs: "i",
		Finding: &cause.Finding{State: cause.Fail, Cause: cause.CompileError, Fault: cause.FaultDriver,
			Evidence: []cause.Evidence{{File: "main.c", Line: 3, Text: "error: no member <b>f</b>"}}},
	}
}

// sample is one of everything: two driver versions, a kernel with both variants, one that failed, one that cannot be.
func sample(dir string) []Entry {
	return []Entry{
		built(dir, bookwormKo, "module for 6.1"), built(dir, bookwormO, "probe for 6.1"),
		built(dir, plusKo, "module for 6.12"), failed(dir, plusO),
		unavailable(cosKo, "COS does not load modules"),
	}
}

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), memory(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// memory is a directory that costs nothing to sync, where there is one: the kill tests do it thousands of times.
func memory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "mews-store-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func publish(t *testing.T, s *Store, o Options, entries ...Entry) Report {
	t.Helper()
	r, err := s.Publish(t.Context(), entries, o)
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return r
}

// clean fails unless the store has these artifacts and nothing is wrong with it.
func clean(t *testing.T, s *Store, artifacts int) {
	t.Helper()
	c, err := s.Verify(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if !c.Clean() || c.Artifacts != artifacts {
		t.Fatalf("%d artifacts, want %d; %+v", c.Artifacts, artifacts, *c)
	}
}

// contents reads all that a store shows.
func contents(t *testing.T, s *Store) map[string]string {
	t.Helper()
	out := map[string]string{}
	for i, err := range s.b.list(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		text, _, err := s.read(t.Context(), i.name, maxIndex)
		if err != nil {
			t.Fatal(err)
		}
		out[i.name] = string(text)
	}
	return out
}

// counting counts how often each object is opened.
type counting struct {
	backend
	opened map[string]int
}

func (c *counting) open(ctx context.Context, name string) (io.ReadCloser, string, error) {
	c.opened[name]++
	return c.backend.open(ctx, name)
}
