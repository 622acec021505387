// SPDX-License-Identifier: Apache-2.0

package ubuntu

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

// jammy is a release with pockets: a GA kernel, an HWE one, two of the clouds', one of another architecture.
func jammy(t *testing.T) *apttest.Repo {
	t.Helper()
	r := apttest.New(t)
	modules := func(release, version string) apttest.Pkg { return apttest.P("linux-modules-"+release, version, "") }
	image := func(name, release, version string) apttest.Pkg {
		return apttest.P("linux-image-"+name, version, "Depends: kmod, linux-base (>= 4.5ubuntu1~16.04.1), linux-modules-"+release+"\n")
	}
	r.Suite("jammy",
		image("5.15.0-25-generic", "5.15.0-25-generic", "5.15.0-25.25"),
		image("unsigned-5.15.0-25-generic", "5.15.0-25-generic", "5.15.0-25.25"),
		modules("5.15.0-25-generic", "5.15.0-25.25"),
		apttest.P("linux-modules-extra-5.15.0-25-generic", "5.15.0-25.25", ""),
		apttest.P("linux-headers-5.15.0-25-generic", "5.15.0-25.25", "Depends: linux-headers-5.15.0-25, libc6 (>= 2.34)\n"),
		apttest.P("linux-headers-5.15.0-25", "5.15.0-25.25", ""),
		apttest.P("linux-image-generic", "5.15.0.25.27", "Depends: linux-image-5.15.0-25-generic\n"),
		image("5.15.0-30-generic", "5.15.0-30-generic", "5.15.0-30.31"), // its modules are not there
		image("5.15.0-25-generic", "5.15.0-25-generic", "5.15.0-25.25").On("arm64"),
		modules("5.15.0-25-generic", "5.15.0-25.25").On("arm64"),
		apttest.P("linux-headers-5.15.0-25-generic", "5.15.0-25.25", "Depends: linux-headers-5.15.0-25\n").On("arm64"),
		apttest.P("linux-headers-5.15.0-25", "5.15.0-25.25", "").On("arm64"),
	)
	r.Suite("jammy-updates",
		image("6.5.0-26-generic", "6.5.0-26-generic", "6.5.0-26.26~22.04.1+1"), // signed once more
		modules("6.5.0-26-generic", "6.5.0-26.26~22.04.1"),
		apttest.P("linux-headers-6.5.0-26-generic", "6.5.0-26.26~22.04.1", "Depends: linux-hwe-6.5-headers-6.5.0-26\n"),
		apttest.P("linux-hwe-6.5-headers-6.5.0-26", "6.5.0-26.26~22.04.1", ""),
		image("5.15.0-1051-aws", "5.15.0-1051-aws", "5.15.0-1051.56"),
		modules("5.15.0-1051-aws", "5.15.0-1051.56"),
		apttest.P("linux-headers-5.15.0-1051-aws", "5.15.0-1051.56", "Depends: linux-aws-headers-5.15.0-1051\n"),
	)
	r.Suite("jammy-security",
		apttest.P("linux-aws-headers-5.15.0-1051", "5.15.0-1051.56", ""),
		image("unsigned-5.15.0-1035-gke", "5.15.0-1035-gke", "5.15.0-1035.40"),
		modules("5.15.0-1035-gke", "5.15.0-1035.40"),
		apttest.P("linux-headers-5.15.0-1035-gke", "5.15.0-1035.40", "Depends: linux-gke-headers-5.15.0-1035\n"),
	)
	return r
}

func source(r *apttest.Repo, change func(*Options)) *Source {
	r.T.Helper()
	store, err := archive.New(r.T.TempDir())
	if err != nil {
		r.T.Fatal(err)
	}
	o := Options{
		Archive:  store,
		Warn:     func(text string) { r.T.Errorf("warning: %s", text) },
		Mirrors:  Mirrors{Archive: r.Server.URL + "/debian", Security: r.Server.URL + "/debian-security", Ports: r.Server.URL + "/debian/"},
		Releases: []string{"jammy"},
		Arches:   []string{"amd64"},
		Keyrings: []string{r.Keyring()},
		Now:      func() time.Time { return apttest.Now },
		patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		r.T.Fatal(err)
	}
	return s
}

func names(ps []kernels.Package) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Name)
	}
	return strings.Join(out, " ")
}

