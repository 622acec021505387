// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// A directory keeps what is no object below .mews: files being written, in tmp, and two locks. tmp.lock is taken shared to
// write a file there and exclusively to sweep up what killed writers left; commit.lock makes looking at an object and
// renaming another over it one step.
const (
	privateDir = ".mews"
	tmpDir     = privateDir + "/tmp"
	tmpLock    = privateDir + "/tmp.lock"
	commitLock = privateDir + "/commit.lock"
)

// dirBackend is a back end in a directory of any POSIX file system. An object comes into being by rename(2), after it was synced.
type dirBackend struct {
	path    string
	root    *os.Root // nothing is read or written outside, whatever links somebody puts there
	prepare sync.Once
	failed  error // of prepare
}

func openDir(at string) (*dirBackend, error) {
	at, err := filepath.Abs(at)
	if err != nil {
		return nil, cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "store: %w", err)
	}
	d := &dirBackend{path: at}
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nil, d.fail("open", "", err)
	}
	if d.root, err = os.OpenRoot(at); err != nil {
		return nil, d.fail("open", "", err)
	}
	return d, nil
}

func (d *dirBackend) String() string { return d.path }

// fail gives an error of the file system its cause.
func (d *dirBackend) fail(what, name string, err error) error {
	var known *cause.Err
	code, hint := cause.StoreUnreachable, ""
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		code = cause.Cancelled
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code, hint = cause.DiskFull, "free some space in the store, and publish again"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code = cause.StoreDenied
	}
	return cause.Errorf(code, cause.FaultInfra, "store %s: %s %s: %w", d.path, what, name, err).Advise("%s", hint)
}

// flock takes a lock file, which stays where it is.
func (d *dirBackend) flock(name string, how int) (unlock func(), err error) {
	f, err := d.root.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, err
		}
	}
}

// ready makes the private directory, and sweeps up what killed writers left when nobody is writing.
func (d *dirBackend) ready() error {
	d.prepare.Do(func() {
		d.failed = d.root.MkdirAll(tmpDir, 0o755)
		if d.failed != nil {
			return
		}
		unlock, err := d.flock(tmpLock, unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return // a living process writes; the next one sweeps
		}
		if d.failed = err; err != nil {
			return
		}
		defer unlock()
		left, err := fs.ReadDir(d.root.FS(), tmpDir)
		d.failed = err
		for _, e := range left {
			d.failed = errors.Join(d.failed, d.root.RemoveAll(path.Join(tmpDir, e.Name())))
		}
	})
	return d.failed
}

func (d *dirBackend) put(ctx context.Context, name string, c content, only condition) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", d.fail("write", name, err)
	}
	version, err := d.write(name, c, only)
	return version, d.fail("write", name, err)
}

func (d *dirBackend) write(name string, c content, only condition) (version string, err error) {
	if err := d.ready(); err != nil {
		return "", err
	}
	writing, err := d.flock(tmpLock, unix.LOCK_SH)
	if err != nil {
		return "", err
	}
	defer writing()
	tmp := path.Join(tmpDir, rand.Text())
	if err := d.fill(tmp, c); err != nil {
		return "", errors.Join(err, d.discard(tmp))
	}
	if version, err = d.commit(tmp, name, only); err != nil {
		return "", errors.Join(err, d.discard(tmp))
	}
	return version, nil
}

