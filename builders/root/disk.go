// SPDX-License-Identifier: Apache-2.0

package root

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

// File is a file that a disk holds besides its packages'.
type File struct {
	Path    string // relative
	Mode    int64  // permission bits; 0 means 0644
	Content []byte
	Target  string // of a symbolic link; Content is not used then
}

// DiskSpec says what is on a disk.
type DiskSpec struct {
	Packages []kernels.Package // all of them are unpacked
	Dirs     []string          // made empty, besides the usual mount points
	Files    []File            // replace files of the packages
}

// Image is a read-only disk: an ext4 file system without a partition table, the same bytes for the same spec.
type Image struct {
	Path     string // must not be written to
	Key      string // names its content
	Size     int64  // bytes
	Packages []archive.Digest
}

// guestDirs are the directories of every disk: something is mounted on most of them, because the disk is read-only.
var guestDirs = []string{"dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "usr", "var"}

// epoch is the time of whatever does not come out of a package.
var epoch = time.Unix(0, 0)

// Disk makes the disk that s describes.
func (c *Cache) Disk(ctx context.Context, s DiskSpec) (*Image, error) {
	extra := make([]string, 0, len(s.Dirs)+len(s.Files))
	for _, d := range s.Dirs {
		extra = append(extra, "dir "+d)
	}
	for _, f := range s.Files {
		extra = append(extra, fmt.Sprintf("file %q %o %q %q", f.Path, f.Mode, f.Target, f.Content))
	}
	slices.Sort(extra)
	k := key("disk", s.Packages, extra...)
	file, err := c.once(ctx, k+".ext4", func(tmp string) error {
		debs, err := c.fetch(ctx, s.Packages)
		if err != nil {
			return err
		}
		return diskErr("make a guest's disk", writeDisk(ctx, debs, s, tmp))
	})
	if err != nil {
		return nil, err
	}
	fi, err := os.Stat(file)
	if err != nil {
		return nil, diskErr("read a guest's disk", err)
	}
	c.progress("disk "+k[:8])(fi.Size(), fi.Size())
	return &Image{Path: file, Key: k, Size: fi.Size(), Packages: digests(s.Packages)}, nil
}

func writeDisk(ctx context.Context, debs []string, s DiskSpec, file string) error {
	out, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	pr, pw := io.Pipe()
	go func() {
		buffered := bufio.NewWriterSize(pw, 256<<10)
		err := writeTar(ctx, debs, s, buffered)
		pw.CloseWithError(errors.Join(err, buffered.Flush()))
	}()
	err = tar2ext4.ConvertTarToExt4(pr, out)
	pr.CloseWithError(err) // lets the writer end when the image could not be written
	if err == nil {
		err = padInodeBitmaps(out)
	}
	return errors.Join(err, out.Close())
}

func writeTar(ctx context.Context, debs []string, s DiskSpec, w io.Writer) error {
	t := tarWriter{tar.NewWriter(w), map[string]bool{}}
	for _, d := range slices.Concat(guestDirs, s.Dirs) {
		if err := t.dir(d); err != nil {
			return err
		}
	}
	for _, d := range merged {
		if err := errors.Join(t.dir("usr/"+d), t.link(d, "usr/"+d)); err != nil {
			return err
		}
	}
	replaced := map[string]bool{}
	for _, f := range s.Files {
		replaced[path.Clean(f.Path)] = true
	}
	skip := func(name string) bool { return replaced[name] || isBallast(name, nil) }
	names := map[string]bool{}
	err := entries(ctx, debs, skip, func(h *tar.Header, r io.Reader) error {
		names[h.Name] = true
		return t.entry(h, r)
	})
	if err != nil {
		return err
	}
	for _, f := range fixups {
		if names[f.needs] && !names[f.link] && !replaced[f.link] {
			if err := t.link(f.link, f.target); err != nil {
				return err
			}
		}
	}
	files := slices.Clone(s.Files)
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	for _, f := range files {
		if err := t.file(f); err != nil {
			return err
		}
	}
	return t.Close()
}

// tarWriter makes sure that every directory comes before what is in it, with times of its own.
type tarWriter struct {
	*tar.Writer
	made map[string]bool
}

func (t *tarWriter) header(h tar.Header) error {
	h.Format, h.Uname, h.Gname, h.PAXRecords = tar.FormatPAX, "", "", nil
	if h.ModTime.IsZero() {
		h.ModTime = epoch
	}
	h.AccessTime, h.ChangeTime = h.ModTime, h.ModTime
	return t.WriteHeader(&h)
}

func (t *tarWriter) dir(name string) error {
	name = path.Clean(name)
	if path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") {
		return cause.Errorf(cause.Internal, cause.FaultHarness, "disk: %q is not a path inside it", name)
	}
	if name == "." || t.made[name] {
		return nil
	}
	if err := t.dir(path.Dir(name)); err != nil {
		return err
	}
	t.made[name] = true
	mode := int64(0o755)
	if name == "tmp" || name == "var/tmp" {
		mode = 0o1777
	}
	return t.header(tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode})
}

func (t *tarWriter) link(name, target string) error {
	return t.header(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (t *tarWriter) file(f File) error {
	name := path.Clean(f.Path)
	if err := t.dir(path.Dir(name)); err != nil {
		return err
	}
	if f.Target != "" {
		return t.link(name, f.Target)
	}
	mode := f.Mode
	if mode == 0 {
		mode = 0o644
	}
	if err := t.header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(f.Content))}); err != nil {
		return err
	}
	_, err := t.Write(f.Content)
	return err
}

// entry copies an entry of a package.
func (t *tarWriter) entry(h *tar.Header, r io.Reader) error {
	if err := t.dir(path.Dir(h.Name)); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeDir {
		if t.made[h.Name] {
			return nil // the first package's mode and time hold
		}
		t.made[h.Name] = true
	}
	if err := t.header(*h); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}
