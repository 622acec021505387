// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/results/cause"
)

func TestParseURL(t *testing.T) {
	const sha = "f40dca4cc6604aff8fa6504e50a39cfa332ca401edb84b96e18c22b54ac6345b"
	for raw, want := range map[string]string{
		// as in the real lists
		"http://amazonlinux.us-west-2.amazonaws.com/blobstore/" + sha + "/kernel-devel-5.10.219-208.866.amzn2.x86_64.rpm":                            "amazonlinux2 5.10.219-208.866.amzn2.x86_64 1 x86_64 devel sha256",
		"https://storage.googleapis.com/cos-tools/16623.39.6/kernel-headers.tgz":                                                                     "cos 16623.39.6  x86_64 headers",
		"https://storage.googleapis.com/cos-tools/17400.0.0/kernel-src.tar.gz":                                                                       "cos 17400.0.0  x86_64 src",
		"https://cdn.redhat.com/content/dist/layered/rhel8/x86_64/rhocp/4.12/os/Packages/k/kernel-devel-4.18.0-372.105.1.el8_6.x86_64.rpm":           "redhat 4.18.0-372.105.1.el8_6.x86_64 1 x86_64 devel entitled",
		"https://cdn.redhat.com/content/dist/layered/rhel8/x86_64/rhocp/4.12/os/Packages/k/kernel-rt-devel-4.18.0-372.93.1.rt7.253.el8_6.x86_64.rpm": "redhat 4.18.0-372.93.1.rt7.253.el8_6.x86_64 1 x86_64 devel entitled",
		"http://security.ubuntu.com/ubuntu/pool/main/l/linux-gke-5.15/linux-headers-5.15.0-1035-gke_5.15.0-1035.40~20.04.1_amd64.deb":                "ubuntu 5.15.0-1035-gke 40~20.04.1 x86_64 headers",
		"http://security.ubuntu.com/ubuntu/pool/main/l/linux-gke-5.15/linux-gke-5.15-headers-5.15.0-1035_5.15.0-1035.40~20.04.1_amd64.deb":           "ubuntu  40~20.04.1 x86_64 headers shared",
		"http://security.ubuntu.com/ubuntu/pool/universe/l/linux-gke/linux-gke-headers-4.4.0-1010_4.4.0-1010.10_all.deb":                             "ubuntu  10  headers shared",
		"https://api.access.redhat.com/management/v1/packages/de7a58dd6e65179dbe1388b44d53137a936288814cca8b2b3e0f94d94d4b4250":                      "!" + ErrOpaque.Error(),
		"https://api.access.redhat.com/management/v1/packages/de7a58dd6e65179dbe1388b44d53137a936288814cca8b2b3e0f94d94d4b4250/download":             "!" + ErrOpaque.Error(),
		"https://storage.googleapis.com/cos-tools/19216.104.7/lakitu-arm64/vmlinux":                                                                  "cos 19216.104.7  aarch64 vmlinux",
		"https://storage.googleapis.com/cos-tools/19216.104.7/lakitu/toolchain.tar.xz":                                                               "cos 19216.104.7  x86_64 toolchain",
		"https://storage.googleapis.com/cos-tools/19216.104.7/lakitu/toolchain_env":                                                                  "!" + ErrNoKernel.Error(),
		"https://storage.googleapis.com/cos-tools/nvidia/x.run":                                                                                      "!" + ErrNoKernel.Error(),
		"http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-cloud-amd64_6.1.27-1_amd64.deb":                                    "debian 6.1.0-9-cloud-amd64 1 x86_64 headers",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-common_6.1.27-1_all.deb":                                           "debian  1  headers shared",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-common-rt_6.1.27-1_all.deb":                                        "debian  1  headers shared",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-kbuild-6.1_6.1.27-1_amd64.deb":                                                     "debian  1 x86_64 headers shared",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-kbuild-7.3.4%2bdeb13_7.3.4-1~bpo13%2b1_amd64.deb":                                  "debian  1 x86_64 headers shared",
		"http://mirror.example.org/debian/pool/main/l/linux-signed-amd64/linux-image-7.3.4+deb13-cloud-amd64_7.3.4-1~bpo13+1_amd64.deb":              "debian 7.3.4+deb13-cloud-amd64 1 x86_64 image",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-image-6.1.0-9-amd64-dbg_6.1.27-1_amd64.deb":                                        "debian 6.1.0-9-amd64 1 x86_64 vmlinux",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-image-6.1.0-9-arm64-unsigned_6.1.27-1_arm64.deb":                                   "debian 6.1.0-9-arm64 1 aarch64 image",
		"http://mirror.example.org/debian/pool/main/l/linux/linux-base-7.3.4+deb13-amd64_7.3.4-1_amd64.deb":                                          "debian 7.3.4+deb13-amd64 1 x86_64 modules",
		"http://mirror.example.org/debian/pool/main/l/linux-base/linux-base_4.12_all.deb":                                                            "!" + ErrNoKernel.Error(),
		"http://archive.ubuntu.com/ubuntu/pool/main/l/linux/linux-headers-5.15.0-25_5.15.0-25.25_all.deb":                                            "ubuntu  25  headers shared",
		"http://archive.ubuntu.com/ubuntu/pool/main/l/linux/linux-modules-extra-5.15.0-25-generic_5.15.0-25.25_amd64.deb":                            "ubuntu 5.15.0-25-generic 25 x86_64 modules",
		"http://archive.ubuntu.com/ubuntu/pool/main/l/linux-meta/linux-headers-generic_5.15.0.25.27_amd64.deb":                                       "!" + ErrNoKernel.Error(),
		"https://esm.ubuntu.com/infra/ubuntu/pool/main/l/linux/linux-image-unsigned-4.15.0-213-generic_4.15.0-213.224_amd64.deb":                     "ubuntu 4.15.0-213-generic 224 x86_64 image entitled",
		"http://ports.ubuntu.com/pool/main/l/linux/linux-image-unsigned-6.8.0-31-generic_6.8.0-31.31_arm64.deb":                                      "ubuntu 6.8.0-31-generic 31 aarch64 image",
		"http://ports.ubuntu.com/pool/main/l/linux/linux-image-unsigned-6.8.0-31-generic_6.8.0-31.31_riscv64.deb":                                    "!" + ErrArch.Error(),
		"http://mirror.example/linux-image-6.8.0-31-generic_6.8.0-31.31_arm64.deb":                                                                   "!" + ErrDistro.Error(),
		"https://dl.rockylinux.org/pub/rocky/8/BaseOS/x86_64/os/Packages/k/kernel-core-4.18.0-553.el8_10.x86_64.rpm":                                 "rocky 4.18.0-553.el8_10.x86_64 1 x86_64 image",
		"https://dl.rockylinux.org/pub/rocky/8/BaseOS/x86_64/os/Packages/k/kernel-4.18.0-553.el8_10.x86_64.rpm":                                      "!" + ErrMeta.Error(),
		"https://dl.rockylinux.org/pub/rocky/8/BaseOS/x86_64/os/Packages/k/kernel-headers-4.18.0-553.el8_10.x86_64.rpm":                              "!" + ErrNoKernel.Error(),
		"https://repo.almalinux.org/almalinux/9/BaseOS/aarch64/os/Packages/kernel-modules-core-5.14.0-427.el9.aarch64.rpm":                           "almalinux 5.14.0-427.el9.aarch64 1 aarch64 modules",
		"https://repo.almalinux.org/almalinux/9/BaseOS/aarch64/os/Packages/kernel-64k-core-5.14.0-427.el9.aarch64.rpm":                               "almalinux 5.14.0-427.el9.aarch64+64k 1 aarch64 image",
		"http://vault.centos.org/8.5.2111/BaseOS/x86_64/os/Packages/kernel-devel-4.18.0-348.el8.x86_64.rpm":                                          "centos 4.18.0-348.el8.x86_64 1 x86_64 devel",
		"http://vault.centos.org/7.9.2009/os/x86_64/Packages/kernel-3.10.0-1160.el7.x86_64.rpm":                                                      "centos 3.10.0-1160.el7.x86_64 1 x86_64 image",
		"http://yum.oracle.com/repo/OracleLinux/OL8/UEKR7/x86_64/getPackage/kernel-uek-devel-5.15.0-200.131.27.el8uek.x86_64.rpm":                    "ol 5.15.0-200.131.27.el8uek.x86_64 2 x86_64 devel",
		"http://mirror.example/kernel-devel-4.18.0-553.el8_10.x86_64.rpm":                                                                            "!" + ErrDistro.Error(),
		"http://mirror.example/kernel-devel-4.18.0-553.el8_10.s390x.rpm":                                                                             "!" + ErrArch.Error(),
		"https://cdn.amazonlinux.com/al2023/blobstore/" + sha + "/kernel6.12-modules-extra-6.12.55-75.amzn2023.x86_64.rpm":                           "amazonlinux2023 6.12.55-75.amzn2023.x86_64 1 x86_64 modules sha256",
		"https://cdn.amazonlinux.com/2/core/kernel-livepatch-5.10.219-208.866-1.0-0.amzn2.x86_64.rpm":                                                "!" + ErrNoKernel.Error(),
		"https://mirrors.kernel.org/fedora/updates/40/Everything/x86_64/Packages/k/kernel-debug-core-6.8.5-301.fc40.x86_64.rpm":                      "fedora 6.8.5-301.fc40.x86_64+debug 1 x86_64 image",
		"ftp://ftp.example/linux-image-6.1.0-9-amd64_6.1.27-1_amd64.deb":                                                                             "!" + ErrNoURL.Error(),
		"kernel-devel-5.10.219-208.866.amzn2.x86_64.rpm":                                                                                             "!" + ErrNoURL.Error(),
		"http://debian.example/" + strings.Repeat("x", maxURL):                                                                                       "!" + ErrNoURL.Error(),
		"http://debian.example/x.deb": "!" + ErrNoKernel.Error(),
		"http://debian.example/":      "!" + ErrNoKernel.Error(),
	} {
		got := describe(ParseURL(raw))
		if got != want {
			t.Errorf("%s\n got  %s\n want %s", raw, got, want)
		}
	}
}

