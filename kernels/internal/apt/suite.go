// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/mews-farm/mews/kernels/internal/decompress"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

const (
	maxInRelease = 16 << 20  // sid's has 190 KB
	maxPackages  = 512 << 20 // decompressed; sid's has 65 MB
)

// forms are those of an index that mirrors have, the smallest first.
var forms = []string{".xz", ".gz"}

// opened is a verified InRelease, and what it names of the suite's index.
type opened struct {
	text  []byte
	rel   *release
	files []named
}

// open verifies the InRelease of suite, once in a Source's life.
func (s *Source) open(ctx context.Context, suite string) (*opened, error) {
	s.mu.Lock()
	o := s.releases[suite]
	s.mu.Unlock()
	if o != nil {
		return o, nil
	}
	read := s.fetched
	if s.o.Offline {
		read = s.archived
	}
	o, err := read(ctx, suite)
	if err != nil {
		return nil, err
	}
	if o.files, err = s.packagesFiles(o.rel, suite); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.releases[suite] = o
	s.mu.Unlock()
	return o, nil
}

// fetched reads the InRelease that the mirror has now.
func (s *Source) fetched(ctx context.Context, suite string) (*opened, error) {
	url := s.o.Base(suite) + "/dists/" + suite + "/InRelease"
	text, err := s.get.Read(ctx, url, suite+"/InRelease", maxInRelease)
	if err != nil {
		return nil, err
	}
	rel, err := openRelease(text, s.keys, s.o.Now())
	if err != nil {
		return nil, s.badRelease(url, err)
	}
	if !rel.names(suite) {
		return nil, s.badRelease(url, fmt.Errorf("it is the file of suite %s (%s)", rel.codename, rel.suite))
	}
	return &opened{text: text, rel: rel}, s.checkAge(rel, suite, url)
}

// load brings the index that the InRelease of suite names, and reads it.
// Only when both are in the archive does the suite's name there change to them: --offline finds a pair or nothing.
func (s *Source) load(ctx context.Context, suite string) (*Index, error) {
	o, err := s.open(ctx, suite)
	if err != nil {
		return nil, err
	}
	x, err := s.loadOpened(ctx, suite, o)
	if err != nil {
		// A mirror in the middle of an update has an InRelease without its index: who asks again gets the next one.
		s.mu.Lock()
		delete(s.releases, suite)
		s.mu.Unlock()
	}
	return x, err
}

func (s *Source) loadOpened(ctx context.Context, suite string, o *opened) (*Index, error) {
	if s.o.Offline {
		return s.readIndex(suite, o.files)
	}
	for _, f := range o.files {
		if err := s.fetchIndex(ctx, s.o.Base(suite)+"/dists/"+suite+"/", suite, o.rel, f); err != nil {
			return nil, err
		}
	}
	x, err := s.readIndex(suite, o.files)
	if err != nil {
		return nil, err
	}
	d, err := s.o.Archive.Add(ctx, bytes.NewReader(o.text), maxInRelease)
	if err != nil {
		return nil, err
	}
	for _, f := range o.files {
		if err := s.o.Archive.SetRef(s.indexRef(suite, f), f.digest); err != nil {
			return nil, err
		}
	}
	return x, s.o.Archive.SetRef(s.ref(suite), d)
}

// indexRef is a name for an index, which keeps it from eviction: what InRelease names is no name to the archive.
func (s *Source) indexRef(suite string, f named) string {
	return s.o.Distro + "-index/" + suite + "/" + strings.ReplaceAll(path.Dir(f.name), "/", "-")
}

// ref is the archive's name for the InRelease of suite. Each architecture has its own: two that were fetched at
// different times would else not both find their indexes.
func (s *Source) ref(suite string) string {
	if s.o.Arch == "amd64" {
		return s.o.Distro + "/" + suite
	}
	return s.o.Distro + "-" + s.o.Arch + "/" + suite
}

// archived reads the InRelease that the archive holds. The signature is judged as of the day it was made: the keys
// were good when it was archived, and their end must not make old results impossible to repeat.
func (s *Source) archived(_ context.Context, suite string) (*opened, error) {
	d, err := s.o.Archive.Ref(s.ref(suite))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "suite %s is not in the archive", suite).
			Advise("run once without --offline")
	}
	if err != nil {
		return nil, err
	}
	f, err := s.o.Archive.Open(d)
	if err != nil {
		return nil, lost(suite, err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxInRelease))
	if err != nil {
		return nil, lost(suite, err)
	}
	rel, err := openRelease(text, s.keys, signedDay(text, s.o.Now()))
	if err != nil {
		return nil, s.badRelease(f.Name(), err)
	}
	if !rel.names(suite) {
		return nil, s.badRelease(f.Name(), fmt.Errorf("it is the file of suite %s (%s)", rel.codename, rel.suite))
	}
	if rel.expired(s.o.Now()) {
		s.o.Warn(fmt.Sprintf("%s: offline, by an index that was valid until %s", suite, rel.validUntil.Format(time.DateOnly)))
	}
	return &opened{text: text, rel: rel}, nil
}

