// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"strings"
	"testing"
	"time"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/kernels/internal/get"
	"github.com/mews-farm/mews/results/cause"
)

func image(release, version string) apttest.Pkg {
	return apttest.P("linux-image-"+release, version, "Depends: kmod, linux-base (>= 4.3~)\n")
}

// headers of a kernel whose packages are of one version.
func headers(release, common, kbuild, version string) []apttest.Pkg {
	return []apttest.Pkg{
		apttest.P("linux-headers-"+release, version, "Depends: linux-headers-"+common+" (= "+version+"), linux-kbuild-"+kbuild+
			" (>= "+version+"), linux-compiler-gcc-12-x86\n"),
		apttest.P("linux-headers-"+common, version, ""),
		apttest.P("linux-kbuild-"+kbuild, version, ""),
	}
}

// options are those of a source with a new archive.
func options(r *apttest.Repo) Options {
	r.T.Helper()
	store, err := archive.New(r.T.TempDir())
	if err != nil {
		r.T.Fatal(err)
	}
	return Options{
		Archive:  store,
		Warn:     func(text string) { r.T.Log("warning: " + text) },
		Mirrors:  Mirrors{Main: r.Server.URL + "/debian/"},
		Keyrings: []string{r.Keyring()},
		Now:      func() time.Time { return apttest.Now },
		patience: get.Patience{Stall: 10 * time.Second, Backoff: time.Millisecond},
	}
}

