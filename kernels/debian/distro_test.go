// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/results/cause"
)

func distro(r *apttest.Repo, change func(*DistroOptions)) *Distro {
	r.T.Helper()
	o := DistroOptions{
		Options:  options(r),
		Suites:   []string{"bookworm-security", "bookworm"},
		Arches:   []string{"amd64"},
		Snapshot: r.Server.URL + "/snapshot/",
	}
	if change != nil {
		change(&o)
	}
	d, err := NewDistro(o)
	if err != nil {
		r.T.Fatal(err)
	}
	return d
}

// unjoined takes apart what errors.Join made, by repo.
func unjoined(t *testing.T, err error) map[string]error {
	t.Helper()
	out := map[string]error{}
	if err == nil {
		return out
	}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var re *kernels.RepoError
		if !errors.As(err, &re) {
			t.Fatalf("names no repo: %v", err)
		}
		out[re.Repo] = re.Err
	}
	return out
}

func TestEnumerate(t *testing.T) {
	r := twoSuites(t)
	d := distro(r, nil)
	found, err := d.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"bookworm-security/amd64 7.4.1+deb13-cloud-amd64 cloud-amd64 image 1 headers 0 unbootable",
		"bookworm-security/amd64 7.3.4+deb13-cloud-amd64 cloud-amd64 image 4 headers 3",
		"bookworm-security/amd64 6.12.117+deb12-cloud-amd64 cloud-amd64 image 1 headers 0",
		"bookworm-security/amd64 6.1.0-57-cloud-amd64 cloud-amd64 image 1 headers 0",
		"bookworm-security/amd64 6.1.0-56-rt-amd64 rt-amd64 image 1 headers 0",
		"bookworm-security/amd64 6.1.0-56-cloud-amd64 cloud-amd64 image 1 headers 3",
		"bookworm-security/amd64 6.1.0-55-cloud-amd64 cloud-amd64 image 1 headers 3",
		"bookworm-security/amd64 6.1.0-9-cloud-amd64 cloud-amd64 image 1 headers 0",
		"bookworm/amd64 6.1.0-9-cloud-amd64 cloud-amd64 image 1 headers 0",
	}
	var got []string
	for _, e := range found {
		line := strings.Join([]string{e.Repo, e.Release, e.Flavour, "image", digit(len(e.Image)), "headers", digit(len(e.Headers))}, " ")
		if e.Unbootable != "" {
			line += " unbootable"
		}
		got = append(got, line)
		if e.Source != "debian" || e.Distro != "debian" || e.Version != "1" || e.Arch != "x86_64" || e.Availability != kernels.Available {
			t.Errorf("%+v", e)
		}
		if gone := len(e.Policies) == 2 && e.Policies[0].Cause == cause.HeadersMissing; gone != (len(e.Headers) == 0) {
			t.Errorf("%s: policies %+v", e.Release, e.Policies)
		}
		for _, p := range e.Image {
			if strings.Contains(p.Name, "unsigned") {
				t.Errorf("%s: %s, where there is a signed one", e.Release, p.Name)
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func digit(n int) string { return string(rune('0' + n)) }

// TestUnsignedAlone: an image whose signature is not there yet is better than none.
func TestUnsignedAlone(t *testing.T) {
	r := apttest.New(t)
	r.Suite("bookworm", image("6.1.0-56-amd64-unsigned", "6.1.192-2"))
	found, err := distro(r, func(o *DistroOptions) { o.Suites = []string{"bookworm"} }).Enumerate(t.Context())
	if err != nil || len(found) != 1 || found[0].Release != "6.1.0-56-amd64" || found[0].Image[0].Name != "linux-image-6.1.0-56-amd64-unsigned" {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestFamily: headers are looked for in the suites of one release of Debian, not in another's.
func TestFamily(t *testing.T) {
	r := apttest.New(t)
	h := headers("6.1.0-56-cloud-amd64", "6.1.0-56-common", "6.1", "6.1.192-2")
	r.Suite("bullseye", image("6.1.0-56-cloud-amd64", "6.1.192-2"), h[0], h[1])
	r.Suite("bookworm", h[2])
	d := distro(r, func(o *DistroOptions) { o.Suites = []string{"bullseye", "bookworm"} })
	found, err := d.Enumerate(t.Context())
	if err != nil || len(found) != 1 || len(found[0].Headers) != 0 || !strings.Contains(found[0].Policies[0].Reason, "linux-kbuild-6.1") {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestBadSuite: the other suites are there, and of the broken one's family nothing is said that is not known.
func TestBadSuite(t *testing.T) {
	status := func(code int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
	}
	for _, tc := range []struct {
		name  string
		spoil func(r *apttest.Repo)
		want  map[string]cause.Cause // by repo
		has   int                    // kernels all the same
	}{
		{"a suite the mirror lacks", func(r *apttest.Repo) { delete(r.Files, "/debian/dists/bookworm/InRelease") },
			map[string]cause.Cause{"bookworm/amd64": cause.MirrorUnreachable}, 9},
		{"a suite that fails", func(r *apttest.Repo) { r.Handlers["/debian/dists/bookworm/InRelease"] = status(503) },
			map[string]cause.Cause{"bookworm/amd64": cause.MirrorUnreachable, "bookworm-security/amd64": cause.MirrorUnreachable}, 3},
		{"a suite that was altered", func(r *apttest.Repo) { apttest.Flip(r.Files["/debian/dists/bookworm/main/binary-amd64/Packages.xz"]) },
			map[string]cause.Cause{"bookworm/amd64": cause.PackageCorrupt, "bookworm-security/amd64": cause.PackageCorrupt}, 3},
		{"no mirror", func(r *apttest.Repo) { r.Server.Close() },
			map[string]cause.Cause{"bookworm/amd64": cause.MirrorUnreachable, "bookworm-security/amd64": cause.MirrorUnreachable,
				"trixie/amd64": cause.MirrorUnreachable}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := twoSuites(t)
			r.Suite("trixie", image("6.12.117+deb13-amd64", "6.12.117-1"))
			d := distro(r, func(o *DistroOptions) { o.Suites = append(o.Suites, "trixie") })
			tc.spoil(r)
			found, err := d.Enumerate(t.Context())
			got := unjoined(t, err)
			for repo, err := range got {
				if cause.Of(err).Cause != tc.want[repo] {
					t.Errorf("%s: %v", repo, err)
				}
			}
			if len(got) != len(tc.want) {
				t.Errorf("errors of %d repos: %v", len(got), err)
			}
			if len(found) != tc.has {
				t.Errorf("%d kernels", len(found))
			}
		})
	}
}

func TestDistroArm64(t *testing.T) {
	r := apttest.New(t)
	r.Suite("bookworm", image("6.1.0-56-amd64", "6.1.192-2"), image("6.1.0-56-cloud-arm64", "6.1.192-2").On("arm64"))
	d := distro(r, func(o *DistroOptions) { o.Suites, o.Arches = []string{"bookworm"}, nil })
	found, err := d.Enumerate(t.Context())
	if err != nil || len(found) != 2 || found[1].Arch != "aarch64" || found[1].Repo != "bookworm/arm64" || found[1].Flavour != "cloud-arm64" {
		t.Errorf("%+v, %v", found, err)
	}
	// The suite goes on, and one architecture is asked for again: offline each finds the InRelease that it had.
	again := func(offline bool, arches ...string) error {
		d := distro(r, func(o *DistroOptions) {
			o.Archive, o.Offline, o.Suites, o.Arches = d.o.Archive, offline, []string{"bookworm"}, arches
		})
		found, err = d.Enumerate(t.Context())
		return err
	}
	r.Suite("bookworm", image("6.1.0-57-amd64", "6.1.193-1"), image("6.1.0-57-cloud-arm64", "6.1.193-1").On("arm64"))
	if err := again(false, "arm64"); err != nil {
		t.Fatal(err)
	}
	if err := again(true, "amd64", "arm64"); err != nil || len(found) != 2 ||
		found[0].Release != "6.1.0-56-amd64" || found[1].Release != "6.1.0-57-cloud-arm64" {
		t.Errorf("offline: %+v, %v", found, err)
	}
}

// TestBaseAlone: up to 6.18 an image holds everything, and a linux-base that is gone is no loss.
func TestBaseAlone(t *testing.T) {
	const release = "6.18.15+deb13-amd64"
	r := apttest.New(t)
	r.Suite("bookworm", apttest.P("linux-image-"+release, "6.18.15-1", "Depends: kmod, linux-base-"+release+" (= 6.18.15-1)\n"))
	d := distro(r, func(o *DistroOptions) { o.Suites = []string{"bookworm"} })
	found, err := d.Enumerate(t.Context())
	if err != nil || len(found) != 1 || found[0].Unbootable != "" || len(found[0].Image) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestFlavour(t *testing.T) {
	for _, tc := range []struct{ release, abi, flavour string }{
		{"6.1.0-56-cloud-amd64", "6.1.0-56", "cloud-amd64"},
		{"6.1.0-0.deb11.13-amd64", "6.1.0-0.deb11.13", "amd64"},
		{"7.3.4+deb13-rt-arm64", "7.3.4+deb13", "rt-arm64"},
		{"6.12.43+deb13-arm64-16k", "6.12.43+deb13", "arm64-16k"},
		{"7.3", "7.3", ""},
	} {
		if abi := abiOf(tc.release); abi != tc.abi || flavour(tc.release) != tc.flavour {
			t.Errorf("%s: %s and %s", tc.release, abi, flavour(tc.release))
		}
	}
}