func describe(a Artifact, err error) string {
	if err != nil {
		return "!" + err.Error()
	}
	s := fmt.Sprintf("%s %s %s %s %s", a.Distro, a.Release+a.BuildID, a.Version, a.Arch, a.Part)
	if a.Shared {
		s += " shared"
	}
	if a.Package.Digest != "" {
		s += " sha256"
	}
	if a.Access != "" {
		s += " entitled"
	}
	return s
}

// find returns the entry of a release or build.
func find(t *testing.T, r *Result, name string) kernels.Entry {
	t.Helper()
	for _, e := range r.Entries {
		if e.Release == name || e.BuildID == name {
			return e
		}
	}
	t.Fatalf("no entry %s among %d", name, len(r.Entries))
	return kernels.Entry{}
}

func whys(r *Result) map[string]int {
	out := map[string]int{}
	for _, w := range r.Reasons() {
		out[w.Why] = w.Count
	}
	return out
}

func TestReadURLs(t *testing.T) {
	for _, tc := range []struct {
		file          string
		read, entries int
		skipped       map[string]int
	}{
		{"amazon.txt", 3, 3, nil},
		{"cos.txt", 5, 3, nil},
		{"rhocp.txt", 3, 3, nil},
		{"ubuntu.txt", 6, 3, nil},
		{"rhel.txt", 0, 0, map[string]int{ErrOpaque.Error(): 3}},
	} {
		t.Run(tc.file, func(t *testing.T) {
			r, err := Read(t.Context(), Auto, filepath.Join("testdata/urls", tc.file), Options{})
			if (err != nil) != (tc.entries == 0) {
				t.Fatal(err)
			}
			if r.Kind != URLs || r.Read != tc.read || len(r.Entries) != tc.entries || !maps.Equal(whys(r), tc.skipped) {
				t.Errorf("%s: read %d lines, %d entries, skipped %v", r.Kind, r.Read, len(r.Entries), whys(r))
			}
		})
	}
}

