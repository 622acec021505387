// SPDX-License-Identifier: Apache-2.0

package apt

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

var tool = apttest.P("tool", "1.0-1", "", debtest.File("./usr/bin/tool", "tool"))

const (
	inRelease = "/debian/dists/sid/InRelease"
	index     = "/debian/dists/sid/main/binary-amd64/Packages.xz"
	toolDeb   = "/debian/pool/main/tool_1.0-1_amd64.deb"
)

// source opens the repository with a new archive, and with what change sets.
func source(r *apttest.Repo, change func(*Options)) (*Source, *apttest.Warnings) {
	r.T.Helper()
	store, err := archive.New(r.T.TempDir())
	if err != nil {
		r.T.Fatal(err)
	}
	w := &apttest.Warnings{}
	o := Options{
		Distro:   "debian",
		Archive:  store,
		Warn:     w.Add,
		Base:     func(suite string) string { return r.Server.URL + apttest.Base(suite) },
		Keyrings: []string{r.Keyring()},
		Now:      func() time.Time { return apttest.Now },
		Patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		r.T.Fatal(err)
	}
	return s, w
}

// fetchTool does all there is to do for one package.
func fetchTool(ctx context.Context, s *Source) (string, error) {
	p, err := s.Find(ctx, []string{"sid"}, "tool")
	if err != nil {
		return "", err
	}
	return s.Fetch(ctx, p)
}

