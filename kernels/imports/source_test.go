// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

func TestSource(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("headers")) }))
	defer server.Close()
	s, err := NewSource(SourceOptions{Archive: store(t)})
	if err != nil {
		t.Fatal(err)
	}
	e := kernels.Entry{
		Kernel: kernels.Kernel{Distro: "amazonlinux2", Release: "5.10.219-208.866.amzn2.x86_64", Version: "1", Arch: "x86_64"},
		Repo:   "amazon.txt", PackageVersion: "5.10.219-208.866.amzn2",
		Headers: []kernels.Package{{Name: "kernel-devel", URL: server.URL + "/kernel-devel.rpm", Digest: archive.DigestOf([]byte("headers"))}},
	}
	r, err := s.Resolve(t.Context(), e)
	if err != nil || r.Kernel != e.Kernel || r.PackageVersion != e.PackageVersion || len(r.Headers) != 1 || r.HeadersMissing != nil {
		t.Fatalf("%+v, %v", r, err)
	}
	path, err := s.Fetch(t.Context(), r.Headers[0])
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "headers" {
		t.Errorf("fetched %q", text)
	}
	other := r.Headers[0]
	other.Digest = archive.DigestOf([]byte("something else"))
	if _, err := s.Fetch(t.Context(), other); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("took other content: %v", err)
	}
	e.Headers[0].Digest = ""
	if _, err := s.Resolve(t.Context(), e); cause.Of(err).Cause != cause.SignatureInvalid || !strings.Contains(err.Error(), "no checksum of kernel-devel") {
		t.Errorf("nothing vouches for it: %v", err)
	}
	e.Headers = nil
	if r, err := s.Resolve(t.Context(), e); err != nil || len(r.HeadersMissing) != 1 {
		t.Errorf("no headers: %+v, %v", r, err)
	}
	if es, err := s.Enumerate(t.Context()); es != nil || err != nil || s.Name() != "import" {
		t.Errorf("%v, %v", es, err)
	}
	if _, err := NewSource(SourceOptions{}); err == nil {
		t.Error("no archive")
	}
}