func TestEnumerate(t *testing.T) {
	s := source(jammy(t), nil)
	found, err := s.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ repo, release, version, flavour, packageVersion, image, headers string }{
		{"jammy-security/amd64", "5.15.0-1035-gke", "40", "gke", "5.15.0-1035.40",
			"linux-image-unsigned-5.15.0-1035-gke linux-modules-5.15.0-1035-gke", ""},
		{"jammy-updates/amd64", "6.5.0-26-generic", "26~22.04.1", "generic", "6.5.0-26.26~22.04.1+1",
			"linux-image-6.5.0-26-generic linux-modules-6.5.0-26-generic", "linux-headers-6.5.0-26-generic linux-hwe-6.5-headers-6.5.0-26"},
		{"jammy-updates/amd64", "5.15.0-1051-aws", "56", "aws", "5.15.0-1051.56",
			"linux-image-5.15.0-1051-aws linux-modules-5.15.0-1051-aws", "linux-headers-5.15.0-1051-aws linux-aws-headers-5.15.0-1051"},
		{"jammy/amd64", "5.15.0-25-generic", "25", "generic", "5.15.0-25.25",
			"linux-image-5.15.0-25-generic linux-modules-5.15.0-25-generic linux-modules-extra-5.15.0-25-generic",
			"linux-headers-5.15.0-25-generic linux-headers-5.15.0-25"},
	} {
		if i >= len(found) {
			t.Fatalf("%d kernels, no %s", len(found), want.release)
		}
		e := found[i]
		if e.Kernel != (kernels.Kernel{Distro: "ubuntu", Release: want.release, Version: want.version, Arch: "x86_64"}) ||
			e.Source != "ubuntu" || e.Repo != want.repo || e.Flavour != want.flavour || e.PackageVersion != want.packageVersion ||
			e.Availability != kernels.Available {
			t.Errorf("got %+v, want %+v", e, want)
		}
		if got := names(e.Image); got != want.image {
			t.Errorf("%s: image %s, want %s", e.Release, got, want.image)
		}
		if got := names(e.Headers); got != want.headers {
			t.Errorf("%s: headers %s, want %s", e.Release, got, want.headers)
		}
		if want.headers == "" {
			if len(e.Policies) != 2 || e.Policies[0].Cause != cause.HeadersMissing || !strings.Contains(e.Policies[0].Reason, "linux-gke-headers-5.15.0-1035") {
				t.Errorf("%s: policies %+v", e.Release, e.Policies)
			}
		}
		r, err := s.Resolve(t.Context(), e)
		if err != nil || names(r.Image) != want.image || (len(r.HeadersMissing) > 0) != (want.headers == "") {
			t.Errorf("%s: resolved %+v, %v", e.Release, r, err)
		}
		// By its release alone it is the same.
		bare, err := s.Resolve(t.Context(), kernels.Entry{Kernel: e.Kernel})
		if err != nil || names(bare.Image) != want.image || bare.Suite+"/amd64" != want.repo {
			t.Errorf("%s: found %+v, %v", e.Release, bare, err)
		}
	}
	if len(found) != 4 {
		t.Errorf("%d kernels", len(found))
	}
}

func TestPorts(t *testing.T) {
	s := source(jammy(t), func(o *Options) { o.Arches = []string{"arm64"} })
	found, err := s.Enumerate(t.Context())
	if len(found) != 1 || found[0].Arch != "aarch64" || found[0].Repo != "jammy/arm64" {
		t.Errorf("found %+v", found)
	}
	// The pockets of this repository have no arm64: errors beside what there is.
	var repos []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var re *kernels.RepoError
		if !errors.As(err, &re) {
			t.Fatal(err)
		}
		repos = append(repos, re.Repo)
	}
	slices.Sort(repos)
	if got := strings.Join(repos, " "); got != "jammy-security/arm64 jammy-updates/arm64" {
		t.Errorf("errors of %s", got)
	}
	for suite, want := range map[string]string{"jammy": public.Ports, "jammy-security": public.Ports} {
		if got := (Mirrors{}).complete().of(suite, "arm64"); got != want {
			t.Errorf("%s: %s", suite, got)
		}
	}
	if got := (Mirrors{}).complete().of("jammy-security", "amd64"); got != public.Security {
		t.Errorf("security: %s", got)
	}
}