func TestFetch(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	s, w := source(r, nil)
	for range 2 {
		path, err := fetchTool(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Dir(filepath.Dir(filepath.Dir(path))) != s.o.Archive.Dir() {
			t.Errorf("not in the archive: %s", path)
		}
	}
	for _, path := range []string{inRelease, index, toolDeb} {
		if n := r.Count(path); n != 1 {
			t.Errorf("%s was asked for %d times", path, n)
		}
	}
	if len(w.Text) > 0 {
		t.Errorf("warnings: %q", w.Text)
	}
}

// TestBadMirror breaks one thing at a time, fetches all the same, and then looks at what the archive holds.
func TestBadMirror(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("<!DOCTYPE html><html><body>Please log in</body></html>"))
	})
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	circle := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, req.URL.Path, http.StatusFound)
	})
	short := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte("!<arch>\n"))
	})
	for _, tc := range []struct {
		name  string
		spoil func(r *apttest.Repo)
		want  cause.Cause
		says  string
	}{
		{"gone", func(r *apttest.Repo) { r.Server.Close() }, cause.MirrorUnreachable, "InRelease"},
		{"no InRelease", func(r *apttest.Repo) { delete(r.Files, inRelease) }, cause.MirrorUnreachable, "404"},
		{"no index", func(r *apttest.Repo) { delete(r.Files, index) }, cause.MirrorUnreachable, "404"},
		{"no package", func(r *apttest.Repo) { delete(r.Files, toolDeb) }, cause.PackageMissing, "tool_1.0-1_amd64.deb, which sid names"},
		{"a package withdrawn", func(r *apttest.Repo) { r.Handlers[toolDeb] = status(410) }, cause.PackageMissing, "410"},
		{"a web page for InRelease", func(r *apttest.Repo) { r.Handlers[inRelease] = page }, cause.MirrorUnreachable, "web page"},
		{"a web page for the index", func(r *apttest.Repo) { r.Handlers[index] = page }, cause.MirrorUnreachable, "web page"},
		{"a web page for the package", func(r *apttest.Repo) { r.Handlers[toolDeb] = page }, cause.MirrorUnreachable, "web page"},
		{"redirected in a circle", func(r *apttest.Repo) { r.Handlers[toolDeb] = circle }, cause.MirrorUnreachable, "redirected"},
		{"always 503", func(r *apttest.Repo) { r.Handlers[toolDeb] = status(503) }, cause.MirrorUnreachable, "503"},
		{"forbidden", func(r *apttest.Repo) { r.Handlers[toolDeb] = status(403) }, cause.MirrorUnreachable, "403"},
		{"connection cut", func(r *apttest.Repo) { r.Handlers[toolDeb] = short }, cause.MirrorUnreachable, "EOF"},
		{"package cut short", func(r *apttest.Repo) { r.Files[toolDeb] = r.Files[toolDeb][:200] }, cause.PackageCorrupt, "200 bytes"},
		{"package too long", func(r *apttest.Repo) { r.Files[toolDeb] = append(r.Files[toolDeb], 0) }, cause.PackageCorrupt, "bytes"},
		{"package altered", func(r *apttest.Repo) { apttest.Flip(r.Files[toolDeb]) }, cause.PackageCorrupt, "sha256"},
		{"index altered", func(r *apttest.Repo) { apttest.Flip(r.Files[index]) }, cause.PackageCorrupt, "sha256"},
		{"InRelease altered", func(r *apttest.Repo) {
			r.Files[inRelease] = bytes.Replace(r.Files[inRelease], []byte("Codename: sid"), []byte("Codename: sid "), 1)
			r.Files[inRelease] = bytes.Replace(r.Files[inRelease], []byte("Origin: Debian"), []byte("Origin: Daemon"), 1)
		}, cause.SignatureInvalid, "InRelease"},
		{"InRelease cut short", func(r *apttest.Repo) { r.Files[inRelease] = r.Files[inRelease][:300] }, cause.SignatureInvalid, "clear-signed"},
		{"InRelease not signed", func(r *apttest.Repo) { r.Files[inRelease] = []byte("Codename: sid\n") }, cause.SignatureInvalid, "clear-signed"},
		{"text after the signature", func(r *apttest.Repo) {
			r.Files[inRelease] = append(r.Files[inRelease], "\nCodename: sid\n"...)
		}, cause.SignatureInvalid, "follows"},
		{"signed by a stranger", func(r *apttest.Repo) { r.Key = apttest.NewKey(r.T); r.Suite("sid", tool) }, cause.SignatureInvalid, "no keyring"},
		{"another suite's InRelease", func(r *apttest.Repo) {
			r.Suite("trixie", tool)
			r.Files[inRelease] = r.Files["/debian/dists/trixie/InRelease"]
		}, cause.SignatureInvalid, "trixie"},
		{"past its Valid-Until", func(r *apttest.Repo) { expire(r) }, cause.SignatureInvalid, "valid until 2026-11-20"},
		{"index of another format", func(r *apttest.Repo) {
			r.Publish("/debian/dists/sid", "sid", "", map[string][]byte{"main/binary-amd64/Packages.lz": nil})
		}, cause.MirrorUnreachable, "Packages"},
		{"index that is no xz", func(r *apttest.Repo) {
			r.Publish("/debian/dists/sid", "sid", "", map[string][]byte{"main/binary-amd64/Packages.xz": []byte("Package: tool\n")})
		}, cause.PackageCorrupt, "xz"},
		{"index without a hash", func(r *apttest.Repo) {
			text := debtest.Compress(r.T, ".xz", []byte("Package: tool\nVersion: 1\nFilename: pool/t.deb\nSize: 1\n"))
			r.Publish("/debian/dists/sid", "sid", "", map[string][]byte{"main/binary-amd64/Packages.xz": text})
		}, cause.PackageCorrupt, "SHA256"},
		{"index that leaves the mirror", func(r *apttest.Repo) {
			text := debtest.Compress(r.T, ".xz", []byte("Package: tool\nVersion: 1\nFilename: ../../t.deb\nSize: 1\nSHA256: "+strings.Repeat("0", 64)+"\n"))
			r.Publish("/debian/dists/sid", "sid", "", map[string][]byte{"main/binary-amd64/Packages.xz": text})
		}, cause.PackageCorrupt, "leaves"},
		{"no such package", func(r *apttest.Repo) { r.Suite("sid") }, cause.PackageMissing, "tool"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := apttest.New(t)
			r.Suite("sid", tool)
			good := archive.DigestOf(r.Files[toolDeb])
			s, w := source(r, nil)
			tc.spoil(r)
			_, err := fetchTool(t.Context(), s)
			if err == nil {
				t.Fatal("fetched")
			}
			f := cause.Of(err)
			if f.Cause != tc.want || f.State != cause.Error || f.Fault != cause.FaultInfra {
				t.Errorf("%v is %+v, want %s", err, f, tc.want)
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%q does not say %q", err, tc.says)
			}
			if len(w.Text) > 0 {
				t.Errorf("warnings: %q", w.Text)
			}
			if _, err := s.o.Archive.Path(good); err == nil {
				t.Error("the archive holds the package")
			}
			soundArchive(t, s.o.Archive)
		})
	}
}

