// SPDX-License-Identifier: Apache-2.0

package get

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

const content = "the content of a package"

// client talks to a server that answers by h.
func client(t *testing.T, h http.HandlerFunc, change func(*Options)) (*Client, string) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Archive: store, Patience: Patience{Stall: 10 * time.Second, Backoff: time.Millisecond}}
	if change != nil {
		change(&o)
	}
	return New(o), server.URL
}

func TestFetchBySum(t *testing.T) {
	sum1, sum5 := sha1.Sum([]byte(content)), md5.Sum([]byte(content))
	for _, tc := range []struct {
		name, sum string
		size      int64
		says      string // of the error; none when empty
	}{
		{"sha1", "sha1:" + hex.EncodeToString(sum1[:]), int64(len(content)), ""},
		{"size not known", "sha1:" + hex.EncodeToString(sum1[:]), 0, ""},
		{"md5, in capitals", "md5:" + strings.ToUpper(hex.EncodeToString(sum5[:])), 0, ""},
		{"another sha1", "sha1:" + strings.Repeat("0", 40), 0, "not 0000"},
		{"longer than the index says", "sha1:" + hex.EncodeToString(sum1[:]), 3, "bytes"},
		{"shorter", "sha1:" + hex.EncodeToString(sum1[:]), 300, "not 300"},
		{"no checksum", "", 0, "no checksum"},
		{"no hash known here", "crc32:00000000", 0, "no checksum"},
		{"a path for a checksum", "sha1:../../x", 0, "no checksum"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked atomic.Int32
			c, url := client(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Write([]byte(content))
			}, nil)
			p := kernels.Package{Name: "p", URL: url + "/p", Sum: tc.sum, Size: tc.size}
			path, err := c.Fetch(t.Context(), p)
			if tc.says != "" {
				if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v", err)
				}
				if _, err := c.o.Archive.Path(archive.DigestOf([]byte(content))); err == nil {
					t.Error("the archive holds it")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := c.Fetch(t.Context(), p)
			if err != nil || again != path || asked.Load() != 1 {
				t.Errorf("%s, then %s, %v, asked %d times", path, again, err, asked.Load())
			}
		})
	}
}

func TestRead(t *testing.T) {
	c, url := client(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(content)) }, nil)
	if b, err := c.Read(t.Context(), url, "p", int64(len(content))); err != nil || string(b) != content {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := c.Read(t.Context(), url, "p", int64(len(content))-1); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("more than the limit: %v", err)
	}
}

func TestHints(t *testing.T) {
	hints := Hints{Unreachable: "see the mirror", NotFound: "see the release", Corrupt: "see the index"}
	for path, want := range map[string]string{"/404": hints.NotFound, "/403": hints.Unreachable, "/corrupt": hints.Corrupt} {
		c, url := client(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/404":
				w.WriteHeader(404)
			case "/403":
				w.WriteHeader(403)
			}
		}, func(o *Options) { o.Hints = hints })
		_, err := c.Put(t.Context(), url+path, "p", archive.DigestOf([]byte(content)), -1)
		var e *cause.Err
		if !errors.As(err, &e) || !strings.Contains(e.Hint, want) {
			t.Errorf("%s: %v does not advise %q", path, err, want)
		}
	}
}

// TestMissing: that a mirror lacks a package which its index names is told from a mirror that is down.
func TestMissing(t *testing.T) {
	named := kernels.Package{Name: "tool", Version: "1.0-1", Arch: "amd64", Digest: archive.DigestOf([]byte(content)), Size: 7, Index: "sid"}
	summed := kernels.Package{Name: "tool", Sum: "sha1:" + strings.Repeat("0", 40)}
	for _, tc := range []struct {
		name   string
		p      kernels.Package
		status int // 0: nobody listens
		want   cause.Cause
		says   string // of the error and its evidence
	}{
		{"404", named, 404, cause.PackageMissing, "tool.deb, which sid names: fetch http"},
		{"404, by its index", named, 404, cause.PackageMissing, "sid: tool 1.0-1 amd64, 7 bytes, sha256:" + string(named.Digest)},
		{"410", named, 410, cause.PackageMissing, "410 Gone"},
		{"404 of what no index names", summed, 404, cause.PackageMissing, "does not hold tool.deb: fetch http"},
		{"403", named, 403, cause.MirrorUnreachable, "403"},
		{"500", named, 500, cause.MirrorUnreachable, "500"},
		{"503", summed, 503, cause.MirrorUnreachable, "503"},
		{"429", named, 429, cause.MirrorUnreachable, "429"},
		{"refused", named, 0, cause.MirrorUnreachable, "connection refused"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, url := client(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.status) }, nil)
			if tc.status == 0 {
				gone := httptest.NewServer(nil)
				url = gone.URL
				gone.Close()
			}
			p := tc.p
			p.URL = url + "/pool/tool.deb"
			_, err := c.Fetch(t.Context(), p)
			if f := cause.Of(err); f.State != cause.Error || f.Cause != tc.want || f.Fault != cause.FaultInfra {
				t.Errorf("%+v", f)
			}
			if text := fmt.Sprintf("%+v", err); !strings.Contains(text, tc.says) || strings.Count(text, "(") > 1 {
				t.Errorf("%s\ndoes not say %q, or advises twice", text, tc.says)
			}
		})
	}
}

// TestRetryAfter: a server that asks for a pause gets it, and not more than a minute of it.
func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": 0, "2": 2 * time.Second, "86400": maxRetry, "99999999999999999": maxRetry, "-1": 0, "Sat, 21 Nov 2026 06:00:00 GMT": 0,
	} {
		if got := asked(&http.Response{Header: http.Header{"Retry-After": {header}}}); got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
	c, url := client(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "2")
		w.WriteHeader(429)
	}, nil)
	_, err := c.try(t.Context(), url, "p", -1, nil)
	if got := pause(time.Second, err); got != 2*time.Second {
		t.Errorf("waits %s after %v", got, err)
	}
	if got := pause(3*time.Second, err); got != 3*time.Second {
		t.Errorf("waits %s, which is less than without being asked", got)
	}
}

func TestOffline(t *testing.T) {
	c, url := client(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") }, func(o *Options) { o.Offline = true })
	for _, p := range []kernels.Package{
		{Name: "p", URL: url, Digest: archive.DigestOf([]byte(content))},
		{Name: "p", URL: url, Sum: "sha1:" + strings.Repeat("0", 40)},
	} {
		if _, err := c.Fetch(t.Context(), p); cause.Of(err).Cause != cause.MirrorUnreachable || !strings.Contains(err.Error(), "archive") {
			t.Errorf("got %v", err)
		}
	}
}
