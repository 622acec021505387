// SPDX-License-Identifier: Apache-2.0

package unpack

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mews-farm/mews/kernels/internal/disk"
)

// Below writes what walk yields of the package at file below dir, which must exist: nothing is written outside it.
// Entries for which filter (may be nil) returns false are left out; it is asked with cleaned names, such as usr/bin/sh.
// Several packages may be unpacked into one dir, with dpkg's rules: a directory and a link to one are the same thing,
// and a file replaces a file. Links are followed as if dir were the root of the file system.
// Owners are not set and set-user-ID bits are dropped, so root is neither needed nor of any use.
func Below(file, dir string, filter func(name string) bool, walk func(Visit) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return disk.Err(err, dir)
	}
	defer root.Close()
	u := &unpacker{root: root, real: map[string]string{".": "."}}
	defer u.leave()
	return walk(func(h *tar.Header, r io.Reader) error {
		if h.Name == "." || filter != nil && !filter(h.Name) {
			return nil
		}
		in := &source{r: r}
		err := u.entry(h, in)
		switch {
		case err == nil:
			return nil
		case in.err != nil:
			return Corrupt(file, in.err)
		case errors.Is(err, ErrUnsafe), errors.Is(err, ErrClash), errors.Is(err, fs.ErrNotExist):
			return Corrupt(file, err)
		}
		return disk.Err(err, filepath.Join(dir, h.Name))
	})
}

// source remembers that reading the package failed, so that the failure is not taken for one of writing.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

type unpacker struct {
	root *os.Root
	real map[string]string // directories by their names in archives, with all links followed

	// Entries come sorted by directory: keeping the last one open saves os.Root a walk per file.
	cwd  *os.Root
	name string // of cwd, links followed
}

func (u *unpacker) leave() {
	if u.cwd != nil {
		u.cwd.Close()
		u.cwd = nil
	}
}

func (u *unpacker) entry(h *tar.Header, r io.Reader) error {
	parent, err := u.follow(path.Dir(h.Name), true)
	if err != nil {
		return err
	}
	if err := u.enter(parent); err != nil {
		return err
	}
	base := path.Base(h.Name)
	old, err := u.cwd.Lstat(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.dir(h, old)
	case tar.TypeSymlink:
		if old != nil && old.IsDir() {
			return nil // as dpkg: a directory stays when a package has a link there
		}
		if err := u.clear(h.Name, base, old); err != nil {
			return err
		}
		return u.cwd.Symlink(h.Linkname, base)
	case tar.TypeLink:
		return u.link(h, base, old)
	}
	if err := u.clear(h.Name, base, old); err != nil {
		return err
	}
	return u.file(h, base, r)
}

// dir makes a directory, or leaves be what leads to one.
func (u *unpacker) dir(h *tar.Header, old fs.FileInfo) error {
	base := path.Base(h.Name)
	switch {
	case old == nil:
		// Its owner must be able to write into it, whatever the package says.
		return u.cwd.Mkdir(base, h.FileInfo().Mode().Perm()|0o700)
	case old.IsDir():
		return u.cwd.Chmod(base, h.FileInfo().Mode().Perm()|0o700)
	case old.Mode().Type() == fs.ModeSymlink:
		_, err := u.follow(h.Name, true)
		return err
	}
	return fmt.Errorf("directory %q: a file %w", h.Name, ErrClash)
}

func (u *unpacker) file(h *tar.Header, base string, r io.Reader) error {
	perm := h.FileInfo().Mode().Perm() | 0o400
	f, err := u.cwd.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, perm)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	if err := f.Chmod(perm); err != nil { // not what umask left of it
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return u.cwd.Chtimes(base, h.ModTime, h.ModTime)
}

// link makes a hard link to a regular file unpacked before.
func (u *unpacker) link(h *tar.Header, base string, old fs.FileInfo) error {
	dir, err := u.follow(path.Dir(h.Linkname), false)
	if err != nil {
		return err
	}
	target := path.Join(dir, path.Base(h.Linkname))
	fi, err := u.root.Lstat(target)
	if err != nil {
		return fmt.Errorf("hard link %q to %q: %w", h.Name, h.Linkname, err)
	}
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("hard link %q to %q, not a file, %w", h.Name, h.Linkname, ErrUnsafe)
	}
	if old != nil && os.SameFile(old, fi) {
		return nil
	}
	if err := u.clear(h.Name, base, old); err != nil {
		return err
	}
	return u.root.Link(target, path.Join(u.name, base))
}

// clear makes way for a new file or link.
func (u *unpacker) clear(name, base string, old fs.FileInfo) error {
	if old == nil {
		return nil
	}
	if old.IsDir() {
		return fmt.Errorf("file %q: a directory %w", name, ErrClash)
	}
	clear(u.real) // names that led through it lead elsewhere now
	return u.cwd.Remove(base)
}

func (u *unpacker) enter(dir string) error {
	if u.cwd != nil && u.name == dir {
		return nil
	}
	next, err := u.root.OpenRoot(dir)
	if err != nil {
		return err
	}
	u.leave()
	u.cwd, u.name = next, dir
	return nil
}

// follow resolves a directory's name to one without links, as chroot(2) would: absolute targets start at the root,
// and .. stays in it. (os.Root alone refuses absolute targets, which Debian has: /etc/alternatives.)
// What is missing is made when asked for.
func (u *unpacker) follow(name string, create bool) (string, error) {
	if real, ok := u.real[name]; ok {
		return real, nil
	}
	const maxLinks = 40 // as the kernel's own limit
	done, links := ".", 0
	todo := strings.Split(name, "/")
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		fi, err := u.root.Lstat(next)
		switch {
		case errors.Is(err, fs.ErrNotExist) && create:
			if err := u.root.Mkdir(next, 0o755); err != nil {
				return "", err
			}
			done = next
		case err != nil:
			return "", err
		case fi.IsDir():
			done = next
		case fi.Mode().Type() == fs.ModeSymlink:
			if links++; links > maxLinks {
				return "", fmt.Errorf("%q: too many links: %w", name, ErrUnsafe)
			}
			target, err := u.root.Readlink(next)
			if err != nil {
				return "", err
			}
			if path.IsAbs(target) {
				done = "."
			}
			todo = append(strings.Split(target, "/"), todo...)
		default:
			return "", fmt.Errorf("%q: a file %w", next, ErrClash)
		}
	}
	u.real[name] = done
	return done, nil
}
