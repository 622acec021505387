// SPDX-License-Identifier: Apache-2.0

package el

import (
	"errors"
	"flag"
	"fmt"
	"os"
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

var update = flag.Bool("update", false, "rewrite the golden files")

// source looks at what s serves as the mirrors of a family, each at its name.
func source(t *testing.T, name string, s *yumtest.Server) *Source {
	t.Helper()
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Archive: store, Warn: func(text string) { t.Log(text) }, Keyrings: []string{}, Arches: []string{"x86_64"}, Mirrors: map[string]string{},
		Patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
	}
	for mirror := range families[name].mirrors {
		o.Mirrors[mirror] = s.URL + "/" + mirror
	}
	src, err := New(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// TestPlaces: where each family's kernels are looked for, whole, for people to compare with the mirrors.
func TestPlaces(t *testing.T) {
	var b strings.Builder
	for _, name := range Families() {
		store, err := archive.New(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		src, err := New(name, Options{Archive: store, Warn: func(string) {}, Keyrings: []string{}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range families[name].releases {
			for minor := r.first; minor <= r.last; minor++ {
				g := r.group(name, minor, "x86_64", src)
				for _, repo := range g.Repos {
					fmt.Fprintf(&b, "%s %s %s: %s\n", name, g.Name, repo.Name, strings.Join(repo.Bases, " | "))
				}
			}
		}
	}
	const golden = "testdata/places.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("places changed; go test ./kernels/el -update rewrites the golden file. Now:\n%s", b.String())
	}
}

func list(entries []kernels.Entry) []string {
	var out []string
	for _, e := range entries {
		var names []string
		for _, p := range slices.Concat(e.Image, e.Headers) {
			names = append(names, p.Name)
		}
		out = append(out, fmt.Sprintf("%s:%s#%s %s [%s]", e.Distro, e.Release, e.Version, e.Repo, strings.Join(names, " ")))
	}
	return out
}

func kernel(version, release string, names ...string) []yumtest.Package {
	var out []yumtest.Package
	for _, n := range names {
		out = append(out, yumtest.Kernel(n, version, release, "x86_64"))
	}
	return out
}

// failed are the repos that an enumeration says it could not read, each once, sorted.
func failed(err error) []string {
	var out []string
	var walk func(error)
	walk = func(err error) {
		var repo *kernels.RepoError
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				walk(e)
			}
		} else if errors.As(err, &repo) {
			out = append(out, repo.Repo)
		}
	}
	walk(err)
	slices.Sort(out)
	return slices.Compact(out)
}

// TestRocky: minor releases from mirror and vault, kernel-devel of 9 from AppStream, a release that came after the table,
// and repositories that are not there beside those that are.
func TestRocky(t *testing.T) {
	s := yumtest.New(t)
	s.Publish("/vault/8.6/BaseOS/x86_64/os", yumtest.SQLite, kernel("4.18.0", "372.32.1.el8_6", "kernel", "kernel-core", "kernel-modules", "kernel-devel")...)
	s.Publish("/main/8.10/BaseOS/x86_64/os", yumtest.XML, kernel("4.18.0", "553.el8_10", "kernel", "kernel-core", "kernel-modules", "kernel-devel")...)
	s.Publish("/vault/8.10/BaseOS/x86_64/os", yumtest.XML, kernel("4.18.0", "1.el8_10", "kernel-core")...) // the mirror's counts
	s.Publish("/vault/9.2/BaseOS/x86_64/os", yumtest.XML, kernel("5.14.0", "284.11.1.el9_2", "kernel", "kernel-core", "kernel-modules", "kernel-modules-core", "kernel-modules-extra")...)
	s.Publish("/vault/9.2/AppStream/x86_64/os", yumtest.XML, kernel("5.14.0", "284.11.1.el9_2", "kernel-devel", "kernel-doc")...)
	s.Publish("/main/9.7/BaseOS/x86_64/os", yumtest.XML, kernel("5.14.0", "611.5.1.el9_7", "kernel-core")...) // its AppStream is gone
	src := source(t, "rocky", s)
	entries, err := src.Enumerate(t.Context())
	want := []string{
		"rocky:4.18.0-372.32.1.el8_6.x86_64#1 8.6 [kernel-core kernel-modules kernel-devel]",
		"rocky:4.18.0-553.el8_10.x86_64#1 8.10 [kernel-core kernel-modules kernel-devel]",
		"rocky:5.14.0-284.11.1.el9_2.x86_64#1 9.2 [kernel-core kernel-modules-core kernel-modules kernel-modules-extra kernel-devel]",
		"rocky:5.14.0-611.5.1.el9_7.x86_64#1 9.7 [kernel-core]",
	}
	if got := list(entries); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	bad := failed(err)
	if slices.Contains(bad, "8.6") || slices.Contains(bad, "9.2") || !slices.Contains(bad, "8.5") || !slices.Contains(bad, "9.7") || slices.Contains(bad, "9.8") {
		t.Errorf("could not read %q", bad)
	}
	r, err := src.Resolve(t.Context(), entries[3])
	if err != nil || len(r.HeadersMissing) != 1 || !strings.Contains(r.HeadersMissing[0], "kernel-devel (= 5.14.0-611.5.1.el9_7)") {
		t.Errorf("%+v, %v", r, err)
	}
	if p := entries[0].Image[0]; p.URL != s.URL+"/vault/8.6/BaseOS/x86_64/os/Packages/kernel-core-4.18.0-372.32.1.el8_6.x86_64.rpm" {
		t.Errorf("comes from %s", p.URL)
	}
}

// TestOracle: UEK 6 is one package, UEK 7 has its image in -core beside a package of the same name that holds nothing.
func TestOracle(t *testing.T) {
	s := yumtest.New(t)
	s.Publish("/main/OL8/baseos/latest/x86_64", yumtest.XML, kernel("4.18.0", "553.el8_10", "kernel", "kernel-core", "kernel-modules", "kernel-devel")...)
	s.Publish("/main/OL8/UEKR6/x86_64", yumtest.SQLite, kernel("5.4.17", "2136.338.4.1.el8uek", "kernel-uek", "kernel-uek-devel")...)
	s.Publish("/main/OL8/UEKR7/x86_64", yumtest.SQLite, kernel("5.15.0", "310.184.5.2.el8uek", "kernel-uek", "kernel-uek-core", "kernel-uek-modules", "kernel-uek-devel")...)
	entries, err := source(t, "ol", s).Enumerate(t.Context())
	want := []string{
		"ol:4.18.0-553.el8_10.x86_64#1 OL8 [kernel-core kernel-modules kernel-devel]",
		"ol:5.4.17-2136.338.4.1.el8uek.x86_64#2 OL8/UEKR6 [kernel-uek kernel-uek-devel]",
		"ol:5.15.0-310.184.5.2.el8uek.x86_64#2 OL8/UEKR7 [kernel-uek-core kernel-uek-modules kernel-uek-devel]",
	}
	if got := list(entries); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if bad, want := failed(err), []string{"OL10", "OL10/UEKR8", "OL9", "OL9/UEKR7", "OL9/UEKR8"}; !slices.Equal(bad, want) {
		t.Errorf("could not read %q, want %q", bad, want)
	}
}

// TestSubscribed: a kernel that nobody gives away is in the catalogue with where it is.
func TestSubscribed(t *testing.T) {
	src := source(t, "redhat", yumtest.New(t))
	entries, err := src.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for release, want := range map[string][]string{
		"4.18.0-372.119.1.el8_6.x86_64": {"/content/eus/rhel8/8.6/x86_64/baseos/os/Packages/k/", "EUS"},
		"4.18.0-372.105.1.el8_6.x86_64": {"/content/eus/rhel8/8.6/", "/layered/rhel8/x86_64/rhocp/4.12/os/Packages/k/"},
	} {
		i := slices.IndexFunc(entries, func(e kernels.Entry) bool { return e.Release == release })
		if i < 0 {
			t.Fatalf("no kernel %s", release)
		}
		e := entries[i]
		if e.Distro != "redhat" || e.Availability != kernels.Entitled || e.Repo != "8.6-eus" {
			t.Errorf("got %+v", e)
		}
		_, err := src.Resolve(t.Context(), e)
		if cause.Of(err).Cause != cause.PackageMissing {
			t.Errorf("resolved: %v", err)
		}
		for _, text := range want {
			if !strings.Contains(e.Access, text) || !strings.Contains(fmt.Sprint(cause.Of(err).Evidence), text) {
				t.Errorf("%q: %v does not say %q", e.Access, cause.Of(err).Evidence, text)
			}
		}
	}
	for _, line := range []string{"4.18.0-372.119.1.el8_6.x86_64", "4.18.0 -", "4.18.0-1.el8.x86_64 -", "4.18.0-1.el8_6.x86_64 latest"} {
		if _, err := parseEntitled(line); err == nil {
			t.Errorf("took %q", line)
		}
	}
}

func TestUnknownFamilyOrMirror(t *testing.T) {
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Archive: store, Warn: func(string) {}}
	if _, err := New("fedora", o); err == nil || !strings.Contains(err.Error(), "almalinux, centos, ol, redhat, rocky") {
		t.Errorf("got %v", err)
	}
	o.Mirrors = map[string]string{"vaults": "http://x"}
	if _, err := New("rocky", o); err == nil || !strings.Contains(err.Error(), "main, vault") {
		t.Errorf("got %v", err)
	}
}