// soundArchive: whatever happened, each file is what its name says, and nothing half-written is left.
func soundArchive(t *testing.T, a *archive.Archive) {
	t.Helper()
	err := filepath.WalkDir(a.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || strings.HasSuffix(path, ".ok") {
			return err
		}
		if filepath.Base(filepath.Dir(path)) == "tmp" {
			t.Errorf("left behind: %s", path)
		}
		if d := archive.Digest(filepath.Base(path)); d.Valid() {
			return a.Verify(d)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func expire(r *apttest.Repo) {
	dists := "/debian/dists/sid"
	r.Publish(dists, "sid", "Fri, 20 Nov 2026 12:00:00 UTC", map[string][]byte{"main/binary-amd64/Packages.xz": r.Files[index]})
}

func TestValidUntilWarn(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	expire(r)
	s, w := source(r, func(o *Options) {
		o.ValidUntil = func(suite string) Policy {
			if suite == "sid" {
				return Warn
			}
			return Strict
		}
	})
	if _, err := fetchTool(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if len(w.Text) != 1 || !strings.Contains(w.Text[0], "sid") || !strings.Contains(w.Text[0], "2026-11-20") {
		t.Errorf("warnings: %q", w.Text)
	}
}

// TestExpiredKey: online a key counts until its end; offline what it signed before goes on to count (TestOffline).
func TestExpiredKey(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	s, _ := source(r, func(o *Options) {
		o.Now = func() time.Time { return apttest.Now.AddDate(3, 0, 0) }
		o.ValidUntil = func(string) Policy { return Warn }
	})
	if _, err := fetchTool(t.Context(), s); cause.Of(err).Cause != cause.SignatureInvalid || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v", err)
	}
}

// TestPassingTrouble: what goes away by itself is not an error.
func TestPassingTrouble(t *testing.T) {
	for _, tc := range []struct {
		name    string
		trouble http.HandlerFunc
	}{
		{"503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }},
		{"429", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }},
		{"connection cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("!<arch>\n"))
		}},
		{"silence in the middle", func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", "1000")
			w.Write([]byte("!<arch>\n"))
			w.(http.Flusher).Flush()
			<-req.Context().Done()
		}},
		{"silence", func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := apttest.New(t)
			r.Suite("sid", tool)
			content := r.Files[toolDeb]
			r.Handlers[toolDeb] = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if r.Count(toolDeb) < 3 {
					tc.trouble(w, req)
					return
				}
				w.Write(content)
			})
			s, _ := source(r, func(o *Options) { o.Patience.Stall = 100 * time.Millisecond })
			if _, err := fetchTool(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			if n := r.Count(toolDeb); n != 3 {
				t.Errorf("asked %d times", n)
			}
		})
	}
}

func TestSilentMirror(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	r.Handlers[toolDeb] = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { <-req.Context().Done() })
	s, _ := source(r, func(o *Options) { o.Patience.Stall = 50 * time.Millisecond })
	if _, err := fetchTool(t.Context(), s); cause.Of(err).Cause != cause.MirrorUnreachable || !errors.Is(err, get.ErrStalled) {
		t.Errorf("got %v", err)
	}
}

func TestCancelledFetch(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	s, _ := source(r, nil)
	ctx, cancel := context.WithCancel(t.Context())
	r.Handlers[toolDeb] = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		cancel()
		<-req.Context().Done()
	})
	if _, err := fetchTool(ctx, s); cause.Of(err).Cause != cause.Cancelled {
		t.Errorf("got %v", err)
	}
	soundArchive(t, s.o.Archive)
}

