// SPDX-License-Identifier: Apache-2.0

package cos

import (
	"archive/tar"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels"
	"github.com/mews-farm/mews/kernels/internal/debtest"
	"github.com/mews-farm/mews/results/cause"
)

// headers makes a kernel-headers.tgz whose directory is for dir and whose utsrelease.h says release.
func headers(t *testing.T, dir, release, version string) string {
	t.Helper()
	root := "usr/src/linux-headers-" + dir + "/"
	files := []debtest.Entry{debtest.Dir(root), debtest.File(root+"Makefile", "all:\n")}
	if release != "" {
		files = append(files, debtest.File(root+"include/generated/utsrelease.h", fmt.Sprintf("#define UTS_RELEASE %q\n", release)))
	}
	if version != "" {
		files = append(files, debtest.File(root+"include/generated/compile.h",
			fmt.Sprintf("#define UTS_VERSION \"%s SMP Sat Jan 1 00:00:00 UTC 2026\"\n#define LINUX_COMPILER \"Chromium OS 12.0_pre422132 clang\"\n", version)))
	}
	return string(debtest.Compress(t, ".gz", debtest.Tar(t, files...)))
}

// example is a bucket of four builds: an old one of sources alone, one with everything, one of both
// architectures in the newer layout, one of development; and things that are nobody's kernel.
func example(t *testing.T) *bucket {
	b := &bucket{objects: map[string]string{}, etags: map[string]string{}}
	b.add("10323.12.0/", map[string]string{Sources: "sources"})
	b.add("17800.570.5/", map[string]string{
		Headers: headers(t, "6.1.143+", "6.1.143", "#1"), Sources: "sources", Vmlinux: "\x7fELF", Toolchain: "\xfd7zXZ",
		"toolchain_env": "# made by hand\nexport CC=x86_64-cros-linux-gnu-clang\nCXX=\"x86_64-cros-linux-gnu-clang++\"\n",
		"toolchain_url": "https://storage.example/toolchain/2021/06/x.tar.xz\n", "kernel_commit": "cdf8ea6ae6a5\n",
		"gpu_default_version": "535.161.07", "nvidia/x/y/z.run": "",
	})
	b.add("19216.104.7/lakitu/", map[string]string{Headers: headers(t, "6.12.55+", "6.12.55+", "#1"), Vmlinux: "x86"})
	b.add("19216.104.7/lakitu-arm64/", map[string]string{Headers: headers(t, "6.12.55+", "6.12.55+", "#7"), Vmlinux: "arm"})
	b.add("19216.104.7/lakitu-slice/", map[string]string{Vmlinux: "another board"})
	b.add("17400.0.0/", map[string]string{Sources: "dev"})
	b.add("", map[string]string{"index.html": "<html>", "extensions/gpu/x": "", "17800.570.5": ""})
	return b
}

func names(es []kernels.Entry) string {
	var out []string
	for _, e := range es {
		out = append(out, e.BuildID+"/"+e.Arch)
	}
	return strings.Join(out, " ")
}

func TestEnumerate(t *testing.T) {
	const release = "10323.12.0/x86_64 17800.570.5/x86_64 19216.104.7/aarch64 19216.104.7/x86_64"
	for _, tc := range []struct {
		name   string
		bucket func(*bucket)
		change func(*Options)
		want   string
		pages  int
	}{
		{"one page", nil, nil, release, 1},
		{"three pages, markers", func(b *bucket) { b.page = 8 }, nil, release, 3},
		{"three pages, tokens", func(b *bucket) { b.page = 8; b.v2 = true }, nil, release, 3},
		{"three pages, the last key is the marker", func(b *bucket) { b.page = 8; b.bare = true }, nil, release, 3},
		{"development builds", nil, func(o *Options) { o.Dev = true },
			"10323.12.0/x86_64 17400.0.0/x86_64 17800.570.5/x86_64 19216.104.7/aarch64 19216.104.7/x86_64", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := example(t)
			if tc.bucket != nil {
				tc.bucket(b)
			}
			s := serve(t, b, tc.change)
			es, err := s.Enumerate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := names(es); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			if len(b.requests) != tc.pages {
				t.Errorf("asked %q", b.requests)
			}
		})
	}
}