// signedDay reads the Date of a release file before it is verified; without one it is now.
func signedDay(text []byte, now time.Time) time.Time {
	for line := range bytes.Lines(text) {
		if v, ok := bytes.CutPrefix(line, []byte("Date: ")); ok {
			if t, err := parseDate(string(bytes.TrimSpace(v))); err == nil {
				// The signature is made some time after the file was dated.
				return t.Add(24 * time.Hour)
			}
		}
	}
	return now
}

func (r *release) expired(now time.Time) bool {
	return !r.validUntil.IsZero() && now.After(r.validUntil)
}

// checkAge holds rel against the clock. An old one may be a mirror that hides security updates.
func (s *Source) checkAge(rel *release, suite, url string) error {
	if !rel.expired(s.o.Now()) {
		return nil
	}
	text := fmt.Sprintf("%s: the mirror's InRelease was valid until %s", suite, rel.validUntil.Format(time.RFC3339))
	if s.o.ValidUntil(suite) == Warn {
		s.o.Warn(text)
		return nil
	}
	return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s", text).
		With(cause.Text(url, "the clock here says "+s.o.Now().UTC().Format(time.RFC3339))...).
		Advise("for a mirror that is a snapshot set `valid_until: warn` for this source")
}

// named is an index file with its name below dists/<suite>/.
type named struct {
	indexFile
	name string
}

// packagesFiles chooses the form of the index of each component. A suite need not have every component.
func (s *Source) packagesFiles(rel *release, suite string) ([]named, error) {
	var out []named
	for _, component := range s.o.Components {
		stem := component + "/binary-" + s.o.Arch + "/Packages"
		for _, form := range forms {
			if f, ok := rel.files[stem+form]; ok {
				out = append(out, named{f, stem + form})
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "suite %s has no %s/binary-%s/Packages.xz or .gz",
			suite, strings.Join(s.o.Components, " or "), s.o.Arch).
			Advise("does the suite hold architecture %s?", s.o.Arch)
	}
	return out, nil
}

// fetchIndex brings an index into the archive, by its hash where the mirror has that: the plain name may
// already be that of the next update.
func (s *Source) fetchIndex(ctx context.Context, dists, suite string, rel *release, f named) error {
	if _, err := s.o.Archive.Path(f.digest); err == nil {
		return nil
	}
	item := suite + "/" + f.name
	if rel.byHash {
		_, err := s.get.Put(ctx, dists+path.Dir(f.name)+"/by-hash/SHA256/"+string(f.digest), item, f.digest, f.size)
		if !errors.Is(err, get.ErrNotFound) {
			return err
		}
	}
	_, err := s.get.Put(ctx, dists+f.name, item, f.digest, f.size)
	return err
}

// readIndex reads the archived index files of suite.
func (s *Source) readIndex(suite string, files []named) (*Index, error) {
	x := newIndex(suite, s.o.Base(suite), s.o.Keep)
	for _, f := range files {
		packed, err := s.o.Archive.Open(f.digest)
		if err != nil {
			return nil, lost(suite, err)
		}
		err = x.unpack(packed, f.name)
		packed.Close()
		if err != nil {
			return nil, badIndex(suite, f.name, err)
		}
	}
	return x, nil
}

// unpack reads a Packages file compressed as the end of its name says.
func (x *Index) unpack(r io.Reader, name string) error {
	_, suffix := decompress.Split(name)
	z, err := decompress.NewReader(r, suffix, maxPackages)
	if err != nil {
		return err
	}
	defer z.Close()
	return x.read(z)
}

func badIndex(suite, name string, err error) error {
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "index %s of suite %s: %w", name, suite, err)
}

func (s *Source) badRelease(where string, err error) error {
	return cause.Errorf(cause.SignatureInvalid, cause.FaultInfra, "%s: %w", where, err).
		Advise("a mirror that is not the distribution's own needs its own keyring; for a new release update %s", s.o.KeyringPackage)
}

// lost is an archived file that a name stands for and that cannot be read.
func lost(suite string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return cause.Errorf(cause.MirrorUnreachable, cause.FaultInfra, "the archive lost the index of suite %s: %w", suite, err).
			Advise("run once without --offline")
	}
	return cause.Errorf(cause.PackageCorrupt, cause.FaultInfra, "archived index of suite %s: %w", suite, err)
}