// kernelRepo is two suites, as bookworm-security and bookworm are.
func kernelRepo(t *testing.T) *Source {
	s, err := New(options(twoSuites(t)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func twoSuites(t *testing.T) *apttest.Repo {
	r := apttest.New(t)
	security := []apttest.Pkg{
		image("6.1.0-9-cloud-amd64", "6.1.90-1"),
		image("6.1.0-55-cloud-amd64", "6.1.190-1"),
		image("6.1.0-56-cloud-amd64", "6.1.192-2"),
		image("6.1.0-57-cloud-amd64", "6.1.193-1"), // its headers are not there
		image("6.1.0-56-cloud-amd64-unsigned", "6.1.192-2"),
		image("6.1.0-56-rt-amd64", "6.1.192-2"),
		image("6.1.0-56-cloud-amd64-dbg", "6.1.192-2"),
		apttest.P("linux-image-6.1-cloud-amd64", "6.1.193-1", "Depends: linux-image-6.1.0-57-cloud-amd64 (= 6.1.193-1)\n"),
		apttest.P("linux-image-cloud-amd64", "6.1.193-1", "Depends: linux-image-6.1.0-57-cloud-amd64 (= 6.1.193-1)\n"),
		image("6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1"),
		apttest.P("linux-image-7.3.4+deb13-cloud-amd64", "7.3.4-1", "Pre-Depends: linux-base (>= 4.17~)\nDepends: dracut | initramfs-tools, "+
			"linux-base-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), linux-binary-7.3.4+deb13-cloud-amd64 (= 7.3.4-1), "+
			"linux-modules-7.3.4+deb13-cloud-amd64 (= 7.3.4-1)\n"),
		apttest.P("linux-base-7.3.4+deb13-cloud-amd64", "7.3.4-1", ""),
		apttest.P("linux-binary-7.3.4+deb13-cloud-amd64", "7.3.4-1", ""),
		apttest.P("linux-modules-7.3.4+deb13-cloud-amd64", "7.3.4-1", ""),
		apttest.P("linux-image-7.4.1+deb13-cloud-amd64", "7.4.1-1", "Depends: linux-binary-7.4.1+deb13-cloud-amd64 (= 7.4.1-1)\n"),
	}
	security = append(security, headers("6.1.0-55-cloud-amd64", "6.1.0-55-common", "6.1", "6.1.190-1")...)
	security = append(security, headers("7.3.4+deb13-cloud-amd64", "7.3.4+deb13-common", "7.3.4+deb13", "7.3.4-1")...)
	h := headers("6.1.0-56-cloud-amd64", "6.1.0-56-common", "6.1", "6.1.192-2")
	security = append(security, h[0], h[1])
	r.Suite("bookworm-security", security...)
	r.Suite("bookworm", h[2], image("6.1.0-9-cloud-amd64", "6.1.90-1"))
	return r
}

func list(ps []kernels.Package) string {
	var out []string
	for _, p := range ps {
		out = append(out, p.Name+"="+p.Version)
	}
	return strings.Join(out, " ")
}

func TestResolve(t *testing.T) {
	s := kernelRepo(t)
	both := []string{"bookworm-security", "bookworm"}
	for _, tc := range []struct {
		name    string
		suites  []string
		pattern string
		latest  int
		want    string // releases, * for one without headers
	}{
		{"newest with headers, kbuild from the other suite", both, "6.1.*-cloud-amd64", 1, "6.1.0-56-cloud-amd64"},
		{"newest with headers, of one suite", both[:1], "6.1.*-cloud-amd64", 1, "6.1.0-55-cloud-amd64"},
		{"two", both, "6.1.*-cloud-amd64", 2, "6.1.0-56-cloud-amd64 6.1.0-55-cloud-amd64"},
		{"more than there are", both, "6.1.*-cloud-amd64", 9, "6.1.0-56-cloud-amd64 6.1.0-55-cloud-amd64"},
		{"all, by version and not by name", both, "6.1.*-cloud-amd64", 0,
			"6.1.0-57-cloud-amd64* 6.1.0-56-cloud-amd64 6.1.0-55-cloud-amd64 6.1.0-9-cloud-amd64*"},
		{"exact, without headers", both, "6.1.0-57-cloud-amd64", 1, "6.1.0-57-cloud-amd64*"},
		{"unsigned when named", both, "6.1.*-cloud-amd64-unsigned", 0, "6.1.0-56-cloud-amd64"},
		{"real-time when named", both, "6.1.*-rt-amd64", 0, "6.1.0-56-rt-amd64*"},
		{"not real-time unless named", both, "6.1.0-56-*", 0, "6.1.0-56-cloud-amd64"},
		{"split", both, "7.*-cloud-amd64", 1, "7.3.4+deb13-cloud-amd64"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rs, err := s.Resolve(t.Context(), tc.suites, tc.pattern, tc.latest)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range rs {
				mark := ""
				if len(r.Headers) == 0 {
					mark = "*"
				}
				if (len(r.Headers) == 0) != (len(r.HeadersMissing) > 0) {
					t.Errorf("%s: headers %v, missing %v", r.Kernel.Release, r.Headers, r.HeadersMissing)
				}
				got = append(got, r.Kernel.Release+mark)
			}
			if s := strings.Join(got, " "); s != tc.want {
				t.Errorf("got  %s\nwant %s", s, tc.want)
			}
		})
	}
}

func TestResolvePackages(t *testing.T) {
	s := kernelRepo(t)
	for _, tc := range []struct{ release, image, headers string }{
		{"6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64=6.1.192-2",
			"linux-headers-6.1.0-56-cloud-amd64=6.1.192-2 linux-headers-6.1.0-56-common=6.1.192-2 linux-kbuild-6.1=6.1.192-2"},
		{"7.3.4+deb13-cloud-amd64", "linux-image-7.3.4+deb13-cloud-amd64=7.3.4-1 linux-base-7.3.4+deb13-cloud-amd64=7.3.4-1 " +
			"linux-binary-7.3.4+deb13-cloud-amd64=7.3.4-1 linux-modules-7.3.4+deb13-cloud-amd64=7.3.4-1",
			"linux-headers-7.3.4+deb13-cloud-amd64=7.3.4-1 linux-headers-7.3.4+deb13-common=7.3.4-1 linux-kbuild-7.3.4+deb13=7.3.4-1"},
	} {
		rs, err := s.Resolve(t.Context(), []string{"bookworm-security", "bookworm"}, tc.release, 0)
		if err != nil {
			t.Fatal(err)
		}
		r := rs[0]
		if r.Kernel != (kernels.Kernel{Distro: "debian", Release: tc.release, Version: "1", Arch: "x86_64"}) {
			t.Errorf("identity %+v", r.Kernel)
		}
		if got := list(r.Image); got != tc.image {
			t.Errorf("image   %s\nwant    %s", got, tc.image)
		}
		if got := list(r.Headers); got != tc.headers {
			t.Errorf("headers %s\nwant    %s", got, tc.headers)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	s := kernelRepo(t)
	both := []string{"bookworm-security", "bookworm"}
	for _, tc := range []struct {
		pattern string
		latest  int
		want    cause.Cause
		says    string
	}{
		{"9.9.9-cloud-amd64", 1, cause.PackageMissing, "9.9.9"},
		{"6.1.*-dbg", 0, cause.PackageMissing, "6.1.*-dbg"},
		{"6.1-cloud-amd64", 0, cause.PackageMissing, "6.1-cloud-amd64"},
		{"6.12.*-cloud-amd64", 1, cause.HeadersMissing, "6.12.117+deb12-cloud-amd64"},
		{"7.4.1+deb13-cloud-amd64", 1, cause.PackageMissing, "linux-binary-7.4.1+deb13-cloud-amd64 (= 7.4.1-1)"},
		{"[", 0, cause.PackageMissing, "pattern"},
	} {
		_, err := s.Resolve(t.Context(), both, tc.pattern, tc.latest)
		if err == nil || cause.Of(err).Cause != tc.want || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: got %v, want %s about %s", tc.pattern, err, tc.want, tc.says)
		}
	}
}