func TestEntry(t *testing.T) {
	s := serve(t, example(t), nil)
	es, err := s.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := es[1]
	if e.Distro != "cos" || e.Source != "cos" || e.Repo != "cos-tools" || e.Flavour != "R109" || e.Release != "" || e.Availability != kernels.Available {
		t.Errorf("%+v", e)
	}
	if len(e.Policies) != 1 || e.Policies[0].Variant != "kmod" || e.Policies[0].Cause != cause.PolicyDenied || !strings.Contains(e.Policies[0].Reason, "LoadPin") {
		t.Errorf("policies %+v", e.Policies)
	}
	if !strings.Contains(e.Unbootable, "CONFIG_PVH") {
		t.Errorf("bootable: %q", e.Unbootable)
	}
	want := kernels.Package{Name: "vmlinux", Version: "17800.570.5", Arch: "x86_64", URL: s.o.Base + "/17800.570.5/vmlinux", Size: 4,
		Sum: "md5:d1531b1622de54fe3a0187c3344600e9"}
	if got := e.Image[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if arm := es[2]; !strings.HasSuffix(arm.Image[0].URL, "/19216.104.7/lakitu-arm64/vmlinux") {
		t.Errorf("arm64 image %s", arm.Image[0].URL)
	}
}

func TestListingErrors(t *testing.T) {
	answer := func(status int, text string) func(*bucket) {
		return func(b *bucket) {
			b.before = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
				w.WriteHeader(status)
				fmt.Fprint(w, text)
				return true
			}
		}
	}
	const open = `<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'>`
	for _, tc := range []struct {
		name   string
		bucket func(*bucket)
		says   string
	}{
		{"a web page", answer(200, "<!DOCTYPE html><html><body>Please log in"), "web page"},
		{"an error document", answer(200, `<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message></Error>`), "AccessDenied"},
		{"another document", answer(200, `<?xml version='1.0'?><feed/>`), "<feed>"},
		{"cut short", answer(200, open+"<Contents><Key>a"), "EOF"},
		{"two documents", answer(200, open+"</ListBucketResult>"+open+"</ListBucketResult>"), "follows"},
		{"negative size", answer(200, open+"<Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>"), "-1"},
		{"nothing in it", answer(200, open+"<IsTruncated>false</IsTruncated></ListBucketResult>"), "no build"},
		{"goes nowhere", answer(200, open+"<IsTruncated>true</IsTruncated></ListBucketResult>"), "does not say where"},
		{"goes in circles", answer(200, open+"<IsTruncated>true</IsTruncated><NextMarker>a</NextMarker></ListBucketResult>"), "does not end"},
		{"forbidden", answer(403, ""), "403"},
		{"busy for good", answer(429, ""), "429"},
		{"the second page is missing", func(b *bucket) {
			b.page = 8
			b.before = func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n == 2 {
					w.WriteHeader(404)
				}
				return n == 2
			}
		}, "404"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := example(t)
			tc.bucket(b)
			es, err := serve(t, b, nil).Enumerate(t.Context())
			if cause.Of(err).Cause != cause.MirrorUnreachable || !strings.Contains(fmt.Sprintf("%+v", err), tc.says) {
				t.Errorf("got %v, want it to say %q", err, tc.says)
			}
			if len(b.requests) > 8 {
				t.Errorf("asked %d times", len(b.requests))
			}
			if len(es) > 0 {
				t.Errorf("an error beside %d entries of one repository", len(es))
			}
		})
	}
}

// TestBackOff: the bucket limits how often it may be asked, for listings and for files alike.
func TestBackOff(t *testing.T) {
	b := example(t)
	b.page = 8
	b.before = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if n%2 == 1 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{http.StatusTooManyRequests, http.StatusServiceUnavailable}[n/2%2])
		}
		return n%2 == 1
	}
	s := serve(t, b, nil)
	es, err := s.Enumerate(t.Context())
	if err != nil || len(es) != 4 || len(b.requests) != 6 {
		t.Errorf("%s, %v after %q", names(es), err, b.requests)
	}
	if _, err := s.Fetch(t.Context(), es[1].Headers[0]); err != nil {
		t.Error(err)
	}
}

