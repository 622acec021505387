// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

// writeTar writes the tree at dir, the same bytes for the same tree: sorted, all of root's, all of one time.
// What is neither directory, file nor link is an error: no build root holds such.
func writeTar(ctx context.Context, dir string, w io.Writer) error {
	in, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer in.Close()
	t := tar.NewWriter(w)
	first := map[uint64]string{} // of each inode with several names: the name it came under
	err = fs.WalkDir(in.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == "." {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		return writeEntry(t, in, name, fi, first)
	})
	return errors.Join(err, t.Close())
}

func writeEntry(t *tar.Writer, in *os.Root, name string, fi fs.FileInfo, first map[uint64]string) error {
	h := &tar.Header{Name: name, Mode: int64(fi.Mode().Perm()), ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
	switch {
	case fi.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		if name == "tmp" {
			h.Mode = 0o1777 // the runtime gives the tmpfs there the mode of the directory below, whatever it is asked for
		}
		return t.WriteHeader(h)
	case fi.Mode()&fs.ModeSymlink != 0:
		target, err := in.Readlink(name)
		if err != nil {
			return err
		}
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, target, 0o777
		return t.WriteHeader(h)
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is a %s: not a file of a build root", path.Join("/", name), fi.Mode().Type())
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		if known := first[st.Ino]; known != "" {
			h.Typeflag, h.Linkname = tar.TypeLink, known
			return t.WriteHeader(h)
		}
		first[st.Ino] = name
	}
	h.Typeflag, h.Size = tar.TypeReg, fi.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	f, err := in.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(t, f)
	return err
}
