// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/decompress"
)

// BenchmarkRead reads the real indexes that the user's archive holds, as an update of the catalogue does once they
// are fetched: verified by their digest, decompressed, and of their packages the kernels' kept.
// Its figure is CPU seconds per 100 MB of decompressed text.
func BenchmarkRead(b *testing.B) {
	files := archived(b)
	kernel := func(name []byte) bool { return bytes.HasPrefix(name, []byte("linux-")) }
	for _, bc := range []struct {
		name string
		keep func([]byte) bool
	}{{"kernels", kernel}, {"all", nil}} {
		b.Run(bc.name, func(b *testing.B) {
			var total int64
			for _, f := range files {
				total += f.size
			}
			b.SetBytes(total)
			b.ReportAllocs()
			start := cpu(b)
			for b.Loop() {
				for _, f := range files {
					x := newIndex("sid", "http://m.example/debian", bc.keep)
					if archive.DigestOf(f.packed) != f.digest {
						b.Fatal("altered")
					}
					if err := x.unpack(bytes.NewReader(f.packed), f.name); err != nil {
						b.Fatal(err)
					}
				}
			}
			spent := cpu(b) - start
			b.ReportMetric(spent.Seconds()/float64(b.N)/float64(total)*100e6, "cpu-s/100MB")
		})
	}
}

type packed struct {
	name   string
	digest archive.Digest
	packed []byte
	size   int64 // decompressed
}

// archived finds the newest indexes of Debian's large suites in the user's archive.
func archived(b *testing.B) []packed {
	b.Helper()
	dir, err := archive.DefaultDir()
	if err != nil {
		b.Fatal(err)
	}
	store, err := archive.New(dir)
	if err != nil {
		b.Fatal(err)
	}
	s := &Source{o: Options{Arch: "amd64", Components: []string{"main"}}}
	var out []packed
	for _, suite := range []string{"bullseye", "bookworm", "trixie", "sid"} {
		d, err := store.Ref("debian/" + suite)
		if err != nil {
			b.Skipf("suite %s is not in the archive: run `mews kernels update debian` once", suite)
		}
		f := packed{digest: d}
		text, _, _ := f.read(b, store)
		// The signature was checked when it was archived.
		rel, err := parseRelease([]byte(between(string(text))))
		if err != nil {
			b.Fatal(err)
		}
		names, err := s.packagesFiles(rel, suite)
		if err != nil {
			b.Fatal(err)
		}
		f = packed{name: names[0].name, digest: names[0].digest}
		f.packed, f.size, err = f.read(b, store)
		if err != nil {
			b.Skipf("the index of %s is not in the archive: %v", suite, err)
		}
		out = append(out, f)
	}
	return out
}

// read returns the file, and how long it is decompressed.
func (f packed) read(b *testing.B, store *archive.Archive) (content []byte, size int64, err error) {
	b.Helper()
	path, err := store.Path(f.digest)
	if err != nil {
		return nil, 0, err
	}
	if content, err = os.ReadFile(path); err != nil {
		return nil, 0, err
	}
	_, suffix := decompress.Split(f.name)
	z, err := decompress.NewReader(bytes.NewReader(content), suffix, maxPackages)
	if err != nil {
		return nil, 0, err
	}
	defer z.Close()
	size, err = io.Copy(io.Discard, z)
	return content, size, err
}

// between cuts the armour off a clear-signed file.
func between(text string) string {
	_, text, _ = strings.Cut(text, "\n\n")
	text, _, _ = strings.Cut(text, "-----BEGIN PGP SIGNATURE")
	return text
}

// cpu is the time that this process has spent, all its threads and the collector of garbage included.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