// TestWithdrawn: a kernel off the mirrors can be had as far as the archive holds it.
func TestWithdrawn(t *testing.T) {
	s := source(jammy(t), nil)
	found, err := s.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := found[1]
	e.Availability = kernels.Withdrawn
	if _, err := s.Resolve(t.Context(), e); cause.Of(err).Cause != cause.PackageMissing || !strings.Contains(err.Error(), "linux-image-6.5.0-26-generic") {
		t.Errorf("not archived: %v", err)
	}
	for _, p := range e.Image {
		if _, err := s.Fetch(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.Resolve(t.Context(), e)
	if err != nil || len(r.Image) != 2 || r.Headers != nil || len(r.HeadersMissing) != 1 {
		t.Errorf("image archived: %+v, %v", r, err)
	}
	if _, err := s.Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{Release: "9.9.9-1-generic", Arch: "x86_64"}}); cause.Of(err).Cause != cause.PackageMissing {
		t.Errorf("a kernel that never was: %v", err)
	}
}

// TestBadMirror breaks one suite at a time; what is common to all of apt's repositories is tested in kernels/internal/apt.
func TestBadMirror(t *testing.T) {
	const dists = "/debian/dists/jammy-updates/"
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>Please log in</html>")) })
	for _, tc := range []struct {
		name  string
		spoil func(r *apttest.Repo)
		want  cause.Cause
		says  string
	}{
		{"no InRelease", func(r *apttest.Repo) { delete(r.Files, dists+"InRelease") }, cause.MirrorUnreachable, "old-releases"},
		{"a web page", func(r *apttest.Repo) { r.Handlers[dists+"InRelease"] = page }, cause.MirrorUnreachable, "web page"},
		{"index altered", func(r *apttest.Repo) { apttest.Flip(r.Files[dists+"main/binary-amd64/Packages.xz"]) }, cause.PackageCorrupt, "sha256"},
		{"signed by a stranger", func(r *apttest.Repo) {
			text := []byte("Suite: jammy-updates\nCodename: jammy\n")
			r.Files[dists+"InRelease"] = apttest.Sign(r.T, apttest.NewKey(r.T), string(text))
		}, cause.SignatureInvalid, "no keyring"},
		{"another pocket's InRelease", func(r *apttest.Repo) {
			r.Files[dists+"InRelease"] = apttest.Sign(r.T, r.Key, "Suite: jammy-proposed\nCodename: jammy\n")
		}, cause.SignatureInvalid, "jammy-proposed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := jammy(t)
			s := source(r, nil)
			tc.spoil(r)
			found, err := s.Enumerate(t.Context())
			var re *kernels.RepoError
			if !errors.As(err, &re) || re.Repo != "jammy-updates/amd64" && re.Repo != "jammy-security/amd64" {
				t.Fatalf("got %v", err)
			}
			if f := cause.Of(err); f.Fault != cause.FaultInfra || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want one that says %q", err, tc.says)
			}
			if !slices.ContainsFunc(err.(interface{ Unwrap() []error }).Unwrap(), func(e error) bool { return cause.Of(e).Cause == tc.want }) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
			if !slices.ContainsFunc(found, func(e kernels.Entry) bool { return e.Repo == "jammy/amd64" }) {
				t.Error("the other suites were lost")
			}
		})
	}
}

// TestPocketInPlaceOfRelease: the release and its pockets have one code name, and must not stand for each other.
func TestPocketInPlaceOfRelease(t *testing.T) {
	r := jammy(t)
	s := source(r, nil)
	r.Files["/debian/dists/jammy/InRelease"] = apttest.Sign(t, r.Key, "Suite: jammy-updates\nCodename: jammy\n")
	if _, err := s.Enumerate(t.Context()); err == nil || !strings.Contains(err.Error(), "it is the file of suite jammy (jammy-updates)") {
		t.Errorf("got %v", err)
	}
}

func TestUpload(t *testing.T) {
	for _, tc := range []struct{ version, abi, want string }{
		{"5.15.0-25.25", "5.15.0-25", "25"},
		{"6.5.0-26.26~22.04.1", "6.5.0-26", "26~22.04.1"},
		{"5.4.0-1103.110", "5.4.0-1103", "110"},
		{"1:2", "5.4.0-1", "1:2"},
	} {
		if got := upload(tc.version, tc.abi); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.version, got, tc.want)
		}
	}
}