func TestEntries(t *testing.T) {
	read := func(file string) *Result {
		r, err := Read(t.Context(), URLs, filepath.Join("testdata/urls", file), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	e := find(t, read("amazon.txt"), "5.10.219-208.866.amzn2.x86_64")
	if e.Source != "import" || e.Repo != "amazon.txt" || e.Availability != kernels.Available || e.PackageVersion != "5.10.219-208.866.amzn2" ||
		len(e.Headers) != 1 || e.Headers[0].Digest != "f40dca4cc6604aff8fa6504e50a39cfa332ca401edb84b96e18c22b54ac6345b" || e.Unbootable == "" {
		t.Errorf("%+v", e)
	}
	e = find(t, read("ubuntu.txt"), "5.15.0-1035-gke")
	if len(e.Headers) != 2 || e.Version != "40" || e.Flavour != "gke" || e.Headers[1].Name != "linux-headers-5.15.0-1035-gke" {
		t.Errorf("%+v", e)
	}
	e = find(t, read("rhocp.txt"), "4.18.0-372.93.1.rt7.253.el8_6.x86_64")
	if e.Availability != kernels.Entitled || !strings.Contains(e.Access, "/content/dist/layered/rhel8/x86_64/rhocp/4.12/os") || e.Flavour != "rt" {
		t.Errorf("%+v", e)
	}
	e = find(t, read("cos.txt"), "16623.39.6")
	if len(e.Policies) != 1 || e.Policies[0].Cause != cause.PolicyDenied || e.Flavour != "R93" || len(e.Headers) != 1 {
		t.Errorf("%+v", e)
	}
}

// TestSharedWithoutKernel: a package that belongs to kernels of which the list has none is told.
func TestSharedWithoutKernel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list")
	text := "http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-common_6.1.27-1_all.deb\n" +
		"\n# comment\n" +
		"http://mirror.example.org/debian/pool/main/l/linux/linux-image-6.1.0-9-arm64_6.1.27-1_arm64.deb\n" +
		"http://mirror.example.org/debian/pool/main/l/linux/linux-kbuild-6.1_6.1.27-1_amd64.deb\n" +
		"http://security.debian.org/pool/updates/main/l/linux/linux-image-6.1.0-9-arm64_6.1.27-1_arm64.deb\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), URLs, file, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Entries) != 1 || len(r.Entries[0].Image) != 1 || len(r.Entries[0].Headers) != 1 || r.Read != 3 {
		t.Errorf("%d lines, %+v", r.Read, r.Entries)
	}
	if len(r.Skipped) != 1 || r.Skipped[0].Where != "list:5" || !strings.Contains(r.Skipped[0].Why, "6.1.27-1") {
		t.Errorf("skipped %v", r.Skipped)
	}
}