func TestResolve(t *testing.T) {
	s := serve(t, example(t), nil)
	for _, tc := range []struct{ build, arch, release, version string }{
		{"17800.570.5", "x86_64", "6.1.143+", "1"}, // utsrelease.h lacks the plus sign
		{"19216.104.7", "aarch64", "6.12.55+", "7"},
		{"19216.104.7", "x86_64", "6.12.55+", "1"},
		{"10323.12.0", "x86_64", "", ""}, // sources alone
	} {
		e := kernels.Entry{Kernel: kernels.Kernel{BuildID: tc.build, Arch: tc.arch}}
		r, err := s.Resolve(t.Context(), e)
		if err != nil {
			t.Errorf("%s: %v", tc.build, err)
			continue
		}
		if want := (kernels.Kernel{Distro: "cos", Release: tc.release, Version: tc.version, Arch: tc.arch, BuildID: tc.build}); r.Kernel != want {
			t.Errorf("got %+v, want %+v", r.Kernel, want)
		}
		if missing := len(r.HeadersMissing) > 0; missing != (tc.release == "") || missing == (len(r.Headers) > 0) {
			t.Errorf("%s: headers %v, missing %v", tc.build, r.Headers, r.HeadersMissing)
		}
	}
	if _, err := s.Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "17800.570.6", Arch: "x86_64"}}); cause.Of(err).Cause != cause.PackageMissing {
		t.Errorf("a build that is not there: %v", err)
	}
	if _, err := s.Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "../x", Arch: "x86_64"}}); cause.Of(err).Cause != cause.PackageMissing {
		t.Errorf("a path for a build: %v", err)
	}
}

// TestResolveFromTheArchive: what was fetched once is resolved without the bucket, also when that lists it no more.
func TestResolveFromTheArchive(t *testing.T) {
	b := example(t)
	s := serve(t, b, nil)
	es, err := s.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Resolve(t.Context(), es[1]); err != nil {
		t.Fatal(err)
	}
	o := s.o
	o.Offline = true
	offline, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	asked := len(b.requests)
	r, err := offline.Resolve(t.Context(), es[1])
	if err != nil || r.Kernel.Release != "6.1.143+" || len(b.requests) != asked {
		t.Errorf("%+v, %v", r, err)
	}
	for what, err := range map[string]error{
		"resolve": second(offline.Resolve(t.Context(), es[2])),
		"list":    second(offline.Enumerate(t.Context())),
		"build":   second(offline.Build(t.Context(), "17800.570.5", "x86_64")),
	} {
		if cause.Of(err).Cause != cause.MirrorUnreachable || !strings.Contains(err.Error(), "--offline") {
			t.Errorf("%s offline: %v", what, err)
		}
	}
	if len(b.requests) != asked {
		t.Errorf("asked %q", b.requests[asked:])
	}
}

func second[T any](_ T, err error) error { return err }

func TestHeadersErrors(t *testing.T) {
	good := headers(t, "6.1.143+", "6.1.143", "#1")
	for _, tc := range []struct{ name, content, says string }{
		{"two releases", headers(t, "6.1.143+", "6.1.144", "#1"), "6.1.144"},
		{"no release", string(debtest.Compress(t, ".gz", debtest.Tar(t, debtest.File("usr/src/x", "")))), "linux-headers"},
		{"cut short", good[:len(good)-30], "EOF"},
		{"no archive", "plain text", "not a tar archive"},
		{"a release that is a path", string(debtest.Compress(t, ".gz", debtest.Tar(t,
			debtest.File("include/generated/utsrelease.h", `#define UTS_RELEASE "../../x"`+"\n")))), "neither"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := example(t)
			b.objects["17800.570.5/"+Headers] = tc.content
			_, err := serve(t, b, nil).Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "17800.570.5", Arch: "x86_64"}})
			if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want it to say %q", err, tc.says)
			}
		})
	}
}

