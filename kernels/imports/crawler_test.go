// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/archive"
	"github.com/mews-farm/mews/results/cause"
)

var config64 = base64.StdEncoding.EncodeToString([]byte("CONFIG_BPF=y\n"))

// listing has what kernel-crawler's lists have: versions as numbers and strings, records without headers or with a
// configuration, and URLs of no known form.
var listing = fmt.Sprintf(`{
"AmazonLinux2": [
  {"kernelversion": 1, "kernelrelease": "5.10.179-168.710.amzn2.x86_64", "target": "amazonlinux2",
   "headers": ["http://amazonlinux.us-east-1.amazonaws.com/2/extras/kernel-5.10/stable/x86_64/0/../../../../../../blobstore/70141559028b2a599a87b02d5ed3db9a6cc248d2f61254c05ff021b4e7915836/kernel-devel-5.10.179-168.710.amzn2.x86_64.rpm"]},
  {"kernelversion": "1", "kernelrelease": "5.10.179-168.710.amzn2.x86_64", "target": "amazonlinux2", "headers": []}
],
"Ubuntu": [
  {"kernelversion": "40~20.04.1", "kernelrelease": "5.15.0-1035-gke", "target": "ubuntu-gke", "headers": [
    "http://security.ubuntu.com/ubuntu/pool/main/l/linux-gke-5.15/linux-headers-5.15.0-1035-gke_5.15.0-1035.40~20.04.1_amd64.deb",
    "http://security.ubuntu.com/ubuntu/pool/main/l/linux-gke-5.15/linux-gke-5.15-headers-5.15.0-1035_5.15.0-1035.40~20.04.1_amd64.deb"]}
],
"minikube": [
  {"kernelversion": "1_1.30.0", "kernelrelease": "5.10.57", "target": "minikube", "kernelconfigdata": %q, "new key": {"a": [1]}},
  {"kernelversion": "1_1.29.0", "kernelrelease": "5.10.57", "target": "minikube", "headers": null, "kernelconfigdata": "bm8tZGF0YQ=="}
],
"flatcar": [
  {"kernelrelease": "3510.2.0", "target": "flatcar", "headers": ["https://stable.release.flatcar-linux.net/amd64-usr/3510.2.0/flatcar_developer_container.bin.bz2"]}
],
"broken": [
  {"kernelversion": "1", "target": "debian"},
  {"kernelversion": "1", "kernelrelease": "../../etc", "target": "debian"},
  {"kernelversion": "1", "kernelrelease": "6.1.0"},
  {"kernelversion": 1.5, "kernelrelease": "6.1.0", "target": "debian"},
  {"kernelversion": "", "kernelrelease": 6.1, "target": "debian"},
  {"kernelrelease": "6.1.0", "target": "talos", "kernelconfigdata": "%%%%"},
  {"kernelrelease": "6.1.0", "target": "debian", "headers": ["file:///etc/passwd"]},
  [1, 2],
  null
]}`, config64)

func crawlText(t testing.TB, text string, o Options) (*Result, error) {
	t.Helper()
	c := newCollector("list.json")
	err := crawl(t.Context(), strings.NewReader(text), "/data/x86_64/list.json", o, c)
	return c.result(), err
}

