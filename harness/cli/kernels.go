// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mews-farm/mews/harness/matrix"
	"github.com/mews-farm/mews/harness/parts"
	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/catalog"
	"github.com/mews-farm/mews/results"
	"github.com/mews-farm/mews/results/cause"
)

func newKernels(s Streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "kernels",
		Short: "Keep the catalogue of kernels, and the archive of those that were fetched",
		Long: `kernels asks the distributions which kernels they have, and remembers every one it ever saw: a kernel that is
gone from its mirror stays in the catalogue, as withdrawn. What was fetched stays in the archive, verified, and can be
run without a network.

A kernel is named [distro:]release, as uname -r has it; a kernel of COS by its build id. Where that names several,
release#version and --arch tell them apart.`,
		Example: `  mews kernels update debian
  mews kernels list --distro debian --match '6.12.*-cloud-amd64'
  mews kernels show debian:6.1.0-56-cloud-amd64
  mews kernels fetch debian:6.1.0-56-cloud-amd64`,
	}
	c.AddCommand(newKernelsUpdate(s), newKernelsSources(s), newKernelsList(s), newKernelsShow(s), newKernelsFetch(s), newKernelsImport(s),
		newKernelsExport(s), newKernelsImportArchive(s), newKernelsArchive(s))
	return c
}

// kernelFlags are those that all commands about kernels share.
type kernelFlags struct {
	file    string
	offline bool
	given   bool // the file, on the command line
}

func (f *kernelFlags) add(c *cobra.Command) {
	c.Flags().StringVarP(&f.file, "file", "f", "matrix.yaml", "the matrix, of which `sources:` counts; none is needed")
	c.Flags().BoolVar(&f.offline, "offline", false, "use the archive alone; touch no network")
	c.PreRun = func(*cobra.Command, []string) { f.given = c.Flags().Changed("file") }
}

func addArch(c *cobra.Command, arch *string) {
	c.Flags().StringVar(arch, "arch", "", "x86_64 or aarch64, where a release is there for both")
}

// store is what the commands about kernels work on.
type store struct {
	catalog *catalog.Catalog
	archive *archive.Archive
	sources *parts.Sources
}

func (s *store) close() error { return s.catalog.Close() }

// openStore opens the catalogue and the archive. No source is opened yet.
func openStore(ctx context.Context, s Streams, f kernelFlags) (*store, error) {
	dir, err := archive.DefaultDir()
	if err != nil {
		return nil, err
	}
	a, err := archive.New(dir)
	if err != nil {
		return nil, err
	}
	conf, err := f.sources()
	if err != nil {
		return nil, err
	}
	path, err := catalog.DefaultPath()
	if err != nil {
		return nil, err
	}
	c, err := catalog.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	return &store{c, a, &parts.Sources{Matrix: conf, Archive: a, Offline: f.offline, Warn: warnTo(s.Err)}}, nil
}

// sources reads the sources of the matrix. Without one, all is as the sources have it by themselves.
func (f kernelFlags) sources() (matrix.Sources, error) {
	if _, err := os.Stat(f.file); errors.Is(err, fs.ErrNotExist) && !f.given {
		return matrix.Sources{}, nil
	}
	m, _, err := parts.Load(f.file)
	if err != nil {
		return matrix.Sources{}, err
	}
	return m.Sources, nil
}

// lacking gives err the exit code of a verdict that is lacking: the call was a good one, and something failed.
func lacking(err error) error {
	if err == nil {
		return nil
	}
	if cause.Of(err).Cause == cause.Cancelled {
		return &exitError{exitInterrupted, err}
	}
	return &exitError{results.ExitLacking, err}
}

// all are the packages of a kernel.
func all(e kernels.Entry) []kernels.Package {
	return append(append([]kernels.Package{}, e.Image...), e.Headers...)
}

// held reports whether the archive has all of packages. None at all are not held.
func (s *store) held(packages []kernels.Package) bool {
	for _, p := range packages {
		if !s.has(p) {
			return false
		}
	}
	return len(packages) > 0
}

func (s *store) has(p kernels.Package) bool {
	if p.Digest == "" {
		return false
	}
	_, err := s.archive.Path(p.Digest)
	return err == nil
}

// writeAtomically writes the file at path, of which nothing is left when write fails.
func writeAtomically(path string, write func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once it was renamed
	err = write(f)
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