func (d *dirBackend) discard(tmp string) error {
	if err := d.root.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// fill writes content to a new file and syncs it.
func (d *dirBackend) fill(tmp string, c content) error {
	if _, err := c.r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	f, err := d.root.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	h := sha256.New()
	// One byte more than there should be is enough to see that the file has changed.
	n, err := io.Copy(io.MultiWriter(f, h), io.LimitReader(c.r, c.size+1))
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if got := archive.Digest(hex.EncodeToString(h.Sum(nil))); n != c.size || got != c.sha256 {
		return changedUnderway(c, got)
	}
	return nil
}

func changedUnderway(c content, got archive.Digest) error {
	return cause.Errorf(cause.StoreCorrupt, cause.FaultInfra, "what is to be published has sha256 %s, and not the %s it was built with", got, c.sha256).
		Advise("build it again: its file was changed after the build")
}

// commit renames tmp to name if the condition is met.
func (d *dirBackend) commit(tmp, name string, only condition) (string, error) {
	if err := d.mkdirs(path.Dir(name)); err != nil {
		return "", err
	}
	unlock, err := d.flock(commitLock, unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer unlock()
	if only != (condition{}) {
		now, err := d.info(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if only.version != "" {
				return "", errChanged
			}
		case err != nil:
			return "", err
		case only.absent || only.version != now.version:
			return "", errChanged
		}
	}
	if err := d.root.Rename(tmp, name); err != nil {
		return "", err
	}
	if err := d.sync(path.Dir(name)); err != nil {
		return "", err
	}
	now, err := d.info(name)
	return now.version, err
}

// mkdirs makes a directory and those above, each of them on the disk before anything is put into it.
func (d *dirBackend) mkdirs(name string) error {
	if name == "." {
		return nil
	}
	if err := d.mkdirs(path.Dir(name)); err != nil {
		return err
	}
	err := d.root.Mkdir(name, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.sync(path.Dir(name))
}

// sync brings the names in a directory to the disk.
func (d *dirBackend) sync(name string) error {
	f, err := d.root.Open(name)
	if err != nil {
		return err
	}
	err = f.Sync()
	if errors.Is(err, syscall.EINVAL) {
		err = nil // a file system that does not sync directories (vboxsf, some FUSE)
	}
	return errors.Join(err, f.Close())
}

// info tells a file from any that had its name before: each is a new inode, or at least has another time.
func (d *dirBackend) info(name string) (info, error) {
	s, err := d.root.Lstat(name)
	if err != nil {
		return info{}, err
	}
	if !s.Mode().IsRegular() {
		return info{}, fmt.Errorf("%s, not a file", s.Mode().Type())
	}
	return d.infoOf(name, s), nil
}

func (d *dirBackend) infoOf(name string, s fs.FileInfo) info {
	var inode uint64
	if st, ok := s.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return info{name: name, size: s.Size(), version: fmt.Sprintf("%d-%d-%d", inode, s.ModTime().UnixNano(), s.Size())}
}

func (d *dirBackend) stat(_ context.Context, name string) (info, error) {
	i, err := d.info(name)
	return i, d.fail("look at", name, err)
}

func (d *dirBackend) open(_ context.Context, name string) (io.ReadCloser, string, error) {
	f, err := d.root.Open(name)
	if err != nil {
		return nil, "", d.fail("read", name, err)
	}
	s, err := f.Stat()
	if err == nil && !s.Mode().IsRegular() {
		err = fmt.Errorf("%s, not a file", s.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, "", d.fail("read", name, err)
	}
	return f, d.infoOf(name, s).version, nil
}

func (d *dirBackend) digest(ctx context.Context, name string) (archive.Digest, error) {
	return hashed(ctx, d, name)
}

// hashed reads an object to its end.
func hashed(ctx context.Context, b backend, name string) (archive.Digest, error) {
	r, _, err := b.open(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", cause.Errorf(cause.StoreUnreachable, cause.FaultInfra, "store %s: read %s: %w", b, name, err)
	}
	return archive.Digest(hex.EncodeToString(h.Sum(nil))), nil
}

func (d *dirBackend) remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return d.fail("remove", name, err)
	}
	err := d.root.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = d.sync(path.Dir(name))
	}
	return d.fail("remove", name, err)
}

func (d *dirBackend) list(ctx context.Context, prefix string) iter.Seq2[info, error] {
	return func(yield func(info, error) bool) {
		start, _, _ := strings.Cut(prefix, "/")
		if start == "" {
			start = "."
		}
		err := fs.WalkDir(d.root.FS(), start, func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case ctx.Err() != nil:
				return ctx.Err()
			case e.IsDir() && name == privateDir:
				return fs.SkipDir
			case !e.Type().IsRegular() || !strings.HasPrefix(name, prefix):
				return nil
			}
			s, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed since its directory was read
			}
			if err != nil {
				return err
			}
			if !yield(d.infoOf(name, s), nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(info{}, d.fail("list", prefix, err))
		}
	}
}

func (d *dirBackend) versions(context.Context) ([]string, error) {
	all, err := fs.ReadDir(d.root.FS(), ".")
	if err != nil {
		return nil, d.fail("list", "", err)
	}
	var out []string
	for _, e := range all {
		if e.IsDir() && checkVersion(e.Name()) == nil {
			out = append(out, e.Name())
		}
	}
	return out, nil
}
