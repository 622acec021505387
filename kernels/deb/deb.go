// SPDX-License-Identifier: Apache-2.0

// Package deb knows the format of a Debian binary package, and how to unpack one that nobody vouches for.
//
// Maintainer scripts are never run.
package deb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/unpack"
	"github.com/mews-farm/mews/results/cause"
)

// What a package can be refused for, all under PACKAGE_CORRUPT; anything else is damage.
var (
	ErrLimit   = unpack.ErrLimit   // unpacks to more than Limits allow
	ErrUnsafe  = unpack.ErrUnsafe  // absolute names, .. and the like
	ErrSpecial = unpack.ErrSpecial // device nodes and other special files
)

// Limits bound what a package may unpack to. The zero value of a field means its default.
type Limits = unpack.Limits

// Walk calls fn for every entry of the data archive of the .deb at file, in its order. Names are cleaned and relative;
// the directory itself is ".". r yields the content of regular files. Device nodes, absolute names and names
// with .. are errors. fn may return [fs.SkipAll] to end early; other errors of fn are returned as they are.
func Walk(ctx context.Context, file string, lim Limits, fn func(h *tar.Header, r io.Reader) error) error {
	err := walk(ctx, file, "data.tar", lim.OrDefault(), fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

// Control returns the fields of the package's control file, by their names as written there.
func Control(file string) (map[string]string, error) {
	const maxControl = 1 << 20
	var text []byte
	err := walk(context.Background(), file, "control.tar", Limits{Bytes: 64 << 20, Files: 10_000}, func(h *tar.Header, r io.Reader) (err error) {
		if h.Name != "control" {
			return nil
		}
		if text, err = io.ReadAll(io.LimitReader(r, maxControl+1)); err != nil {
			return unpack.Corrupt(file, err)
		}
		if len(text) > maxControl {
			return unpack.Corrupt(file, ErrLimit)
		}
		return fs.SkipAll
	})
	if err != nil && !errors.Is(err, fs.SkipAll) {
		return nil, err
	}
	if text == nil {
		return nil, unpack.Corrupt(file, errors.New("has no control file"))
	}
	return fields(text), nil
}

// fields reads one paragraph of deb-control(5); continuation lines are joined by newlines.
func fields(text []byte) map[string]string {
	out := map[string]string{}
	var last string
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		if strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\t") {
			if last != "" {
				out[last] += "\n" + strings.TrimSpace(s)
			}
			continue
		}
		if k, v, ok := strings.Cut(s, ":"); ok {
			last = k
			out[k] = strings.TrimSpace(v)
		}
	}
	return out
}

// walk reads the tar archive whose member's name begins with stem.
func walk(ctx context.Context, file, stem string, lim Limits, fn func(*tar.Header, io.Reader) error) error {
	f, err := os.Open(file)
	if err != nil {
		return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "open package: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return unpack.Corrupt(file, err)
	}
	members, err := arMembers(f, fi.Size())
	if err != nil {
		return unpack.Corrupt(file, err)
	}
	if err := checkFormat(members); err != nil {
		return unpack.Corrupt(file, err)
	}
	for _, m := range members {
		got, suffix := decompress.Split(m.name)
		if got != stem {
			if strings.HasPrefix(m.name, stem+".") {
				return unpack.Corrupt(file, fmt.Errorf("%s: %w", m.name, decompress.ErrFormat))
			}
			continue
		}
		z, err := decompress.NewReader(bufio.NewReaderSize(m.data, 64<<10), suffix, lim.Bytes)
		if err != nil {
			return unpack.Corrupt(file, err)
		}
		defer z.Close()
		return unpack.Tar(ctx, file, z, lim, fn)
	}
	return unpack.Corrupt(file, fmt.Errorf("has no %s", stem))
}

// checkFormat wants what deb(5) puts first: debian-binary, major version 2.
func checkFormat(members []member) error {
	if len(members) == 0 || members[0].name != "debian-binary" {
		return errors.New("does not begin with debian-binary")
	}
	b, err := io.ReadAll(io.LimitReader(members[0].data, 16))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(b, []byte("2.")) {
		return fmt.Errorf("has format version %q, not 2.x", bytes.TrimSpace(b))
	}
	return nil
}
