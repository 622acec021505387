// SPDX-License-Identifier: Apache-2.0

// Package archive knows how to keep files by their content, so that what was fetched and verified once can be had
// again when its mirror is gone.
//
// A directory holds
//
//	blobs/ab/abcd...      the files, named by their SHA-256
//	blobs/ab/abcd....ok   what the file looked like (size, mtime, inode) when it was last hashed; its mtime: last use
//	refs/<name>           the digest that a name stands for
//	pins/<name>           the digests that a user wants kept
//	made/<name>/          what was made of them and can be made again, see [Archive.Make]
//	holds/                the digests that a living process was given, each file locked by its process
//	limit                 bytes above which the least recently used files go; not there: none
//	evict.lock            taken shared to hold a file, exclusively to remove files
//	tmp/                  files and directories being written, each locked by its writer
//
// A file comes into being by rename(2) after its content was hashed and synced, so nothing half-written is ever visible.
package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/results/cause"
)

// Digest is a SHA-256 in lower-case hexadecimal.
type Digest string

// Valid reports whether d has the form of a digest. Others never reach the file system.
func (d Digest) Valid() bool {
	if len(d) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(d) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// DigestOf is the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}

// Archive is a content-addressed store in a directory. Any number of processes may use one directory at once.
type Archive struct {
	dir   string
	holds holds
	room  room
}

// DefaultDir is $XDG_CACHE_HOME/mews/archive.
func DefaultDir() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", cause.Errorf(cause.Internal, cause.FaultInfra, "find the cache directory: %w", err).
			Advise("set XDG_CACHE_HOME or HOME")
	}
	return filepath.Join(cache, "mews", "archive"), nil
}

// New opens the archive in dir, which is made when it is not there, and sweeps up what killed writers left.
func New(dir string) (*Archive, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, disk.Err(err, dir)
	}
	for _, sub := range []string{"blobs", "refs", "pins", "holds", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, disk.Err(err, dir)
		}
	}
	a := &Archive{dir: dir}
	a.sweep()
	return a, nil
}

// Dir is the archive's directory.
func (a *Archive) Dir() string { return a.dir }

// DigestAt is the digest of the file that Path or Put returned.
func (a *Archive) DigestAt(path string) (Digest, error) {
	d := Digest(filepath.Base(path))
	if !d.Valid() || a.blob(d) != path {
		return "", cause.Errorf(cause.Internal, cause.FaultHarness, "%s is no file of the archive %s", path, a.dir)
	}
	return d, nil
}

func (a *Archive) blob(d Digest) string {
	return filepath.Join(a.dir, "blobs", string(d[:2]), string(d))
}

// Put stores what r yields if its digest and size (bytes; -1 when not known) are the wanted ones, and returns the path.
// Anything else is PACKAGE_CORRUPT and leaves no trace. What is held already is not read again.
func (a *Archive) Put(ctx context.Context, want Digest, size int64, r io.Reader) (path string, err error) {
	if !want.Valid() {
		return "", invalid(want)
	}
	if path, err := a.Path(want); err == nil {
		return path, nil
	}
	limit := size
	if size < 0 {
		limit = 1<<63 - 2
	}
	t, err := a.receive(ctx, r, limit)
	if err != nil {
		return "", err
	}
	defer t.discard()
	if size >= 0 && t.size != size {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "content has %s bytes, not %d", t.sizeText(limit), size).
			With(cause.Text("expected sha256 " + string(want))...)
	}
	if t.digest != want {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "content has sha256 %s, not %s", t.digest, want)
	}
	if path, err = t.keep(); err != nil {
		return "", err
	}
	return path, a.grown(ctx, t.size)
}

// Add stores what r yields, at most limit bytes, under the digest it turns out to have.
func (a *Archive) Add(ctx context.Context, r io.Reader, limit int64) (Digest, error) {
	t, err := a.receive(ctx, r, limit)
	if err != nil {
		return "", err
	}
	defer t.discard()
	if t.size > limit {
		return "", cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "content has more than the %d bytes allowed", limit)
	}
	if _, err := t.keep(); err != nil {
		return "", err
	}
	return t.digest, a.grown(ctx, t.size)
}

// Open opens the file with digest d, verified. A file that is not held is [os.ErrNotExist].
func (a *Archive) Open(d Digest) (*os.File, error) {
	path, err := a.Path(d)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// temp is a file being written, or written and not yet kept.
type temp struct {
	a      *Archive
	f      *os.File
	digest Digest
	size   int64
}

// receive writes r into a temporary file, and stops one byte after limit.
func (a *Archive) receive(ctx context.Context, r io.Reader, limit int64) (_ *temp, err error) {
	f, err := a.create("tmp")
	if err != nil {
		return nil, disk.Err(err, filepath.Join(a.dir, "tmp"))
	}
	t := &temp{a: a, f: f}
	defer func() {
		if err != nil {
			t.discard()
		}
	}()
	h := sha256.New()
	buf := make([]byte, 128<<10)
	in := io.LimitReader(r, limit+1)
	for {
		if err := disk.Ctx(ctx, "store in the archive"); err != nil {
			return nil, err
		}
		n, rerr := in.Read(buf)
		h.Write(buf[:n])
		if _, err := f.Write(buf[:n]); err != nil {
			return nil, disk.Err(err, f.Name())
		}
		t.size += int64(n)
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			return nil, rerr
		}
	}
	t.digest = Digest(hex.EncodeToString(h.Sum(nil)))
	return t, nil
}

func (t *temp) sizeText(limit int64) string {
	if t.size > limit {
		return fmt.Sprintf("more than %d", limit)
	}
	return fmt.Sprint(t.size)
}

// keep makes the file visible under its digest.
func (t *temp) keep() (string, error) {
	path := t.a.blob(t.digest)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", disk.Err(err, dir)
	}
	if err := t.f.Chmod(0o444); err != nil {
		return "", disk.Err(err, path)
	}
	if err := t.f.Sync(); err != nil {
		return "", disk.Err(err, path)
	}
	if err := t.a.hold(t.digest); err != nil {
		return "", err
	}
	if err := os.Rename(t.f.Name(), path); err != nil {
		return "", disk.Err(err, path)
	}
	if err := syncDir(dir); err != nil {
		return "", disk.Err(err, dir)
	}
	fi, err := t.f.Stat()
	if err != nil {
		return "", disk.Err(err, path)
	}
	t.a.remember(path, fi)
	return path, nil
}

// discard is harmless after keep: the temporary name is gone then.
func (t *temp) discard() {
	os.Remove(t.f.Name())
	t.f.Close()
}

// create makes a file in tmp or holds that its lock protects from sweep.
func (a *Archive) create(sub string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(filepath.Join(a.dir, sub), fmt.Sprintf("%d-", os.Getpid()))
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if _, err := os.Stat(f.Name()); err == nil {
				return f, nil
			}
		}
		f.Close() // a sweep was quicker than the lock
	}
}

// sweep removes temporary files and holds that nobody has locked: their processes ended, or were killed.
func (a *Archive) sweep() {
	var left []string
	for _, sub := range []string{"tmp", "holds"} {
		names, err := filepath.Glob(filepath.Join(a.dir, sub, "*"))
		if err != nil {
			return
		}
		left = append(left, names...)
	}
	for _, name := range left {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			os.RemoveAll(name)
		}
		f.Close()
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func invalid(d Digest) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "%q is not a SHA-256", string(d))
}
