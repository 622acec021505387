// SPDX-License-Identifier: Apache-2.0

package debian

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/apttest"
	"github.com/mews-farm/mews/results/cause"
)

// past publishes packages that are on no mirror any more, in the words of snapshot.debian.org.
func past(r *apttest.Repo, packages ...apttest.Pkg) {
	versions := map[string][]string{}
	for _, p := range packages {
		content := []byte("the file of " + p.Name + " " + p.Version)
		sum := sha1.Sum(content)
		hash := hex.EncodeToString(sum[:])
		r.Files["/snapshot/file/"+hash] = content
		versions[p.Name] = append(versions[p.Name], fmt.Sprintf(
			`{"binary_version":%q,"name":%q,"source":"linux-signed-amd64","version":%q}`, p.Version, p.Name, strings.Replace(p.Version, "-", "+", 1)))
		r.Files["/snapshot/mr/binary/"+p.Name+"/"+p.Version+"/binfiles"] = fmt.Appendf(nil, `{"_comment":"foo","binary":%q,"binary_version":%q,
			"fileinfo":{%q:[{"archive_name":"debian","first_seen":"20240501T000000Z","name":"%s_%s_%s.deb","path":"/pool/main/l/linux","size":%d}]},
			"result":[{"architecture":"i386","hash":"%s"},{"architecture":%q,"hash":%q}]}`,
			p.Name, p.Version, hash, p.Name, p.Version, p.Arch, len(content), strings.Repeat("0", 40), p.Arch, hash)
	}
	for name, list := range versions {
		r.Files["/snapshot/mr/binary/"+name+"/"] = fmt.Appendf(nil, `{"_comment":"foo","binary":%q,"result":[%s]}`, name, strings.Join(list, ","))
	}
}

// vanished is a kernel of each layout, with headers.
func vanished(r *apttest.Repo) {
	past(r,
		apttest.P("linux-image-6.1.0-20-cloud-amd64", "6.1.85-1", ""),
		apttest.P("linux-image-6.1.0-20-cloud-amd64", "6.1.9-1", ""), // older, though not by its letters
		apttest.P("linux-headers-6.1.0-20-cloud-amd64", "6.1.85-1", ""),
		apttest.P("linux-headers-6.1.0-20-common", "6.1.85-1", "").On("all"),
		apttest.P("linux-kbuild-6.1", "6.1.85-1", ""),
		apttest.P("linux-image-6.19.8+deb13-amd64", "6.19.8-1", ""),
		apttest.P("linux-base-6.19.8+deb13-amd64", "6.19.8-1", ""),
		apttest.P("linux-binary-6.19.8+deb13-amd64", "6.19.8-1", ""),
		apttest.P("linux-modules-6.19.8+deb13-amd64", "6.19.8-1", ""),
		apttest.P("linux-headers-6.19.8+deb13-amd64", "6.19.8-1", ""),
		apttest.P("linux-kbuild-6.19.8+deb13", "6.19.8-1", ""),
	)
}

func exact(release string) kernels.Entry {
	return kernels.Entry{Kernel: kernels.Kernel{Distro: "debian", Release: release, Arch: "x86_64"}}
}

func TestSnapshot(t *testing.T) {
	r := twoSuites(t)
	vanished(r)
	d := distro(r, nil)
	for _, tc := range []struct{ release, image, headers, missing string }{
		{"6.1.0-20-cloud-amd64", "linux-image-6.1.0-20-cloud-amd64=6.1.85-1",
			"linux-headers-6.1.0-20-cloud-amd64=6.1.85-1 linux-headers-6.1.0-20-common=6.1.85-1 linux-kbuild-6.1=6.1.85-1", ""},
		{"6.19.8+deb13-amd64", "linux-image-6.19.8+deb13-amd64=6.19.8-1 linux-base-6.19.8+deb13-amd64=6.19.8-1 " +
			"linux-binary-6.19.8+deb13-amd64=6.19.8-1 linux-modules-6.19.8+deb13-amd64=6.19.8-1", "", "linux-headers-6.19.8+deb13-common"},
		{"6.1.0-56-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64=6.1.192-2", // of the suites
			"linux-headers-6.1.0-56-cloud-amd64=6.1.192-2 linux-headers-6.1.0-56-common=6.1.192-2 linux-kbuild-6.1=6.1.192-2", ""},
	} {
		got, err := d.Resolve(t.Context(), exact(tc.release))
		if err != nil {
			t.Errorf("%s: %v", tc.release, err)
			continue
		}
		if list(got.Image) != tc.image || list(got.Headers) != tc.headers || !strings.Contains(strings.Join(got.HeadersMissing, " "), tc.missing) {
			t.Errorf("%s: image %s, headers %s, missing %q", tc.release, list(got.Image), list(got.Headers), got.HeadersMissing)
		}
		for _, p := range append(got.Image, got.Headers...) {
			path, err := d.Fetch(t.Context(), p)
			if err != nil {
				t.Errorf("%s: %v", p.Name, err)
				continue
			}
			if content, _ := os.ReadFile(path); p.Digest == "" && string(content) != "the file of "+p.Name+" "+p.Version {
				t.Errorf("%s: %q", p.Name, content)
			}
		}
	}
}

