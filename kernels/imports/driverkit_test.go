// SPDX-License-Identifier: Apache-2.0

package imports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mews-farm/mews/kernels/archive"
)

// example is an entry of Falco's own tree of configurations.
const example = `kernelversion: 1
kernelrelease: 5.10.179-168.710.amzn2.x86_64
target: amazonlinux2
architecture: amd64
output:
  module: output/5.0.1+driver/x86_64/falco_amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.ko
  probe: output/5.0.1+driver/x86_64/falco_amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.o
kernelurls:
  - http://amazonlinux.us-east-1.amazonaws.com/2/extras/kernel-5.10/stable/x86_64/0/../../../../../../blobstore/70141559028b2a599a87b02d5ed3db9a6cc248d2f61254c05ff021b4e7915836/kernel-devel-5.10.179-168.710.amzn2.x86_64.rpm
`

func writeFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDriverkitTree(t *testing.T) {
	dir := writeFiles(t, map[string]string{
		"config/5.0.1+driver/x86_64/amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.yaml": example,
		"config/7.2.0+driver/x86_64/amazonlinux2_5.10.179-168.710.amzn2.x86_64_1.yaml": example,
		"config/7.2.0+driver/aarch64/talos_6.1.30-talos_1_v1.4.4.yaml":                 "target: talos\nkernelrelease: 6.1.30-talos\nkernelversion: 1_v1.4.4\nkernelconfigdata: " + config64 + "\n",
		"config/7.2.0+driver/x86_64/typo.yaml":                                         "target: debian\nkernelrelease: 6.1.0-9-amd64\nkernelverison: 1\n",
		"config/7.2.0+driver/x86_64/number.yaml":                                       "target: vanilla\nkernelrelease: 5.10\n",
		"README.md":                                                                    "# configurations\n",
	})
	store, err := archive.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(t.Context(), Auto, dir, Options{Archive: store})
	if err != nil {
		t.Fatal(err)
	}
	if r.Kind != Driverkit || r.Read != 4 || len(r.Entries) != 3 {
		t.Errorf("%s: read %d, %d entries", r.Kind, r.Read, len(r.Entries))
	}
	e := find(t, r, "5.10.179-168.710.amzn2.x86_64")
	if e.Distro != "amazonlinux2" || e.Arch != "x86_64" || e.Version != "1" || len(e.Headers) != 1 || !e.Headers[0].Digest.Valid() {
		t.Errorf("%+v", e)
	}
	if e = find(t, r, "6.1.30-talos"); e.Arch != "aarch64" || e.Version != "1_v1.4.4" || len(e.Headers) != 1 || e.Headers[0].Name != "config" {
		t.Errorf("%+v", e)
	}
	if len(r.Notes) != 1 || r.Notes[0].What != "kernelverison" || !strings.Contains(r.Notes[0].Why, "kernelversion") || !strings.HasSuffix(r.Notes[0].Where, "typo.yaml:3:1") {
		t.Errorf("notes %v", r.Notes)
	}
	if len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Why, "2:16: kernelrelease must be a string") {
		t.Errorf("skipped %v", r.Skipped)
	}
}

func TestDriverkitFile(t *testing.T) {
	dir := writeFiles(t, map[string]string{"falco.yaml": example})
	r, err := Read(t.Context(), Auto, filepath.Join(dir, "falco.yaml"), Options{})
	if err != nil || len(r.Entries) != 1 || r.Skipped != nil || r.Notes != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDriverkitErrors(t *testing.T) {
	for _, tc := range []struct{ name, text, says string }{
		{"not YAML", "a: [", "not YAML"},
		{"empty", "", "not a mapping"},
		{"a list", "- a\n", "not a mapping"},
		{"a key twice", "target: debian\ntarget: debian\n", "2:1: target is there twice"},
		{"a list for a string", "target: [debian]\n", "1:9: target must be a string"},
		{"a truth for a string", "target: yes\nkernelrelease: true\n", "kernelrelease must be a string"},
		{"an alias", "target: &a debian\nkernelrelease: *a\n", "kernelrelease must be a string"},
		{"a float for a version", "kernelversion: 1.5\n", "kernelversion must be a string"},
		{"a string for a list", "kernelurls: http://a.example/\n", "kernelurls must be a list"},
		{"a number in a list", "kernelurls: [1]\n", "kernelurls must be a string"},
		{"another architecture", "target: debian\nkernelrelease: 6.1.0\narchitecture: s390x\n", "s390x"},
		{"no target", "kernelrelease: 6.1.0\narchitecture: amd64\n", errNoTarget.Error()},
		{"no architecture", "target: debian\nkernelrelease: 6.1.0\n", errNoArch.Error()},
		{"too long", "target: debian\n# " + strings.Repeat("x", maxYAML), "more than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{"c.yaml": tc.text})
			c := newCollector("c")
			if err := readDriverkit(t.Context(), dir, Options{}, c); err != nil {
				t.Fatal(err)
			}
			r := c.result()
			if len(r.Entries) != 0 || len(r.Skipped) != 1 || !strings.Contains(r.Skipped[0].Why, tc.says) {
				t.Errorf("entries %v, skipped %v", r.Entries, r.Skipped)
			}
		})
	}
}

func FuzzDriverkit(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte("kernelurls: [a, &b c]\nkernelversion: 0x10\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, _, err := parseDriverkit(text); err == nil && r.arch != "" && machine(r.arch) == "" {
			t.Fatalf("%+v", r)
		}
	})
}
