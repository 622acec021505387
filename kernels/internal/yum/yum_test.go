// SPDX-License-Identifier: Apache-2.0

package yum

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/rpmtest"
	"github.com/mews-farm/mews/kernels/internal/yumtest"
	"github.com/mews-farm/mews/results/cause"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// world is a distribution with one repository, signed, and a source that looks at it.
type world struct {
	t       *testing.T
	server  *yumtest.Server
	key     *openpgp.Entity
	keyFile string
	archive *archive.Archive
	warned  []string
	mu      sync.Mutex
}

const (
	at      = "/BaseOS"
	repomd  = at + "/repodata/repomd.xml"
	primary = at + "/repodata/primary.xml.gz"
	release = "4.18.0-553.el8_10.x86_64"
	coreAt  = at + "/Packages/kernel-core-4.18.0-553.el8_10.x86_64.rpm"
)

// theKey is the distribution's and strangersKey nobody's; making one takes a while.
var theKey, strangersKey *openpgp.Entity
var makeKeys sync.Once

func newWorld(t *testing.T) *world {
	t.Helper()
	makeKeys.Do(func() {
		theKey, strangersKey = rpmtest.Key(t, now.AddDate(-1, 0, 0), 2*365*24*time.Hour), rpmtest.Key(t, now, 0)
	})
	w := &world{t: t, server: yumtest.New(t), key: theKey, keyFile: filepath.Join(t.TempDir(), "RPM-GPG-KEY-test")}
	if err := os.WriteFile(w.keyFile, rpmtest.Public(t, w.key), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.archive, err = archive.New(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	w.server.Sign = rpmtest.Signer(t, w.key, now)
	w.publish()
	return w
}

// rpm is a package signed by key.
func (w *world) rpm(name, version string, key *openpgp.Entity) []byte {
	spec := rpmtest.Spec{Name: name, Version: version, Release: "553.el8_10", Arch: "x86_64", Compressor: "gzip",
		Files: []rpmtest.File{rpmtest.Regular("/lib/modules/x", "x")}}
	if key != nil {
		spec.Sign = rpmtest.Signer(w.t, key, now)
	}
	return spec.Build(w.t)
}

func (w *world) packages() []yumtest.Package {
	var out []yumtest.Package
	for _, name := range []string{"kernel-core", "kernel-modules", "kernel-devel"} {
		out = append(out, yumtest.Package{Name: name, Version: "4.18.0", Release: "553.el8_10", Arch: "x86_64", Content: w.rpm(name, "4.18.0", w.key)})
	}
	return out
}

func (w *world) publish(change ...func([]yumtest.Package)) {
	ps := w.packages()
	for _, c := range change {
		c(ps)
	}
	w.server.Publish(at, yumtest.XML, ps...)
}

// source looks at the world, and at a second repository that is always there.
func (w *world) source(change func(*Options, *Config)) *Source {
	w.t.Helper()
	o := Options{
		Archive: w.archive, Keyrings: []string{w.keyFile}, Arches: []string{"x86_64"}, Now: func() time.Time { return now },
		Patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
		Warn: func(text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.warned = append(w.warned, text)
		},
	}
	other := yumtest.New(w.t)
	c := Config{Name: "test", SignedIndex: true, KeyAt: "https://keys.example", Groups: func(context.Context, *Source) ([]Group, error) {
		lines := []Line{{Image: "kernel-core", With: []string{"kernel-modules"}}}
		return []Group{
			{Name: "8", Distro: "test", Arch: "x86_64", Lines: lines, Repos: []Repo{{Name: "BaseOS", Bases: []string{w.server.URL + at}}}},
			{Name: "9", Distro: "test", Arch: "x86_64", Lines: lines, Repos: []Repo{{Name: "other", Bases: []string{other.URL + "/other"}}}},
		}, nil
	}}
	other.Sign = rpmtest.Signer(w.t, w.key, now)
	other.Publish("/other", yumtest.XML, yumtest.Kernel("kernel-core", "5.14.0", "611.el9", "x86_64"))
	if change != nil {
		change(&o, &c)
	}
	s, err := New(o, c)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// have enumerates, and fetches the kernel-core of release 8.
func have(ctx context.Context, s *Source) (others int, err error) {
	entries, err := s.Enumerate(ctx)
	for _, e := range entries {
		if e.Repo != "8" {
			others++
			continue
		}
		r, rerr := s.Resolve(ctx, e)
		if rerr != nil {
			return others, rerr
		}
		if _, ferr := s.Fetch(ctx, r.Image[0]); ferr != nil {
			err = ferr
		}
	}
	return others, err
}

func TestChain(t *testing.T) {
	w := newWorld(t)
	s := w.source(nil)
	entries, err := s.Enumerate(t.Context())
	if err != nil || len(entries) != 2 {
		t.Fatalf("%+v, %v", entries, err)
	}
	e := entries[0]
	if e.Release != release || e.PackageVersion != "4.18.0-553.el8_10" || e.Source != "test" || e.Availability != kernels.Available || len(e.Image) != 2 || len(e.Headers) != 1 {
		t.Errorf("got %+v", e)
	}
	for range 2 {
		if _, err := have(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.server.Asked(coreAt); n != 1 {
		t.Errorf("kernel-core was asked for %d times", n)
	}

	// The mirror forgets the kernel. Its entry, without and with its packages, still resolves from what was seen.
	w.server.Publish(at, yumtest.XML)
	offline := w.source(func(o *Options, _ *Config) { o.Offline = true })
	e.Availability = kernels.Withdrawn
	r, err := offline.Resolve(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := offline.Fetch(t.Context(), r.Image[0]); err != nil {
		t.Error(err)
	}
	if _, err := offline.Fetch(t.Context(), r.Image[1]); cause.Of(err).Cause != cause.MirrorUnreachable {
		t.Errorf("never fetched, and yet there: %v", err)
	}
	if _, err := offline.Enumerate(t.Context()); cause.Of(err).Cause != cause.MirrorUnreachable {
		t.Errorf("listed offline: %v", err)
	}
	e.Image, e.Headers = nil, nil
	if _, err := s.Resolve(t.Context(), e); cause.Of(err).Cause != cause.PackageMissing {
		t.Errorf("resolved what is nowhere: %v", err)
	}
	w.publish()
	if r, err := s.Resolve(t.Context(), e); err != nil || len(r.Image) != 2 || len(r.Headers) != 1 {
		t.Errorf("did not look it up: %+v, %v", r, err)
	}
}

func TestErrors(t *testing.T) {
	page := func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<!DOCTYPE html>\n<html>sign in</html>")) }
	circle := func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for _, tc := range []struct {
		name  string
		spoil func(*world)
		want  cause.Cause
		says  string
	}{
		{"repomd.xml gone", func(w *world) { w.server.Handle(repomd, http.NotFound) }, cause.MirrorUnreachable, "404"},
		{"index gone", func(w *world) { w.server.Handle(primary, http.NotFound) }, cause.MirrorUnreachable, "404"},
		{"package gone", func(w *world) { w.server.Handle(coreAt, http.NotFound) }, cause.PackageMissing, at + "/ names: "},
		{"a web page for repomd.xml", func(w *world) { w.server.Handle(repomd, page) }, cause.MirrorUnreachable, "web page"},
		{"a web page for the index", func(w *world) { w.server.Handle(primary, page) }, cause.MirrorUnreachable, "web page"},
		{"a web page for the package", func(w *world) { w.server.Handle(coreAt, page) }, cause.MirrorUnreachable, "web page"},
		{"redirected in a circle", func(w *world) { w.server.Handle(repomd, circle) }, cause.MirrorUnreachable, "redirected"},
		{"silence", func(w *world) { w.server.Handle(primary, silent) }, cause.MirrorUnreachable, "stopped sending"},
		{"repomd.xml altered", func(w *world) {
			w.server.Put(repomd, bytes.Replace(w.server.File(repomd), []byte("<repomd"), []byte("<repomd "), 1))
		}, cause.SignatureInvalid, "repomd.xml"},
		{"repomd.xml not signed", func(w *world) { w.server.Handle(repomd+".asc", http.NotFound) }, cause.SignatureInvalid, "not signed"},
		{"repomd.xml signed by a stranger", func(w *world) {
			w.server.Sign = rpmtest.Signer(w.t, strangersKey, now)
			w.publish()
		}, cause.SignatureInvalid, "keys.example"},
		{"index altered", func(w *world) { flip(w, primary) }, cause.PackageCorrupt, "primary"},
		{"index that is no SQLite", func(w *world) {
			w.server.Index(at, yumtest.SQLite, "primary.sqlite.gz", debtest.Compress(w.t, ".gz", []byte("SQLite or not")))
		}, cause.PackageCorrupt, "SQLite"},
		{"package altered", func(w *world) { flip(w, coreAt) }, cause.PackageCorrupt, "sha256"},
		{"package cut short", func(w *world) { w.server.Put(coreAt, w.server.File(coreAt)[:300]) }, cause.PackageCorrupt, "300 bytes"},
		{"package not signed", func(w *world) {
			w.publish(func(ps []yumtest.Package) { ps[0].Content = w.rpm("kernel-core", "4.18.0", nil) })
		}, cause.SignatureInvalid, "keys.example"},
		{"package signed by a stranger", func(w *world) {
			w.publish(func(ps []yumtest.Package) {
				ps[0].Content = w.rpm("kernel-core", "4.18.0", strangersKey)
			})
		}, cause.SignatureInvalid, "keys.example"},
		{"another package under its name", func(w *world) {
			w.publish(func(ps []yumtest.Package) { ps[0].Content = w.rpm("kernel-core", "4.17.0", w.key) })
		}, cause.SignatureInvalid, "kernel-core-4.17.0"},
		{"no package at all", func(w *world) {
			w.publish(func(ps []yumtest.Package) { ps[0].Content = []byte("!<arch>\n") })
		}, cause.PackageCorrupt, "kernel-core"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t)
			tc.spoil(w)
			s := w.source(func(o *Options, _ *Config) { o.Patience.Stall = 200 * time.Millisecond })
			others, err := have(t.Context(), s)
			f := cause.Of(err)
			if f.Cause != tc.want || f.State != cause.Error || f.Fault != cause.FaultInfra || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v (%+v), want %s that says %q", err, f, tc.want, tc.says)
			}
			if others != 1 {
				t.Error("the other repository's kernel is lost")
			}
			var c *cause.Err
			if !errors.As(err, &c) || c.Hint == "" {
				t.Errorf("%v does not say what to do", err)
			}
		})
	}
}

func flip(w *world, path string) {
	b := bytes.Clone(w.server.File(path))
	b[len(b)/2] ^= 0xff
	w.server.Put(path, b)
}

// TestExpiredKey: what a key signed that has since expired is refused by its name.
func TestExpiredKey(t *testing.T) {
	w := newWorld(t)
	s := w.source(func(o *Options, _ *Config) { o.Now = func() time.Time { return now.AddDate(3, 0, 0) } })
	if _, err := have(t.Context(), s); cause.Of(err).Cause != cause.SignatureInvalid || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// TestNoKeys: without any key an index counts for its checksums, and a package does not count unless somebody said so.
func TestNoKeys(t *testing.T) {
	w := newWorld(t)
	strict := w.source(func(o *Options, _ *Config) { o.Keyrings = []string{} })
	if _, err := have(t.Context(), strict); cause.Of(err).Cause != cause.SignatureInvalid || !strings.Contains(err.Error(), "https://keys.example") {
		t.Errorf("got %v", err)
	}
	if len(w.warned) > 0 {
		t.Errorf("warned: %q", w.warned)
	}
	lax := w.source(func(o *Options, _ *Config) { o.Keyrings, o.Signatures = []string{}, Warn })
	if _, err := have(t.Context(), lax); err != nil {
		t.Error(err)
	}
	if len(w.warned) != 1 || !strings.Contains(w.warned[0], "kernel-core") {
		t.Errorf("warned: %q", w.warned)
	}
	// With a key there is nothing to be lax about.
	w.publish(func(ps []yumtest.Package) { ps[0].Content = w.rpm("kernel-core", "4.18.0", nil) })
	lax = w.source(func(o *Options, _ *Config) { o.Signatures = Warn })
	if _, err := have(t.Context(), lax); cause.Of(err).Cause != cause.SignatureInvalid {
		t.Errorf("got %v", err)
	}
}

// TestUnsignedIndex: where a distribution does not sign its indexes, one without a signature counts, and a wrong
// signature does not.
func TestUnsignedIndex(t *testing.T) {
	w := newWorld(t)
	unsigned := func(_ *Options, c *Config) { c.SignedIndex = false }
	w.server.Handle(repomd+".asc", http.NotFound)
	if _, err := have(t.Context(), w.source(unsigned)); err != nil {
		t.Error(err)
	}
	w.server.Handle(repomd+".asc", nil)
	w.server.Put(repomd+".asc", rpmtest.Signer(t, strangersKey, now)(w.server.File(repomd)))
	if _, err := have(t.Context(), w.source(unsigned)); cause.Of(err).Cause != cause.SignatureInvalid {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.server.Handle(repomd, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if _, err := w.source(nil).Enumerate(ctx); cause.Of(err).Cause != cause.Cancelled {
		t.Errorf("got %v", err)
	}
}

// TestRelease: uname -r is what the package provides as such; of two that claim one release the newer counts.
func TestRelease(t *testing.T) {
	w := newWorld(t)
	rt := yumtest.Kernel("kernel-core", "5.14.0", "503.el9", "x86_64")
	rt.Uname = "5.14.0-503.el9.x86_64+rt"
	twice, newer := yumtest.Kernel("kernel-core", "4.18.0", "1.el8", "x86_64"), yumtest.Kernel("kernel-core", "4.18.0", "10.el8", "x86_64")
	twice.Uname, newer.Uname = "4.18.0-1.x86_64", "4.18.0-1.x86_64"
	other := yumtest.Kernel("kernel-core", "4.18.0", "1.el8", "aarch64")
	for _, form := range []yumtest.Form{yumtest.XML, yumtest.SQLite} {
		w.server.Publish(at, form, rt, twice, newer, other)
		entries, err := w.source(nil).Enumerate(t.Context())
		if err != nil || len(entries) != 3 {
			t.Fatalf("%s: %+v, %v", form, entries, err)
		}
		if e := entries[0]; e.Release != "4.18.0-1.x86_64" || e.PackageVersion != "4.18.0-10.el8" {
			t.Errorf("%s: got %+v", form, e)
		}
		if e := entries[1]; e.Release != rt.Uname || e.PackageVersion != "5.14.0-503.el9" {
			t.Errorf("%s: got %+v", form, e)
		}
	}
}

func TestMirrorList(t *testing.T) {
	w := newWorld(t)
	s := w.source(nil)
	for text, want := range map[string]string{
		"http://m.example/2/$basearch/52bf/\n":                "http://m.example/2/aarch64/52bf",
		"\n  https://m.example/x//  \r\nhttp://other.example": "https://m.example/x",
		"":                           "",
		"ftp://m.example/":           "",
		"../../etc":                  "",
		"http:///x":                  "",
		"http://m.example/%zz":       "",
		strings.Repeat("x", 100<<10): "",
	} {
		w.server.Put("/mirror.list", []byte(text))
		got, err := s.mirrorList(t.Context(), Repo{Name: "r", MirrorList: w.server.URL + "/mirror.list"}, "aarch64")
		if got != want || (err == nil) != (want != "") || err != nil && cause.Of(err).Cause != cause.PackageCorrupt {
			t.Errorf("%.40q: %q, %v", text, got, err)
		}
	}
}

// TestBases: the next place is asked where the first does not have the repository, and not where it fails.
func TestBases(t *testing.T) {
	w := newWorld(t)
	s := w.source(nil)
	r := Repo{Name: "r", Bases: []string{w.server.URL + "/gone", w.server.URL + at}}
	if base, _, err := s.repomd(t.Context(), r, ""); err != nil || base != w.server.URL+at {
		t.Errorf("%q, %v", base, err)
	}
	if there, err := s.Exists(t.Context(), r); !there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
	w.server.Handle("/gone/repodata/repomd.xml", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403) })
	if there, err := s.Exists(t.Context(), r); there || cause.Of(err).Cause != cause.MirrorUnreachable {
		t.Errorf("%v, %v", there, err)
	}
	r.Bases = r.Bases[:1]
	w.server.Handle("/gone/repodata/repomd.xml", http.NotFound)
	if there, err := s.Exists(t.Context(), r); there || err != nil {
		t.Errorf("%v, %v", there, err)
	}
}

func TestNewRefuses(t *testing.T) {
	w := newWorld(t)
	for name, o := range map[string]Options{
		"no archive":  {Warn: func(string) {}},
		"nobody":      {Archive: w.archive},
		"arch":        {Archive: w.archive, Warn: func(string) {}, Arches: []string{"amd64"}},
		"no key file": {Archive: w.archive, Warn: func(string) {}, Keyrings: []string{"/does/not/exist"}},
		"mirror":      {Archive: w.archive, Warn: func(string) {}, Mirrors: map[string]string{"x": "http://x"}},
	} {
		if _, err := New(o, Config{Name: "test"}); err == nil {
			t.Errorf("%s: made", name)
		}
	}
}