func TestOffline(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool, apttest.P("never-fetched", "1", ""))
	online, _ := source(r, nil)
	offline := func(at time.Time) (*Source, *apttest.Warnings) {
		return source(r, func(o *Options) {
			o.Archive, o.Offline, o.Transport = online.o.Archive, true, noNetwork{}
			o.Now = func() time.Time { return at }
		})
	}
	s, _ := offline(apttest.Now)
	if _, err := fetchTool(t.Context(), s); cause.Of(err).Cause != cause.MirrorUnreachable || !strings.Contains(err.Error(), "--offline") {
		t.Errorf("before anything was archived: %v", err)
	}
	want, err := fetchTool(t.Context(), online)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		at       time.Time
		warnings int
	}{{apttest.Now, 0}, {apttest.Now.AddDate(3, 0, 0), 1}} {
		s, w := offline(tc.at)
		got, err := fetchTool(t.Context(), s)
		if err != nil || got != want {
			t.Errorf("at %s: %s, %v", tc.at, got, err)
		}
		if len(w.Text) != tc.warnings {
			t.Errorf("at %s: warnings %q", tc.at, w.Text)
		}
	}
	s, _ = offline(apttest.Now)
	p, err := s.Find(t.Context(), []string{"sid"}, "never-fetched")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fetch(t.Context(), p); cause.Of(err).Cause != cause.MirrorUnreachable {
		t.Errorf("a package that was never fetched: %v", err)
	}
}

// TestOfflineAfterABadDay: a mirror that went bad does not spoil what was verified before.
func TestOfflineAfterABadDay(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	first, _ := source(r, nil)
	if _, err := fetchTool(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	apttest.Flip(r.Files[inRelease])
	same := func(offline bool) func(*Options) {
		return func(o *Options) { o.Archive, o.Offline = first.o.Archive, offline }
	}
	s, _ := source(r, same(false))
	if _, err := fetchTool(t.Context(), s); err == nil {
		t.Fatal("took the bad InRelease")
	}
	s, _ = source(r, same(true))
	if _, err := fetchTool(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestByHash(t *testing.T) {
	r := apttest.New(t)
	r.Suite("sid", tool)
	text := "Codename: sid\nAcquire-By-Hash: yes\nSHA256:\n " + string(archive.DigestOf(r.Files[index])) + " " +
		"100000 main/binary-amd64/Packages.xz\n"
	text = strings.Replace(text, "100000", strconv.Itoa(len(r.Files[index])), 1)
	r.Files[inRelease] = apttest.Sign(t, r.Key, text)
	byHash := "/debian/dists/sid/main/binary-amd64/by-hash/SHA256/" + string(archive.DigestOf(r.Files[index]))

	s, _ := source(r, nil) // a mirror without by-hash, whatever its InRelease says
	if _, err := fetchTool(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	r.Files[byHash], r.Files[index] = r.Files[index], []byte("the next update's")
	s, _ = source(r, nil)
	if _, err := fetchTool(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func TestFetchAll(t *testing.T) {
	r := apttest.New(t)
	var all []apttest.Pkg
	for i := range 20 {
		all = append(all, apttest.P("p"+strconv.Itoa(i), "1", "", debtest.File("./f", strconv.Itoa(i))))
	}
	r.Suite("sid", all...)
	s, _ := source(r, nil)
	var ps []kernels.Package
	for _, p := range all {
		found, err := s.Find(t.Context(), []string{"sid"}, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, found, found) // the same twice, at once
	}
	paths, err := s.FetchAll(t.Context(), ps)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range paths {
		if filepath.Base(path) != string(ps[i].Digest) {
			t.Errorf("path %d is %s, want %s", i, path, ps[i].Digest)
		}
	}
	for _, p := range all {
		if n := r.Count("/debian/pool/main/" + p.Name + "_1_amd64.deb"); n != 1 {
			t.Errorf("%s was asked for %d times", p.Name, n)
		}
	}
}

// noNetwork is the network when it is gone.
type noNetwork struct{}

func (noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, errors.New("no network: " + r.URL.String())
}