func TestHeadersWithoutDirectory(t *testing.T) {
	b := example(t)
	b.objects["17800.570.5/"+Headers] = string(debtest.Compress(t, ".gz", debtest.Tar(t,
		debtest.Entry{Header: tar.Header{Name: "./include/generated/compile.h", Typeflag: tar.TypeDir}},
		debtest.File("./include/generated/utsrelease.h", `#define UTS_RELEASE "6.1.143+"`+"\n"),
		debtest.File("./include/generated/utsversion.h", `#define UTS_VERSION "#3 SMP"`+"\n"))))
	r, err := serve(t, b, nil).Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "17800.570.5", Arch: "x86_64"}})
	if err != nil || r.Kernel.Release != "6.1.143+" || r.Kernel.Version != "3" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestChecksum: what the bucket sends must be what it listed.
func TestChecksum(t *testing.T) {
	for _, tc := range []struct {
		name   string
		bucket func(*bucket)
		want   cause.Cause // "": it is fetched
	}{
		{"as listed", func(*bucket) {}, ""},
		{"an ETag of another content", func(b *bucket) { b.etags["17800.570.5/vmlinux"] = strings.Repeat("0", 32) }, cause.PackageCorrupt},
		{"another size", func(b *bucket) { b.sizes = map[string]int64{"17800.570.5/vmlinux": 400} }, cause.PackageCorrupt},
		{"put together from parts, without a checksum", func(b *bucket) { b.etags["17800.570.5/vmlinux"] = "CJ2t9d7iq/MCEAE=" }, cause.MirrorUnreachable},
		{"put together from parts, MD5 beside it", func(b *bucket) {
			b.objects["17800.570.5/vmlinux.md5"] = b.etag("17800.570.5/vmlinux") + "  vmlinux\n"
			b.etags["17800.570.5/vmlinux"] = "9b2cf535f27731c974343645a3985328-12"
		}, ""},
		{"a web page beside it", func(b *bucket) {
			b.objects["17800.570.5/vmlinux.md5"] = "<html>"
			b.etags["17800.570.5/vmlinux"] = "-"
		}, cause.MirrorUnreachable},
		{"nonsense beside it", func(b *bucket) {
			b.objects["17800.570.5/vmlinux.md5"] = "unknown"
			b.etags["17800.570.5/vmlinux"] = "-"
		}, cause.PackageCorrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := example(t)
			tc.bucket(b)
			s := serve(t, b, nil)
			r, err := s.Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "17800.570.5", Arch: "x86_64"}})
			var path string
			if err == nil {
				path, err = s.Fetch(t.Context(), r.Image[0])
			}
			if tc.want != "" {
				if cause.Of(err).Cause != tc.want {
					t.Errorf("got %v", err)
				}
				return
			}
			if text, _ := os.ReadFile(path); err != nil || string(text) != "\x7fELF" {
				t.Errorf("%q, %v", text, err)
			}
		})
	}
}