// TestSnapshotCompletes: what the mirror dropped of a kernel comes from the snapshot, the rest stays.
func TestSnapshotCompletes(t *testing.T) {
	r := apttest.New(t)
	vanished(r)
	const release = "6.19.8+deb13-amd64"
	r.Suite("bookworm",
		apttest.P("linux-image-"+release, "6.19.8-1", "Depends: linux-base-"+release+" (= 6.19.8-1), linux-binary-"+release+
			" (= 6.19.8-1), linux-modules-"+release+" (= 6.19.8-1)\n"),
		apttest.P("linux-binary-"+release, "6.19.8-1", ""))
	only := func(o *DistroOptions) { o.Suites = []string{"bookworm"} }
	d := distro(r, only)
	found, err := d.Enumerate(t.Context())
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Unbootable, "linux-modules-"+release) {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, e := range []kernels.Entry{found[0], exact(release)} {
		got, err := d.Resolve(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		sums := 0
		for _, p := range got.Image {
			if p.Sum != "" {
				sums++
			}
		}
		if len(got.Image) != 4 || sums != 2 {
			t.Errorf("image %+v", got.Image)
		}
	}
	offline := distro(r, func(o *DistroOptions) { only(o); o.Offline, o.Archive = true, d.o.Archive })
	if _, err := offline.Resolve(t.Context(), found[0]); cause.Of(err).Cause != cause.PackageMissing || !strings.Contains(err.Error(), "linux-modules") {
		t.Errorf("offline: %v", err)
	}
}

// TestWithdrawn: the catalogue's digests stand, the snapshot only says where.
func TestWithdrawn(t *testing.T) {
	r := twoSuites(t)
	d := distro(r, nil)
	found, err := d.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := found[5] // 6.1.0-56-cloud-amd64
	e.Availability = kernels.Withdrawn
	if _, err := d.Resolve(t.Context(), e); cause.Of(err).Cause != cause.PackageMissing {
		t.Errorf("neither archived nor in the snapshot: %v", err)
	}
	past(r, apttest.P(e.Image[0].Name, e.Image[0].Version, ""))
	got, err := d.Resolve(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Image[0]; p.Digest != e.Image[0].Digest || !strings.HasPrefix(p.URL, r.Server.URL+"/snapshot/file/") {
		t.Errorf("image %+v", p)
	}
	if got.Headers != nil || len(got.HeadersMissing) != 1 {
		t.Errorf("headers %+v, missing %q", got.Headers, got.HeadersMissing)
	}
	if _, err := d.Fetch(t.Context(), got.Image[0]); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("another content under that name: %v", err)
	}
	if _, err := d.Fetch(t.Context(), e.Image[0]); err != nil { // while the mirror still had it
		t.Fatal(err)
	}
	if got, err = d.Resolve(t.Context(), e); err != nil || got.Image[0].URL != e.Image[0].URL {
		t.Errorf("archived: %+v, %v", got, err)
	}
}

func TestBadSnapshot(t *testing.T) {
	const listing = "/snapshot/mr/binary/linux-image-6.1.0-20-cloud-amd64/"
	const files = listing + "6.1.85-1/binfiles"
	fetched := func(r *apttest.Repo) error {
		d := distro(r, nil)
		got, err := d.Resolve(r.T.Context(), exact("6.1.0-20-cloud-amd64"))
		if err != nil {
			return err
		}
		_, err = d.Fetch(r.T.Context(), got.Image[0])
		return err
	}
	for _, tc := range []struct {
		name  string
		spoil func(r *apttest.Repo)
		want  cause.Cause
		says  string
	}{
		{"never was", func(r *apttest.Repo) { delete(r.Files, listing) }, cause.PackageMissing, "6.1.0-20-cloud-amd64"},
		{"no version", func(r *apttest.Repo) { r.Files[listing] = []byte(`{"result":[]}`) }, cause.PackageMissing, "6.1.0-20"},
		{"fails", func(r *apttest.Repo) {
			r.Handlers[listing] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
		}, cause.MirrorUnreachable, "snapshot.debian.org can be reached"},
		{"a web page", func(r *apttest.Repo) { r.Files[listing] = []byte("<!DOCTYPE html><html>") }, cause.MirrorUnreachable, "web page"},
		{"no JSON", func(r *apttest.Repo) { r.Files[files] = []byte("{") }, cause.PackageCorrupt, "JSON"},
		{"a hash that is a path", func(r *apttest.Repo) {
			r.Files[files] = []byte(`{"result":[{"architecture":"amd64","hash":"../../mr"}]}`)
		}, cause.PackageCorrupt, "not a SHA-1"},
		{"other architectures alone", func(r *apttest.Repo) {
			r.Files[files] = []byte(`{"result":[{"architecture":"arm64","hash":"` + strings.Repeat("0", 40) + `"}]}`)
		}, cause.PackageMissing, "6.1.0-20"},
		{"another content", func(r *apttest.Repo) {
			for path, content := range r.Files {
				if strings.HasPrefix(path, "/snapshot/file/") {
					apttest.Flip(content)
				}
			}
		}, cause.PackageCorrupt, "sha1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := twoSuites(t)
			vanished(r)
			if err := fetched(r); err != nil {
				t.Fatalf("before anything is spoilt: %v", err)
			}
			tc.spoil(r)
			err := fetched(r)
			if cause.Of(err).Cause != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %s about %q", err, tc.want, tc.says)
			}
		})
	}
}