// TestRealLists: every line of the real lists is a kernel's file, or has the reason why it cannot be.
func TestRealLists(t *testing.T) {
	dir := os.Getenv("MEWS_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	dir = filepath.Join(dir, "kernel-urls")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the list of real URLs is not here: %v", err)
	}
	want := map[string]struct {
		read, entries int
		skipped       map[string]int
	}{
		"amazon-5.10.txt":     {61, 61, nil},
		"amazon-extras.txt":   {72, 72, nil},
		"cos.txt":             {1895, 1001, nil},
		"rhel.txt":            {0, 0, map[string]int{ErrOpaque.Error(): 512}},
		"rhel8-rhocp4.12.txt": {54, 54, nil},
		"ubuntu-gke.txt":      {482, 241, nil},
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) != len(want) {
		t.Fatalf("%d lists, %v", len(files), err)
	}
	for _, file := range files {
		w := want[filepath.Base(file)]
		r, err := Read(t.Context(), Auto, file, Options{})
		if r == nil || (err != nil) != (w.entries == 0) {
			t.Fatal(err)
		}
		if r.Read != w.read || len(r.Entries) != w.entries || !maps.Equal(whys(r), w.skipped) {
			t.Errorf("%s: read %d lines, %d entries, skipped %v", filepath.Base(file), r.Read, len(r.Entries), whys(r))
		}
		if filepath.Base(file) == "amazon-5.10.txt" {
			for release, digest := range map[string]string{
				"5.10.179-168.710.amzn2.x86_64": "70141559028b2a599a87b02d5ed3db9a6cc248d2f61254c05ff021b4e7915836",
				"5.10.219-208.866.amzn2.x86_64": "f40dca4cc6604aff8fa6504e50a39cfa332ca401edb84b96e18c22b54ac6345b",
			} {
				if e := find(t, r, release); string(e.Headers[0].Digest) != digest {
					t.Errorf("%s: headers %+v", release, e.Headers)
				}
			}
		}
	}
}

func TestReadErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		name string
		kind Kind
		path string
		o    Options
		want cause.Cause
		says string
	}{
		{"not there", URLs, filepath.Join(dir, "none"), Options{}, cause.PackageCorrupt, "none"},
		{"not there, of no kind", Auto, filepath.Join(dir, "none"), Options{}, cause.PackageCorrupt, "none"},
		{"a directory for a list", URLs, dir, Options{}, cause.PackageCorrupt, "not a file"},
		{"nothing in it", URLs, write("empty", ""), Options{}, cause.PackageMissing, "no kernel"},
		{"nothing to tell the kind by", Auto, write("empty", ""), Options{}, cause.PackageCorrupt, "empty"},
		{"prose", Auto, write("prose", "Dear all,\n"), Options{}, cause.PackageCorrupt, "cannot tell"},
		{"a line without end", URLs, write("long", strings.Repeat("x", 2<<20)), Options{}, cause.PackageCorrupt, "too long"},
		{"no such kind", "tarball", dir, Options{}, cause.Internal, "kind of import"},
		{"no such architecture", URLs, dir, Options{Arch: "amd64"}, cause.Internal, "amd64"},
		{"no archive", Dir, dir, Options{}, cause.Internal, "archive"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Read(t.Context(), tc.kind, tc.path, tc.o)
			if cause.Of(err).Cause != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzURL(f *testing.F) {
	f.Add("http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-cloud-amd64_6.1.27-1_amd64.deb")
	f.Add("https://dl.rockylinux.org/pub/rocky/8/BaseOS/x86_64/os/Packages/k/kernel-core-4.18.0-553.el8_10.x86_64.rpm")
	f.Add("https://storage.googleapis.com/cos-tools/17800.570.5/lakitu/kernel-headers.tgz")
	f.Add("http://a.example/blobstore/f40dca4cc6604aff8fa6504e50a39cfa332ca401edb84b96e18c22b54ac6345b/kernel-5.10.219-208.866.amzn2.x86_64.rpm")
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := ParseURL(raw)
		if err != nil {
			for _, known := range []error{ErrNoURL, ErrOpaque, ErrNoKernel, ErrDistro, ErrMeta, ErrArch} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("no reason that is known: %v", err)
		}
		if a.Distro == "" || a.Part == "" || a.Package.Name == "" || a.Package.URL != raw || strings.ContainsAny(a.Release, "/ \n\x00") {
			t.Fatalf("made %+v", a)
		}
		if !a.Shared && (a.Arch == "" || a.Release == "" && a.BuildID == "") {
			t.Fatalf("which kernel? %+v", a)
		}
		if a.Package.Digest != "" && !a.Package.Digest.Valid() {
			t.Fatalf("digest %q", a.Package.Digest)
		}
	})
}
