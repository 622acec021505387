// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/deb"
	"github.com/mews-farm/mews/kernels/internal/disk"
	"github.com/mews-farm/mews/kernels/rpm"
	"github.com/mews-farm/mews/results/cause"
)

const (
	maxTree    = 8 << 30 // bytes of one kernel's files; Debian's have 400 MB, with -dbg 5 GB
	maxPackage = 8 << 30
)

// isPackage tells by a file's name whether it is a package.
func isPackage(path string) bool {
	ext := filepath.Ext(path)
	return ext == ".deb" || ext == ".rpm"
}

// takePackage takes a package into the archive, by what it says of itself; its file's name does not matter.
// One that is damaged or of no kernel is skipped.
func (c *collector) takePackage(ctx context.Context, path string, o Options) error {
	read := describeDeb
	if filepath.Ext(path) == ".rpm" {
		read = describeRPM
	}
	a, err := read(path, o)
	if err != nil {
		c.skip(path, filepath.Base(path), err)
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return unreadable(path, err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return unreadable(path, err)
	}
	if a.Package.Digest, err = o.Archive.Add(ctx, f, maxPackage); err != nil {
		return err
	}
	a.Package.Size = fi.Size()
	c.read++
	c.add(path, a)
	return nil
}

func describeDeb(path string, o Options) (Artifact, error) {
	control, err := deb.Control(path)
	if err != nil {
		return Artifact{}, err
	}
	// Both distributions say who maintains the package; a rebuild of one's own may not.
	distro := o.Distro
	if distro == "" {
		distro = maintainer(control["Maintainer"])
	}
	return fromDeb(control["Package"], control["Version"], control["Architecture"], distro)
}

func describeRPM(path string, o Options) (Artifact, error) {
	p, err := rpm.Open(path)
	if err != nil {
		return Artifact{}, err
	}
	a, err := fromRPM(nvra{p.Name, p.EVR.Version, p.EVR.Release, p.Arch}, o.Distro)
	if err != nil {
		return Artifact{}, err
	}
	// Where its files lie is what depmod and the boot loader go by: a package of one's own may be named otherwise.
	for _, f := range p.Files {
		if m := releaseDir.FindStringSubmatch(f.Name); m != nil {
			a.Release = m[1]
			break
		}
	}
	return a, nil
}

// item is a file, a tree or a text, and its place in a package.
type item struct {
	from string
	text []byte // in place of from
	to   string
}

// pack makes a .tar.zst of files and takes it into the archive. The same files give the same digest.
func pack(ctx context.Context, name string, k kernels.Kernel, items []item, o Options) (*kernels.Package, error) {
	r, w := io.Pipe()
	sum := &counted{r: r}
	go func() { w.CloseWithError(write(ctx, w, items)) }()
	d, err := o.Archive.Add(ctx, sum, maxTree)
	r.Close() // ends the writer where the archive stopped reading
	if err != nil {
		return nil, err
	}
	return &kernels.Package{Name: name + "-" + k.Release, Version: "local", Arch: k.Arch, Digest: d, Size: sum.n}, nil
}

type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// write packs items; what is no file, directory or link is left out.
func write(ctx context.Context, out io.Writer, items []item) error {
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	p := &packer{ctx: ctx, tw: tar.NewWriter(z), left: maxTree}
	for _, i := range items {
		if err := p.tree(i); err != nil {
			return err
		}
	}
	return errors.Join(p.tw.Close(), z.Close())
}

type packer struct {
	ctx   context.Context
	tw    *tar.Writer
	left  int64 // bytes that may come yet
	files int
}

func (p *packer) tree(i item) error {
	if i.text != nil {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: i.to, Mode: 0o644, Size: int64(len(i.text)), ModTime: epoch, Format: tar.FormatPAX}
		if err := p.tw.WriteHeader(h); err != nil {
			return err
		}
		_, err := p.tw.Write(i.text)
		return err
	}
	return filepath.WalkDir(i.from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return unreadable(name, err)
		}
		if err := disk.Ctx(p.ctx, "pack "+i.from); err != nil {
			return err
		}
		rel, err := filepath.Rel(i.from, name)
		if err != nil {
			return unreadable(name, err)
		}
		// modules/build and source lead to headers on the machine they were installed on.
		if d.Type() == fs.ModeSymlink && (rel == "build" || rel == "source") {
			return nil
		}
		if p.files++; p.files > maxItems {
			return tooLong(i.from)
		}
		return p.entry(name, filepath.Join(i.to, rel), d)
	})
}

// epoch is the time of everything packed, so that the digest tells content apart and nothing else.
var epoch = time.Unix(1, 0)

func (p *packer) entry(from, to string, d fs.DirEntry) error {
	fi, err := d.Info()
	if err != nil {
		return unreadable(from, err)
	}
	h := &tar.Header{Name: to, Mode: int64(fi.Mode().Perm()), ModTime: epoch, Format: tar.FormatPAX}
	switch fi.Mode().Type() {
	case fs.ModeDir:
		h.Typeflag, h.Name, h.Mode = tar.TypeDir, to+"/", 0o755
		return p.tw.WriteHeader(h)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(from); err != nil {
			return unreadable(from, err)
		}
		return p.tw.WriteHeader(h)
	case 0:
	default:
		return nil
	}
	f, err := os.Open(from)
	if err != nil {
		return unreadable(from, err)
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, fi.Size()
	if p.left -= h.Size; p.left < 0 {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "import %s: the kernel has more than %d bytes of files", from, int64(maxTree))
	}
	if err := p.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", from, err)
	}
	if _, err := io.CopyN(p.tw, f, h.Size); err != nil {
		return unreadable(from, err)
	}
	return nil
}