func TestTools(t *testing.T) {
	s := serve(t, example(t), nil)
	tools, err := s.Tools(t.Context(), "17800.570.5", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	if tools.Commit != "cdf8ea6ae6a5" || tools.URL != "https://storage.example/toolchain/2021/06/x.tar.xz" || tools.Archive.Name != Toolchain ||
		len(tools.Env) != 2 || tools.Env["CC"] != "x86_64-cros-linux-gnu-clang" || tools.Env["CXX"] != "x86_64-cros-linux-gnu-clang++" {
		t.Errorf("%+v", tools)
	}
	if tools, err = s.Tools(t.Context(), "10323.12.0", "x86_64"); err != nil || tools.Commit != "" || len(tools.Env) != 0 {
		t.Errorf("a build of sources alone: %+v, %v", tools, err)
	}
	b := example(t)
	b.objects["17800.570.5/kernel_commit"] = strings.Repeat("x", maxSmall+1)
	if _, err := serve(t, b, nil).Tools(t.Context(), "17800.570.5", "x86_64"); cause.Of(err).Cause != cause.PackageCorrupt {
		t.Errorf("a commit of 64 KB: %v", err)
	}
}

func TestSplitKey(t *testing.T) {
	for key, want := range map[string]string{
		"17800.570.5/vmlinux":                        "17800.570.5 x86_64 vmlinux true",
		"17800.570.5/lakitu/kernel-headers.tgz":      "17800.570.5 x86_64 kernel-headers.tgz true",
		"17800.570.5/lakitu-arm64/kernel-src.tar.gz": "17800.570.5 aarch64 kernel-src.tar.gz true",
		"17800.570.5/lakitu-nc/vmlinux":              "   false",
		"17800.570.5/lakitu/x/vmlinux":               "   false",
		"17800.570.5/kernel-headers.tgz.md5":         "   false",
		"17800.570.5/":                               "   false",
		"17800/vmlinux":                              "   false",
		"../17800.570.5/vmlinux":                     "   false",
		"1.2.3.4.5/vmlinux":                          "   false",
	} {
		build, arch, file, ok := SplitKey(key)
		if got := fmt.Sprint(build, " ", arch, " ", file, " ", ok); got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
}

func TestMilestones(t *testing.T) {
	for build, want := range map[string]int{"12871.1210.0": 81, "16623.39.6": 93, "19216.104.7": 125, "17800.0.0": 0, "10323.12.0": 0, "x": 0} {
		if m, _ := MilestoneOf(build); m.Number != want {
			t.Errorf("%s: R%d, want R%d", build, m.Number, want)
		}
	}
	for i, m := range Milestones[1:] {
		if before := Milestones[i]; m.Number <= before.Number || m.Branch <= before.Branch {
			t.Errorf("R%d of %d follows R%d of %d", m.Number, m.Branch, before.Number, before.Branch)
		}
	}
}

func TestNew(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Error("no archive")
	}
	s := serve(t, example(t), nil)
	for _, base := range []string{"cos-tools", "gs://cos-tools", "https://", "https://x.example/?prefix=a", "http://\x7f"} {
		if _, err := New(Options{Archive: s.o.Archive, Base: base}); cause.Of(err).Cause != cause.MirrorUnreachable {
			t.Errorf("%s: %v", base, err)
		}
	}
	if s, err := New(Options{Archive: s.o.Archive}); err != nil || s.o.Base != Public || s.Name() != "cos" {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestRealBuilds lists a bucket that holds every file of the real one's list of headers and sources.
func TestRealBuilds(t *testing.T) {
	dir := os.Getenv("MEWS_SHARED")
	if dir == "" {
		dir = "../../../shared"
	}
	text, err := os.ReadFile(filepath.Join(dir, "kernel-urls", "cos.txt"))
	if err != nil {
		t.Skipf("the list of real builds is not here: %v", err)
	}
	b := &bucket{objects: map[string]string{}, page: 1000}
	want := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		key, ok := strings.CutPrefix(strings.TrimSpace(line), Public+"/")
		if !ok {
			t.Fatalf("%q is no file of the bucket", line)
		}
		b.objects[key] = key
		build, _, _ := strings.Cut(key, "/")
		want[build] = true
	}
	if len(b.objects) != 1895 {
		t.Fatalf("the list has %d files", len(b.objects))
	}
	s := serve(t, b, func(o *Options) { o.Dev = true })
	es, err := s.Enumerate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	withHeaders := 0
	for _, e := range es {
		if !want[e.BuildID] || e.Arch != "x86_64" {
			t.Errorf("%s %s is not in the list", e.BuildID, e.Arch)
		}
		delete(want, e.BuildID)
		withHeaders += len(e.Headers)
	}
	if len(want) > 0 || len(es) != 1001 || withHeaders != 894 || len(b.requests) != 2 {
		t.Errorf("%d builds, %d with headers, by %d requests; without %v", len(es), withHeaders, len(b.requests), want)
	}
	if es, err = serve(t, b, nil).Enumerate(t.Context()); err != nil || len(es) != 799 {
		t.Errorf("%d builds that are not of development, %v", len(es), err)
	}
}

// TestTree: the headers unpack to where a build looks for them, though nothing but an MD5 is known of them.
func TestTree(t *testing.T) {
	s := serve(t, example(t), nil)
	r, err := s.Resolve(t.Context(), kernels.Entry{Kernel: kernels.Kernel{BuildID: "17800.570.5", Arch: "x86_64"}})
	if err != nil {
		t.Fatal(err)
	}
	trees := &kernels.Trees{Dir: t.TempDir(), Fetcher: s}
	dir, err := trees.Tree(t.Context(), "headers-"+r.Kernel.Release, r.Headers, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "usr/src/linux-headers-6.1.143+/Makefile")); err != nil {
		t.Error(err)
	}
}
