// SPDX-License-Identifier: Apache-2.0

package amazon

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/kernels/internal/yumtest"
	"github.com/mews-farm/mews/results/cause"
)

// source looks at what s serves as Amazon's mirrors.
func source(t *testing.T, s *yumtest.Server, change func(*Options)) *Source {
	t.Helper()
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Archive: store, Warn: func(text string) { t.Log(text) }, Keyrings: []string{}, Arches: []string{"x86_64"},
		Mirrors:  map[string]string{"2": s.URL + "/2/", "2023": s.URL + "/al2023"},
		Patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	src, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// serve2 publishes a repository of Amazon Linux 2 behind its mirror.list.
func serve2(s *yumtest.Server, repo string, form yumtest.Form, packages ...yumtest.Package) {
	const hash = "52bf5c1b3b3d0d7d0e7f5b8b5f0e6d4c3b2a1908"
	s.Put("/2/"+repo+"/x86_64/mirror.list", []byte(s.URL+"/2/"+repo+"/$basearch/"+hash+"/\n"))
	s.Publish("/2/"+repo+"/x86_64/"+hash, form, packages...)
}

// href is how the index of a repository of that depth leads to the blobstore.
func href(repo, sum, file string) string {
	return strings.Repeat("../", strings.Count(repo, "/")+4) + "blobstore/" + sum + "/" + file
}

// realURL is a line of the lists of real packages.
var realURL = regexp.MustCompile(`/blobstore/([0-9a-f]{64})/(kernel-devel-((\d[0-9.]*)-([0-9.]+\.amzn2)\.x86_64)\.rpm)$`)

// TestTheKernelsOfTheThreeFailures: the kernels that this project exists for are found where Amazon lists them, by
// Amazon's real hrefs. The list names kernel-devel alone; the kernel itself lies beside it under a checksum of its own.
func TestTheKernelsOfTheThreeFailures(t *testing.T) {
	shared := os.Getenv("MEWS_SHARED")
	if shared == "" {
		shared = "../../../shared"
	}
	text, err := os.ReadFile(filepath.Join(shared, "kernel-urls/amazon-5.10.txt"))
	if err != nil {
		t.Skipf("the list of real URLs is not here: %v", err)
	}
	const repo = "extras/kernel-5.10/latest"
	s := yumtest.New(t)
	var packages []yumtest.Package
	var urls []string
	for line := range strings.Lines(string(text)) {
		m := realURL.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("not a URL of kernel-devel: %q", line)
		}
		sum, file, version, release := m[1], m[2], m[4], m[5]
		image := strings.Replace(file, "-devel", "", 1)
		urls = append(urls, m[0])
		packages = append(packages,
			yumtest.Package{Name: "kernel", Version: version, Release: release, Arch: "x86_64", Uname: m[3],
				Sum: string(archive.DigestOf([]byte(image))), Href: href(repo, string(archive.DigestOf([]byte(image))), image)},
			yumtest.Package{Name: "kernel-devel", Version: version, Release: release, Arch: "x86_64", Sum: sum, Href: href(repo, sum, file)},
			yumtest.Package{Name: "kernel-headers", Version: version, Release: release, Arch: "x86_64", Sum: sum, Href: href(repo, sum, file)})
	}
	serve2(s, repo, yumtest.SQLite, packages...)
	src := source(t, s, nil)
	entries, err := src.Enumerate(t.Context())
	if err == nil {
		t.Error("nothing is said about the repositories that are not there")
	}
	if len(entries) != len(urls) {
		t.Errorf("%d kernels of %d", len(entries), len(urls))
	}
	for _, want := range []struct{ release, sum string }{
		{"5.10.179-168.710.amzn2.x86_64", "70141559028b2a599a87b02d5ed3db9a6cc248d2f61254c05ff021b4e7915836"},
		{"5.10.219-208.866.amzn2.x86_64", "f40dca4cc6604aff8fa6504e50a39cfa332ca401edb84b96e18c22b54ac6345b"},
	} {
		e := find(t, entries, want.release)
		if e.Distro != "amazonlinux2" || e.Version != "1" || e.Arch != "x86_64" || e.Repo != "2/"+repo || e.Source != "amazon" {
			t.Errorf("got %+v", e)
		}
		r, err := src.Resolve(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		p := r.Headers[0]
		if string(p.Digest) != want.sum || p.URL != s.URL+"/blobstore/"+want.sum+"/kernel-devel-"+want.release+".rpm" {
			t.Errorf("headers %+v", p)
		}
		if r.Image[0].Name != "kernel" || len(r.Image) != 1 || len(r.HeadersMissing) > 0 {
			t.Errorf("resolved %+v", r)
		}
	}
}

func find(t *testing.T, entries []kernels.Entry, release string) kernels.Entry {
	t.Helper()
	for _, e := range entries {
		if e.Release == release {
			return e
		}
	}
	t.Fatalf("no kernel %s", release)
	return kernels.Entry{}
}

// TestAmazonLinux2023: every release is looked into, and a kernel belongs to the first that has it.
func TestAmazonLinux2023(t *testing.T) {
	s := yumtest.New(t)
	s.Put("/al2023/core/releasemd.xml", []byte(`<?xml version="1.0"?><root><releases>
		<release version="2023.0.20230315"><name>Amazon Linux</name><update><releases>
			<release version="2023.1.20230628"/><release version="2023.10.20260105"/></releases></update></release>
		<release version="2023.1.20230628"/><release version="../../../etc"/></releases></root>`))
	old, mid := yumtest.Kernel("kernel", "6.1.15", "28.43.amzn2023", "x86_64"), yumtest.Kernel("kernel", "6.1.34", "56.100.amzn2023", "x86_64")
	for release, packages := range map[string][]yumtest.Package{
		"2023.0.20230315": {old, yumtest.Kernel("kernel-devel", "6.1.15", "28.43.amzn2023", "x86_64")},
		"2023.1.20230628": {old, mid, yumtest.Kernel("kernel-modules-extra", "6.1.34", "56.100.amzn2023", "x86_64")},
		"2023.10.20260105": {yumtest.Kernel("kernel6.12", "6.12.63", "84.121.amzn2023", "x86_64"),
			yumtest.Kernel("kernel6.12-devel", "6.12.63", "84.121.amzn2023", "x86_64"), yumtest.Kernel("kernel6.18", "6.18.1", "1.2.amzn2023", "x86_64")},
	} {
		s.Put("/al2023/core/mirrors/"+release+"/x86_64/mirror.list", []byte(s.URL+"/al2023/core/guids/"+release+"/$basearch/"))
		s.Publish("/al2023/core/guids/"+release+"/x86_64", yumtest.XML, packages...)
	}
	for _, repo := range repos2 {
		serve2(s, repo, yumtest.XML)
	}
	src := source(t, s, nil)
	entries, err := src.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if e.Distro != "amazonlinux2023" {
			t.Errorf("got %+v", e)
		}
		got = append(got, fmt.Sprintf("%s %s %d+%d", e.Repo, e.Release, len(e.Image), len(e.Headers)))
	}
	want := []string{
		"2023.0.20230315 6.1.15-28.43.amzn2023.x86_64 1+1",
		"2023.1.20230628 6.1.34-56.100.amzn2023.x86_64 2+0",
		"2023.10.20260105 6.12.63-84.121.amzn2023.x86_64 1+1",
		"2023.10.20260105 6.18.1-1.2.amzn2023.x86_64 1+0",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r, err := src.Resolve(t.Context(), find(t, entries, "6.18.1-1.2.amzn2023.x86_64"))
	if err != nil || len(r.HeadersMissing) != 1 || !strings.Contains(r.HeadersMissing[0], "kernel6.18-devel (= 6.18.1-1.2.amzn2023)") {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReleasesThatCannotBeListed: Amazon Linux 2 is there without those of 2023.
func TestReleasesThatCannotBeListed(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want cause.Cause
	}{
		"not there":     {"", cause.MirrorUnreachable},
		"no XML":        {"releases: none", cause.PackageCorrupt},
		"no release":    {"<root><releases/></root>", cause.PackageCorrupt},
		"cut short":     {`<root><releases><release version="2023.0.20230315"`, cause.PackageCorrupt},
		"a page of XML": {"<!DOCTYPE html><html><body>sign in</body></html>", cause.MirrorUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			s := yumtest.New(t)
			for _, repo := range repos2 {
				serve2(s, repo, yumtest.XML, yumtest.Kernel("kernel", "4.14.355", "280.amzn2", "x86_64"))
			}
			if tc.text != "" {
				s.Put("/al2023/core/releasemd.xml", []byte(tc.text))
			}
			entries, err := source(t, s, nil).Enumerate(t.Context())
			if len(entries) != 1 || entries[0].Repo != "2/core/2.0" {
				t.Errorf("got %+v", entries)
			}
			if cause.Of(err).Cause != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestCompareReleases(t *testing.T) {
	releases := []string{"2023.0.20230315", "2023.0.20230503", "2023.1.20230628", "2023.9.20251117", "2023.10.20260105", "2023.10.99999999999999999999"}
	for i, a := range releases {
		for j, b := range releases {
			if got := compare(a, b); (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("compare(%s, %s) = %d", a, b, got)
			}
		}
	}
}