func TestCrawler(t *testing.T) {
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := crawlText(t, listing, Options{Archive: store})
	if err != nil {
		t.Fatal(err)
	}
	if r.Read != 6 || len(r.Entries) != 5 {
		t.Errorf("read %d records, %d entries", r.Read, len(r.Entries))
	}
	e := find(t, r, "5.10.179-168.710.amzn2.x86_64")
	if e.Distro != "amazonlinux2" || e.Version != "1" || e.Arch != "x86_64" || len(e.Headers) != 1 ||
		e.Headers[0].Digest != "70141559028b2a599a87b02d5ed3db9a6cc248d2f61254c05ff021b4e7915836" {
		t.Errorf("%+v", e)
	}
	if e = find(t, r, "5.15.0-1035-gke"); e.Distro != "ubuntu" || e.Version != "40~20.04.1" || len(e.Headers) != 2 || e.Flavour != "gke" {
		t.Errorf("%+v", e)
	}
	if e = find(t, r, "3510.2.0"); e.Version != "1" || e.Headers[0].Name != "flatcar_developer_container.bin.bz2" {
		t.Errorf("%+v", e)
	}
	var configs int
	for _, e := range r.Entries {
		if e.Distro != "minikube" {
			continue
		}
		for _, p := range e.Headers {
			configs++
			f, err := store.Open(p.Digest)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if text, _ := io.ReadAll(f); string(text) != "CONFIG_BPF=y\n" || e.Version != "1_1.30.0" {
				t.Errorf("%s: configuration %q", e.Version, text)
			}
		}
	}
	if configs != 1 {
		t.Errorf("%d configurations", configs)
	}
	var got []string
	for _, s := range r.Skipped {
		got = append(got, s.Where+": "+s.Why)
	}
	want := []string{
		"list.json: broken[0]: " + errNoRelease.Error(),
		"list.json: broken[1]: " + errNoRelease.Error(),
		"list.json: broken[2]: " + errNoTarget.Error(),
		"list.json: broken[3]: " + errVersion.Error(),
		"list.json: broken[4]: kernelrelease is of the wrong type, number",
		"list.json: broken[5]: " + errConfig.Error(),
		"list.json: broken[6]: " + ErrNoURL.Error() + ": file:///etc/passwd",
		"list.json: broken[7]: is not a kernel's record",
		"list.json: broken[8]: " + errNoTarget.Error(),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("skipped\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCrawlerArch(t *testing.T) {
	const record = `{"x": [{"kernelrelease": %q, "target": "vanilla"}]}`
	for _, tc := range []struct{ release, path, option, want string }{
		{"6.1.0", "/data/x86_64/list.json", "", "x86_64"},
		{"6.1.0", "/x86_64/data/aarch64/list.json", "", "aarch64"},
		{"6.1.0", "/data/x86_64/list.json", "aarch64", "aarch64"},
		{"6.1.0-9-arm64", "/data/x86_64/list.json", "x86_64", "aarch64"},
		{"6.1.0", "list-arm64.json", "", "aarch64"},
		{"6.1.0", "list.json", "", ""},
	} {
		c := newCollector("list.json")
		if err := crawl(t.Context(), strings.NewReader(fmt.Sprintf(record, tc.release)), "/nowhere/"+tc.path, Options{Arch: tc.option}, c); err != nil {
			t.Fatal(err)
		}
		r := c.result()
		switch {
		case tc.want == "" && (len(r.Skipped) != 1 || r.Skipped[0].Why != errNoArch.Error()):
			t.Errorf("%+v: skipped %v", tc, r.Skipped)
		case tc.want != "" && (len(r.Entries) != 1 || r.Entries[0].Arch != tc.want):
			t.Errorf("%+v: %+v, skipped %v", tc, r.Entries, r.Skipped)
		}
	}
}

func TestCrawlerMismatch(t *testing.T) {
	r, err := crawlText(t, `{"debian": [{"kernelrelease": "6.1.27-1", "target": "debian", "headers":
		["http://mirror.example.org/debian/pool/main/l/linux/linux-headers-6.1.0-9-amd64_6.1.27-1_amd64.deb"]}]}`, Options{})
	if err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0].Why, "6.1.0-9-amd64") {
		t.Errorf("%v, notes %v", err, r.Notes)
	}
}

func TestCrawlerErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, says string }{
		{"cut short", listing[:len(listing)-20], "EOF"},
		{"an array", `[]`, "{ was expected"},
		{"no arrays", `{"debian": {}}`, "[ was expected"},
		{"a number", `{"debian": 1}`, "[ was expected"},
		{"no JSON", `<html>`, "invalid character"},
		{"two", `{} {}`, "follows"},
		{"nothing", ``, "EOF"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := crawlText(t, tc.text, Options{})
			if cause.Of(err).Cause != cause.PackageCorrupt || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestCrawlerMany reads a list 20 times as long as the longest there is.
func TestCrawlerMany(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(`{"AmazonLinux2": [`)
	const n = 100_000
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"kernelversion": 1, "kernelrelease": "5.10.%d-1.amzn2.x86_64", "target": "amazonlinux2", "headers": ["http://a.example/kernel-devel-5.10.%d-1.amzn2.x86_64.rpm"]}`, i, i)
	}
	b.WriteString(`]}`)
	path := filepath.Join(t.TempDir(), "list.json")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), Auto, path, Options{})
	if err != nil || r.Kind != Crawler || len(r.Entries) != n {
		t.Fatalf("%+v", err)
	}
}

func FuzzCrawler(f *testing.F) {
	f.Add([]byte(listing))
	f.Add([]byte(`{"a":[{"kernelversion":1e400,"kernelrelease":"6","target":"x"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c := newCollector("list.json")
		if err := crawl(t.Context(), bytes.NewReader(text), "/x86_64/list.json", Options{}, c); err != nil {
			var e *cause.Err
			if !errors.As(err, &e) || e.Cause != cause.PackageCorrupt {
				t.Fatalf("an error without a cause: %v", err)
			}
		}
		for _, e := range c.result().Entries {
			if !word.MatchString(e.Release) || !word.MatchString(e.Distro) || e.Arch == "" || e.Version == "" {
				t.Fatalf("made %+v", e)
			}
		}
	})
}
